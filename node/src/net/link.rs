//! One connection from its first byte to its last, and who begins it. The
//! reader stops reading when the node has too much unread mail; the writer
//! puts many messages into one system call.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use precentor_core::event::Event;
use precentor_core::ids::{Incarnation, NodeId};
use precentor_core::limits::FRAME_BYTES_MAX;
use precentor_core::message::Message;
use precentor_core::random::Random;
use precentor_core::wire::DecodeError;
use precentor_core::wire::frame::{FrameDecoder, FrameError, Seal, encode_frame, encode_sealed};
use precentor_core::wire::hello::{Agreement, WireVersion};
use precentor_core::wire::message;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::hello::{GreetError, Greeted, Purpose};
use super::roster::Known;
use super::{AddressBook, Me, Peers, Refusal, Refusals, hello, relay};
use crate::pilot::{Mail, Mailbox};
use crate::seed;
use crate::tls::{Credentials, Identity, Stream};

/// Bytes that are read or written at a time.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;
/// One unit of the room that unread mail of a peer may take.
const ROOM_UNIT_BYTES: usize = 4 * 1024;
/// That room: more than the largest frame, or that frame could never be read.
const ROOM_UNITS: usize = 4 * FRAME_BYTES_MAX as usize / ROOM_UNIT_BYTES;
/// Connections that have not said who they are.
const GREETINGS_MAX: usize = 16;
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);
const BACKOFF_MS_MIN: u64 = 5;
const BACKOFF_MS_MAX: u64 = 250;
/// How often it is looked whether a connection has to end.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Connections that were made with a certificate that has been renewed are made anew within
/// this time, one here and one there: a leader that all lose at once is not the leader then.
const RENEWED_WITHIN: Duration = Duration::from_secs(30);

/// What every connection of a node needs.
#[derive(Debug, Clone)]
pub(super) struct LinkContext {
    pub(super) me: Arc<Me>,
    pub(super) peers: Peers,
    pub(super) mailbox: Mailbox,
    pub(super) refusals: Refusals,
    pub(super) book: AddressBook,
    pub(super) credentials: Option<Credentials>,
    pub(super) known: Known,
}

impl LinkContext {
    /// Ends when a connection has to: the peer is not known any more, what it has proved
    /// itself with is over, or what this node did is about to be, and has been renewed, or
    /// this node believes others now.
    pub(super) async fn lasts(&self, peer: NodeId, theirs: Option<Identity>) -> Result<(), Ended> {
        let own = || {
            let credentials = self.credentials.as_ref();
            credentials.map(|credentials| (credentials.own(), credentials.trust()))
        };
        let ours = own();
        while self.known.contains(peer) {
            let left = match &theirs {
                None => LOOK_EVERY,
                Some(theirs) => theirs.left().ok_or_else(|| {
                    let reason = format!("the certificate of {} is over", theirs.who);
                    Ended::Refused(Refusal::Expired, reason)
                })?,
            };
            if let Some(ours) = &ours
                && own().as_ref() != Some(ours)
            {
                let (before, _) = ours;
                let spread = RENEWED_WITHIN.min(before.left().unwrap_or_default() / 2);
                let spread = u64::try_from(spread.as_millis()).unwrap_or_default();
                let wait = Random::new(seed::fresh()).between(0, spread);
                sleep(Duration::from_millis(wait)).await;
                break;
            }
            sleep(LOOK_EVERY.min(left)).await;
        }
        Ok(())
    }

    /// A connection is over: counts and logs what ended it.
    pub(super) fn note_end(&self, peer: NodeId, ended: &Ended) {
        let node = self.me.node;
        match ended {
            Ended::Refused(refusal, reason) => {
                self.refusals.note(Some(peer), *refusal);
                tracing::warn!(%node, %peer, ?refusal, reason, "hung up");
            }
            Ended::Io(error) => tracing::debug!(%node, %peer, %error, "connection closed"),
        }
    }
}

/// Takes connections from the peers.
pub(super) async fn accept(listener: TcpListener, context: LinkContext) {
    // Dropped with this task, the set ends the connections that it accepted.
    let mut links = JoinSet::new();
    let greetings = Arc::new(Semaphore::new(GREETINGS_MAX));
    loop {
        while links.try_join_next().is_some() {}
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many open files, mostly: it passes.
                tracing::warn!(node = %context.me.node, %error, "cannot accept a connection");
                sleep(Duration::from_millis(BACKOFF_MS_MAX)).await;
                continue;
            }
        };
        let Ok(greeting) = greetings.clone().try_acquire_owned() else {
            context.refusals.note(None, Refusal::Crowded);
            continue;
        };
        let context = context.clone();
        links.spawn(async move {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::warn!(%from, %error, "messages may be delayed: TCP_NODELAY was refused");
            }
            match hello::accept(stream, &context).await {
                Ok(greeted) => {
                    drop(greeting);
                    match greeted.purpose {
                        Purpose::Messages => run(greeted, &context).await,
                        Purpose::Relay => relay::answer(greeted, &context).await,
                    }
                }
                Err(error) => {
                    // Whatever it said of itself was not believed.
                    if let Some(refusal) = error.refusal() {
                        context.refusals.note(None, refusal);
                    }
                    tracing::warn!(node = %context.me.node, %from, %error, "hung up");
                }
            }
        });
    }
}

