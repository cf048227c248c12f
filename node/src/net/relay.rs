//! What clients of one node ask of another: requests go one way and their answers the
//! other, many at a time, on a connection of their own. A request that a broken
//! connection may have lost is given back as one whose node is gone; whoever asked
//! sends it again, under the same id. Nothing here is sent twice.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use precentor_core::ids::NodeId;
use precentor_core::principal::Principal;
use precentor_core::request::{Reply, Request};
use precentor_core::wire::frame::{FrameDecoder, Seal, encode_sealed};
use precentor_core::wire::relay::{Asked, Told};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Refusal;
use super::hello::{GreetError, Greeted, Purpose};
use super::link::{BUFFER_BYTES, Ended, LinkContext, connect};
use crate::pilot::{Answered, Answers, ReplyTo};
use crate::tls::Stream;

/// Requests that wait for a connection to be written to it. More are given back at once.
const QUESTIONS_MAX: usize = 1_024;
/// Requests of one connection that are not answered. More are not read.
const OPEN_MAX: usize = 4_096;
/// How often a node that owes answers says that it is there.
const SIGN_EVERY: Duration = Duration::from_millis(50);
/// A node that owes answers, or a greeting, and is silent for so long is taken for stopped:
/// what it was asked is given back. As long as its peers take to elect another leader.
const SILENCE_MAX: Duration = Duration::from_millis(250);
/// How long a node may take no more of what it is sent: it may be busy, and it may be
/// stopped.
const WRITE_PATIENCE: Duration = Duration::from_secs(2);
/// What it says: no answer begins like this.
const SIGN: &[u8] = b"alive";
/// How long a node that could not be reached is left alone; what is asked of it
/// meanwhile is given back at once.
const LEFT_ALONE: Duration = Duration::from_millis(100);

/// A request on its way, and where its answer goes. Dropped, it is given back.
#[derive(Debug)]
pub struct Question {
    /// Who asks.
    pub principal: Principal,
    /// What.
    pub request: Request,
    /// Where the answer goes.
    pub reply: ReplyTo,
}

/// The way to a node somewhere else. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Line {
    node: NodeId,
    to: mpsc::Sender<Question>,
}

/// What is asked along a line.
#[derive(Debug)]
pub struct Questions {
    node: NodeId,
    from: mpsc::Receiver<Question>,
}

impl Questions {
    /// The next one; none when nobody can ask any more.
    pub async fn next(&mut self) -> Option<Question> {
        self.from.recv().await
    }
}

impl Line {
    /// A line, and what is asked along it.
    #[must_use]
    pub fn new(node: NodeId) -> (Line, Questions) {
        let (to, from) = mpsc::channel(QUESTIONS_MAX);
        (Line { node, to }, Questions { node, from })
    }

    /// Whose it is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Asks; the answer comes to `answers` under `tag`, and so does the news that there
    /// will be none.
    pub fn ask(&self, principal: Principal, request: Request, answers: &Answers, tag: u64) {
        let reply = ReplyTo::new(answers.clone(), tag, self.node);
        // What finds no room is given back by being dropped.
        let _ = self.to.try_send(Question {
            principal,
            request,
            reply,
        });
    }
}

/// Carries what is asked of a node to it, connecting when there is something. Only the
/// first question waits for that: while the node is not to be reached, all that is asked
/// of it is given back at once, so that others are asked.
pub(super) async fn ask(questions: Questions, context: LinkContext) {
    let Questions { node, mut from } = questions;
    let mut was_reached = true;
    while let Some(question) = from.recv().await {
        let mut first = Some(question);
        let connecting = greet(node, &context);
        let connected = if was_reached {
            connecting.await
        } else {
            first = None;
            give_back_until(connecting, &mut from).await
        };
        was_reached = match connected {
            Some(greeted) => carry(greeted, first, &mut from, &context).await,
            None => false,
        };
        if !was_reached {
            give_back_until(sleep(LEFT_ALONE), &mut from).await;
        }
    }
}

/// Connects, if the node answers soon.
async fn greet(node: NodeId, context: &LinkContext) -> Option<Greeted> {
    let connected = timeout(SILENCE_MAX, connect(node, Purpose::Relay, context));
    match connected.await.unwrap_or(Err(GreetError::Silent)) {
        Ok(greeted) => Some(greeted),
        Err(error) => {
            if let Some(refusal) = error.refusal() {
                context.refusals.note(Some(node), refusal);
            }
            tracing::debug!(node = %context.me.node, peer = %node, %error, "cannot ask");
            None
        }
    }
}

/// Gives back all that is asked until something is over.
async fn give_back_until<T>(
    over: impl Future<Output = T>,
    from: &mut mpsc::Receiver<Question>,
) -> T {
    let mut over = std::pin::pin!(over);
    loop {
        tokio::select! {
            over = &mut over => return over,
            // Dropped; when nobody can ask any more there is nothing to give back.
            Some(_) = from.recv() => {}
        }
    }
}

