//! How the two ends of a socket greet each other. The one that dialled speaks
//! first; the other answers in any case, so that both can say why they cannot
//! talk. From wire version 2 on each then proves, by a sealed frame, that it
//! knows what the other just said: a hello that was recorded opens nothing.

use std::io;
use std::time::Duration;

use precentor_core::ids::NodeId;
use precentor_core::wire::frame::{FrameDecoder, FrameError, Seal, encode_frame, encode_sealed};
use precentor_core::wire::hello::{Agreement, HELLO_BYTES_MAX, Hello, HelloError, WireVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Me, Refusal};
use crate::seed;

/// The first sealed frame of each direction.
pub(super) const CONFIRMATION: &[u8] = b"confirmed";
/// Nobody gets more room before it has said who it is.
const PENDING_BYTES_MAX: u64 = 2 * HELLO_BYTES_MAX;
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a connection is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum GreetError {
    #[error(transparent)]
    Hello(#[from] HelloError),
    #[error("the other end does not confirm its hello ({0}): it may be a recorded one")]
    Unconfirmed(String),
    #[error("no greeting within {} s", PATIENCE.as_secs())]
    Silent,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl GreetError {
    /// What is counted; nothing if the other end merely went away.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            GreetError::Hello(error) => Some(Refusal::from(error)),
            GreetError::Unconfirmed(_) => Some(Refusal::Unconfirmed),
            GreetError::Silent => Some(Refusal::Silent),
            GreetError::Io(_) => None,
        }
    }
}

/// A connection whose ends have greeted each other.
#[derive(Debug)]
pub(super) struct Greeted {
    pub(super) agreement: Agreement,
    /// What was read beyond the greeting is in it.
    pub(super) decoder: FrameDecoder,
    /// Seals what this end sends, from wire version 2 on.
    pub(super) seal: Option<Seal>,
}

/// Greets the peer that was dialled.
pub(super) async fn dial(
    stream: &mut TcpStream,
    me: &Me,
    peer: NodeId,
) -> Result<Greeted, GreetError> {
    let talk = async {
        let ours = me.hello(peer, seed::fresh());
        stream.write_all(&framed(&ours)).await?;
        let mut decoder = FrameDecoder::new();
        let theirs = Hello::decode(&first(stream, &mut decoder).await?)?;
        let agreement = ours.agree(&theirs, |node| node == peer)?;
        confirm(stream, decoder, agreement).await
    };
    timeout(PATIENCE, talk)
        .await
        .unwrap_or(Err(GreetError::Silent))
}

/// Greets whoever dialled: a peer with a greater id, or nobody.
pub(super) async fn accept(stream: &mut TcpStream, me: &Me) -> Result<Greeted, GreetError> {
    let talk = async {
        let mut decoder = FrameDecoder::new();
        let theirs = Hello::decode(&first(stream, &mut decoder).await?)?;
        let ours = me.hello(theirs.from, seed::fresh());
        stream.write_all(&framed(&ours)).await?;
        let may_dial = |node| me.peers.contains(&node) && node > me.node;
        let agreement = ours.agree(&theirs, may_dial)?;
        confirm(stream, decoder, agreement).await
    };
    timeout(PATIENCE, talk)
        .await
        .unwrap_or(Err(GreetError::Silent))
}

async fn confirm(
    stream: &mut TcpStream,
    mut decoder: FrameDecoder,
    agreement: Agreement,
) -> Result<Greeted, GreetError> {
    let mut seal = None;
    if agreement.version >= WireVersion::SECOND {
        decoder.expect_seal(Seal::new(agreement.incoming));
        let seal = seal.insert(Seal::new(agreement.outgoing));
        let mut frame = Vec::new();
        encode_sealed(CONFIRMATION, seal, &mut frame).expect("a confirmation fits a frame");
        stream.write_all(&frame).await?;
        match next(stream, &mut decoder).await? {
            Ok(body) if body == CONFIRMATION => {}
            Ok(_) => return Err(GreetError::Unconfirmed("another frame came".into())),
            Err(error) => return Err(GreetError::Unconfirmed(error.to_string())),
        }
    }
    Ok(Greeted {
        agreement,
        decoder,
        seal,
    })
}

fn framed(hello: &Hello) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(&hello.encode(), &mut bytes).expect("a hello fits a frame");
    bytes
}

/// The first frame of a connection.
async fn first(stream: &mut TcpStream, decoder: &mut FrameDecoder) -> Result<Vec<u8>, GreetError> {
    match next(stream, decoder).await? {
        Ok(body) => Ok(body),
        Err(_) => Err(HelloError::Stranger.into()),
    }
}

async fn next(
    stream: &mut TcpStream,
    decoder: &mut FrameDecoder,
) -> Result<Result<Vec<u8>, FrameError>, GreetError> {
    let mut buffer = [0; 256];
    loop {
        match decoder.next_frame() {
            Ok(Some(body)) => return Ok(Ok(body.to_vec())),
            Ok(None) => {}
            Err(error) => return Ok(Err(error)),
        }
        let found = decoder.pending_bytes();
        if found > PENDING_BYTES_MAX {
            return Err(HelloError::TooLong { found }.into());
        }
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        decoder.push(&buffer[..count]);
    }
}
