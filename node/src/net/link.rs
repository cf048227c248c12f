//! One connection from its first byte to its last, and who begins it. The
//! reader stops reading when the node has too much unread mail; the writer
//! puts many messages into one system call.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use precentor_core::event::Event;
use precentor_core::ids::NodeId;
use precentor_core::limits::FRAME_BYTES_MAX;
use precentor_core::message::Message;
use precentor_core::random::Random;
use precentor_core::wire::frame::{FrameDecoder, encode_frame};
use precentor_core::wire::message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{AddressBook, Me, Peers, hello};
use crate::pilot::{Mail, Mailbox};
use crate::seed;

/// Bytes that are read or written at a time.
const BUFFER_BYTES: usize = 256 * 1024;
/// One unit of the room that unread mail of a peer may take.
const ROOM_UNIT_BYTES: usize = 4 * 1024;
/// That room: more than the largest frame, or that frame could never be read.
const ROOM_UNITS: usize = 4 * FRAME_BYTES_MAX as usize / ROOM_UNIT_BYTES;
/// Connections that have not said who they are.
const GREETINGS_MAX: usize = 16;
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);
const BACKOFF_MS_MIN: u64 = 5;
const BACKOFF_MS_MAX: u64 = 250;

/// What every connection of a node needs.
#[derive(Debug, Clone)]
pub(super) struct LinkContext {
    pub(super) me: Arc<Me>,
    pub(super) peers: Peers,
    pub(super) mailbox: Mailbox,
}

/// Takes connections from the peers with greater ids.
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
            continue;
        };
        let context = context.clone();
        links.spawn(async move {
            let mut stream = stream;
            match hello::exchange(&mut stream, &context.me, None).await {
                Ok((peer, decoder)) => {
                    drop(greeting);
                    run(stream, peer, decoder, &context).await;
                }
                Err(error) => tracing::warn!(node = %context.me.node, %from, %error, "hung up"),
            }
        });
    }
}

/// Keeps a connection to a peer with a lesser id.
pub(super) async fn dial(peer: NodeId, book: AddressBook, context: LinkContext) {
    let mut random = Random::new(seed::fresh());
    let mut backoff_ms = BACKOFF_MS_MIN;
    loop {
        match connect(peer, &book, &context).await {
            Ok((stream, decoder)) => {
                backoff_ms = BACKOFF_MS_MIN;
                run(stream, peer, decoder, &context).await;
            }
            Err(error) => {
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

async fn connect(
    peer: NodeId,
    book: &AddressBook,
    context: &LinkContext,
) -> Result<(TcpStream, FrameDecoder), hello::HelloError> {
    let address = book
        .get(peer)
        .ok_or(io::ErrorKind::AddrNotAvailable)
        .map_err(io::Error::from)?;
    let mut stream = timeout(CONNECT_PATIENCE, TcpStream::connect(address))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let (_, decoder) = hello::exchange(&mut stream, &context.me, Some(peer)).await?;
    Ok((stream, decoder))
}

/// Carries messages both ways until one way ends.
async fn run(stream: TcpStream, peer: NodeId, decoder: FrameDecoder, context: &LinkContext) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::warn!(%peer, %error, "messages may be delayed: TCP_NODELAY was refused");
    }
    let (queue, open) = Open::new(peer, context);
    let (reader, writer) = stream.into_split();
    let ended = tokio::select! {
        ended = read(reader, peer, decoder, &context.mailbox) => ended,
        ended = write(writer, queue) => ended,
    };
    drop(open);
    tracing::debug!(node = %context.me.node, %peer, reason = ?ended, "connection closed");
}

/// Reports the end of a connection even if its task is aborted.
struct Open {
    peer: NodeId,
    generation: u64,
    context: LinkContext,
}

impl Open {
    fn new(peer: NodeId, context: &LinkContext) -> (mpsc::Receiver<Message>, Open) {
        let (queue, generation) = context.peers.opened(peer, &context.mailbox);
        (
            queue,
            Open {
                peer,
                generation,
                context: context.clone(),
            },
        )
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.context
            .peers
            .closed(self.peer, self.generation, &self.context.mailbox);
    }
}

async fn read(
    mut reader: OwnedReadHalf,
    peer: NodeId,
    mut decoder: FrameDecoder,
    mailbox: &Mailbox,
) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(ROOM_UNITS));
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        while let Some(body) = decoder.next_frame().map_err(io::Error::other)? {
            let units = (body.len() / ROOM_UNIT_BYTES + 1).min(ROOM_UNITS) as u32;
            let message = message::decode(body).map_err(io::Error::other)?;
            let taken = room
                .clone()
                .acquire_many_owned(units)
                .await
                .map_err(io::Error::other)?;
            let event = Event::Peer {
                from: peer,
                message,
            };
            mailbox.post(Mail::Peer(event, Some(taken)));
        }
        let count = reader.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        decoder.push(&buffer[..count]);
    }
}

async fn write(mut writer: OwnedWriteHalf, mut queue: mpsc::Receiver<Message>) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(BUFFER_BYTES);
    while let Some(message) = queue.recv().await {
        let mut next = Some(message);
        bytes.clear();
        while let Some(message) = next {
            encode_frame(&message::encode(&message), &mut bytes).map_err(io::Error::other)?;
            next = if bytes.len() < BUFFER_BYTES {
                queue.try_recv().ok()
            } else {
                None
            };
        }
        writer.write_all(&bytes).await?;
        bytes.shrink_to(4 * BUFFER_BYTES);
    }
    Ok(())
}