/// Carries requests and answers until the connection ends; what is open then is given
/// back. Says whether the node can be supposed to be there still.
async fn carry(
    greeted: Greeted,
    first: Option<Question>,
    from: &mut mpsc::Receiver<Question>,
    context: &LinkContext,
) -> bool {
    let Greeted {
        stream,
        identity,
        agreement,
        mut decoder,
        seal,
        ..
    } = greeted;
    let Some(mut seal) = seal else { return false };
    let (mut reader, mut writer) = split(stream);
    let mut lasts = std::pin::pin!(context.lasts(agreement.peer, identity));
    let mut open: HashMap<u64, ReplyTo> = HashMap::new();
    let mut next_tag = 0_u64;
    let mut out = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut question = first;
    let mut heard = Instant::now();
    let ended: Ended = loop {
        if let Some(asked) = question.take() {
            if open.is_empty() {
                // It owed nothing until now.
                heard = Instant::now();
            }
            out.clear();
            let mut more = Some(asked);
            while let Some(Question {
                principal,
                request,
                reply,
            }) = more.take()
            {
                next_tag += 1;
                let asked = Asked {
                    tag: next_tag,
                    principal,
                    request,
                };
                match encode_sealed(&asked.encode(), &mut seal, &mut out) {
                    Ok(()) => drop(open.insert(next_tag, reply)),
                    // No node takes an entry that is as large as that.
                    Err(error) => reply.answer(Reply::Invalid {
                        message: error.to_string(),
                    }),
                }
                if out.len() < BUFFER_BYTES && open.len() < OPEN_MAX {
                    more = from.try_recv().ok();
                }
            }
            let written = async {
                writer.write_all(&out).await?;
                writer.flush().await
            };
            match timeout(WRITE_PATIENCE, written).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => break error.into(),
                Err(_) => break io::Error::from(io::ErrorKind::TimedOut).into(),
            }
            out.shrink_to(4 * BUFFER_BYTES);
        }
        tokio::select! {
            count = reader.read(&mut buffer) => match count {
                Ok(0) => break io::Error::from(io::ErrorKind::UnexpectedEof).into(),
                Ok(count) => {
                    heard = Instant::now();
                    decoder.push(&buffer[..count]);
                    if let Err(ended) = hand_out(&mut decoder, &mut open) {
                        break ended;
                    }
                }
                Err(error) => break error.into(),
            },
            asked = from.recv(), if open.len() < OPEN_MAX => match asked {
                Some(asked) => question = Some(asked),
                None => return true,
            },
            () = sleep_until(heard + SILENCE_MAX), if !open.is_empty() => {
                break io::Error::from(io::ErrorKind::TimedOut).into();
            }
            ended = &mut lasts => match ended {
                Ok(()) => return true,
                Err(ended) => break ended,
            },
        }
    };
    context.note_end(agreement.peer, &ended);
    !matches!(ended, Ended::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// Gives answers to those who wait for them.
fn hand_out(decoder: &mut FrameDecoder, open: &mut HashMap<u64, ReplyTo>) -> Result<(), Ended> {
    while let Some(body) = decoder.next_frame()? {
        if body == SIGN {
            continue;
        }
        let Told { tag, reply } = Told::decode(body)?;
        let Some(to) = open.remove(&tag) else {
            let reason = format!("an answer to {tag}, which was not asked");
            return Err(Ended::Refused(Refusal::Undecodable, reason));
        };
        to.answer(reply);
    }
    Ok(())
}

/// Asks this node what comes on a connection, and sends back what it says.
pub(super) async fn answer(greeted: Greeted, context: &LinkContext) {
    let Greeted {
        stream,
        identity,
        agreement,
        decoder,
        seal,
        ..
    } = greeted;
    let Some(seal) = seal else { return };
    let (answers, answered) = mpsc::unbounded_channel();
    let answers = Answers::Task(answers);
    let (reader, writer) = split(stream);
    let room = Arc::new(Semaphore::new(OPEN_MAX));
    let ended = tokio::select! {
        ended = take(reader, decoder, &answers, &room, context) => ended,
        ended = tell(writer, seal, answered, &room) => ended,
        ended = context.lasts(agreement.peer, identity) => ended,
    };
    if let Err(ended) = ended {
        context.note_end(agreement.peer, &ended);
    }
}

async fn take(
    mut reader: ReadHalf<Stream>,
    mut decoder: FrameDecoder,
    answers: &Answers,
    room: &Arc<Semaphore>,
    context: &LinkContext,
) -> Result<(), Ended> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        while let Some(body) = decoder.next_frame()? {
            let Asked {
                tag,
                principal,
                request,
            } = Asked::decode(body)?;
            let taken: OwnedSemaphorePermit = room
                .clone()
                .acquire_owned()
                .await
                .map_err(io::Error::other)?;
            // Given back when it is answered: see `tell`.
            taken.forget();
            context.mailbox.ask(principal, request, answers, tag);
        }
        let count = reader.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        decoder.push(&buffer[..count]);
    }
}

async fn tell(
    mut writer: WriteHalf<Stream>,
    mut seal: Seal,
    mut answered: mpsc::UnboundedReceiver<Answered>,
    room: &Semaphore,
) -> Result<(), Ended> {
    let mut out = Vec::new();
    loop {
        out.clear();
        let mut next = match timeout(SIGN_EVERY, answered.recv()).await {
            Ok(None) => return Ok(()),
            Ok(first) => first,
            Err(_) if room.available_permits() == OPEN_MAX => continue,
            Err(_) => {
                encode_sealed(SIGN, &mut seal, &mut out).expect("a sign fits a frame");
                None
            }
        };
        while let Some(Answered { tag, reply, .. }) = next {
            room.add_permits(1);
            // This node is gone: so is the connection, and all that is open on it.
            let Some(reply) = reply else { return Ok(()) };
            let told = Told { tag, reply };
            if let Err(error) = encode_sealed(&told.encode(), &mut seal, &mut out) {
                let message = format!("the answer is too large: {error}; ask for less");
                let told = Told {
                    tag,
                    reply: Reply::Invalid { message },
                };
                encode_sealed(&told.encode(), &mut seal, &mut out).map_err(io::Error::other)?;
            }
            next = if out.len() < BUFFER_BYTES {
                answered.try_recv().ok()
            } else {
                None
            };
        }
        writer.write_all(&out).await?;
        writer.flush().await?;
        out.shrink_to(4 * BUFFER_BYTES);
    }
}