/// Keeps a connection to a peer with a lesser id.
pub(super) async fn dial(peer: NodeId, context: LinkContext) {
    let mut random = Random::new(seed::fresh());
    let mut backoff_ms = BACKOFF_MS_MIN;
    loop {
        match connect(peer, Purpose::Messages, &context).await {
            Ok(greeted) => {
                backoff_ms = BACKOFF_MS_MIN;
                run(greeted, &context).await;
            }
            Err(error) => {
                if let Some(refusal) = error.refusal() {
                    context.refusals.note(Some(peer), refusal);
                    tracing::warn!(node = %context.me.node, %peer, %error, "hung up");
                }
                tracing::debug!(node = %context.me.node, %peer, %error, "cannot connect");
                backoff_ms = (backoff_ms * 2).min(BACKOFF_MS_MAX);
            }
        }
        // With jitter, so that two nodes do not keep missing each other.
        sleep(Duration::from_millis(
            random.between(backoff_ms / 2, backoff_ms),
        ))
        .await;
    }
}

pub(super) async fn connect(
    peer: NodeId,
    purpose: Purpose,
    context: &LinkContext,
) -> Result<Greeted, GreetError> {
    let address = context.book.get(peer);
    let address = address.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
    let stream = timeout(CONNECT_PATIENCE, TcpStream::connect(address))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::warn!(%peer, %error, "messages may be delayed: TCP_NODELAY was refused");
    }
    hello::dial(stream, context, peer, purpose).await
}

/// Carries messages both ways until one way ends.
async fn run(greeted: Greeted, context: &LinkContext) {
    let Greeted {
        stream,
        identity,
        agreement,
        decoder,
        seal,
        ..
    } = greeted;
    let peer = agreement.peer;
    let (queue, open) = Open::new(&agreement, context);
    let (reader, writer) = split(stream);
    let ended = tokio::select! {
        ended = read(reader, &agreement, decoder, &open) => ended,
        ended = write(writer, agreement.version, seal, queue) => ended,
        ended = context.lasts(peer, identity) => ended,
    };
    drop(open);
    if let Err(ended) = &ended {
        context.note_end(peer, ended);
    }
}

/// Reports the end of a connection even if its task is aborted.
struct Open {
    peer: NodeId,
    generation: u64,
    context: LinkContext,
}

impl Open {
    fn new(agreement: &Agreement, context: &LinkContext) -> (mpsc::Receiver<Message>, Open) {
        let (queue, generation) = context.peers.opened(agreement, &context.mailbox);
        (
            queue,
            Open {
                peer: agreement.peer,
                generation,
                context: context.clone(),
            },
        )
    }
}

impl Open {
    /// Hands the node what came on this connection, while it is the peer's.
    fn deliver(&self, mail: Mail) -> bool {
        let LinkContext { peers, mailbox, .. } = &self.context;
        peers.deliver(self.peer, self.generation, mail, mailbox)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.context
            .peers
            .closed(self.peer, self.generation, &self.context.mailbox);
    }
}

/// Why a connection ended, other than in peace.
#[derive(Debug)]
pub(super) enum Ended {
    /// The other end sent what it must not, which nobody else has seen.
    Refused(Refusal, String),
    /// The socket failed.
    Io(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Ended {
        Ended::Io(error)
    }
}

impl From<FrameError> for Ended {
    fn from(error: FrameError) -> Ended {
        Ended::Refused(Refusal::from(&error), error.to_string())
    }
}

impl From<DecodeError> for Ended {
    fn from(error: DecodeError) -> Ended {
        Ended::Refused(Refusal::from(&error), error.to_string())
    }
}

/// A message of the peer, as both ends agreed that it looks.
fn message_of(body: &[u8], agreement: &Agreement) -> Result<Message, Ended> {
    let message = message::decode(body, agreement.version)?;
    let (said, found) = (agreement.incarnation, message.incarnation);
    if said != Incarnation::UNTOLD && found != said {
        let reason = format!("a message of {found} on a connection of {said}");
        return Err(Ended::Refused(Refusal::OtherLife, reason));
    }
    Ok(message)
}

async fn read(
    mut reader: ReadHalf<Stream>,
    agreement: &Agreement,
    mut decoder: FrameDecoder,
    open: &Open,
) -> Result<(), Ended> {
    let from = agreement.peer;
    let room = Arc::new(Semaphore::new(ROOM_UNITS));
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        while let Some(body) = decoder.next_frame()? {
            let units = (body.len() / ROOM_UNIT_BYTES + 1).min(ROOM_UNITS) as u32;
            let message = message_of(body, agreement)?;
            let taken = room
                .clone()
                .acquire_many_owned(units)
                .await
                .map_err(io::Error::other)?;
            let mail = Mail::Peer(Event::Peer { from, message }, Some(taken));
            if !open.deliver(mail) {
                let reason = "another connection has taken its place".to_owned();
                return Err(Ended::Refused(Refusal::StaleConnection, reason));
            }
        }
        let count = reader.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        decoder.push(&buffer[..count]);
    }
}

async fn write(
    mut writer: WriteHalf<Stream>,
    version: WireVersion,
    mut seal: Option<Seal>,
    mut queue: mpsc::Receiver<Message>,
) -> Result<(), Ended> {
    let mut bytes = Vec::with_capacity(BUFFER_BYTES);
    while let Some(message) = queue.recv().await {
        let mut next = Some(message);
        bytes.clear();
        while let Some(message) = next {
            let body = message::encode(&message, version);
            match &mut seal {
                Some(seal) => encode_sealed(&body, seal, &mut bytes),
                None => encode_frame(&body, &mut bytes),
            }
            .map_err(io::Error::other)?;
            next = if bytes.len() < BUFFER_BYTES {
                queue.try_recv().ok()
            } else {
                None
            };
        }
        writer.write_all(&bytes).await?;
        writer.flush().await?;
        bytes.shrink_to(4 * BUFFER_BYTES);
    }
    Ok(())
}
