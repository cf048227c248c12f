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
/// The same of whoever dialled to ask something for its clients.
const RELAY_CONFIRMATION: &[u8] = b"confirmed, to ask";
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

/// What a connection is for. Whoever dials says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Messages of the protocol, both ways.
    Messages,
    /// Requests of the clients of the node that dialled, and their answers.
    Relay,
}

impl Purpose {
    fn confirmation(self) -> &'static [u8] {
        match self {
            Purpose::Messages => CONFIRMATION,
            Purpose::Relay => RELAY_CONFIRMATION,
        }
    }

    fn of(confirmation: &[u8]) -> Option<Purpose> {
        [Purpose::Messages, Purpose::Relay]
            .into_iter()
            .find(|purpose| purpose.confirmation() == confirmation)
    }
}

/// A connection whose ends have greeted each other.
#[derive(Debug)]
pub(super) struct Greeted {
    pub(super) purpose: Purpose,
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
    purpose: Purpose,
) -> Result<Greeted, GreetError> {
    let talk = async {
        let mut ours = me.hello(peer, seed::fresh());
        if purpose == Purpose::Relay {
            // Version 1 has no word for it.
            ours.versions.min = ours.versions.min.max(WireVersion::SECOND);
        }
        stream.write_all(&framed(&ours)).await?;
        let mut decoder = FrameDecoder::new();
        let theirs = Hello::decode(&first(stream, &mut decoder).await?)?;
        let agreement = ours.agree(&theirs, |node| node == peer)?;
        let greeted = confirm(stream, decoder, agreement, purpose).await?;
        match greeted.purpose {
            Purpose::Messages => Ok(Greeted { purpose, ..greeted }),
            Purpose::Relay => Err(GreetError::Unconfirmed("it asks, and did not dial".into())),
        }
    };
    timeout(PATIENCE, talk)
        .await
        .unwrap_or(Err(GreetError::Silent))
}

/// Greets whoever dialled: a peer, who must have a greater id unless it only asks.
pub(super) async fn accept(stream: &mut TcpStream, me: &Me) -> Result<Greeted, GreetError> {
    let talk = async {
        let mut decoder = FrameDecoder::new();
        let theirs = Hello::decode(&first(stream, &mut decoder).await?)?;
        let ours = me.hello(theirs.from, seed::fresh());
        stream.write_all(&framed(&ours)).await?;
        let agreement = ours.agree(&theirs, |node| me.peers.contains(&node))?;
        let greeted = confirm(stream, decoder, agreement, Purpose::Messages).await?;
        let node = greeted.agreement.peer;
        if greeted.purpose == Purpose::Messages && node < me.node {
            return Err(HelloError::Unexpected { node }.into());
        }
        Ok(greeted)
    };
    timeout(PATIENCE, talk)
        .await
        .unwrap_or(Err(GreetError::Silent))
}

async fn confirm(
    stream: &mut TcpStream,
    mut decoder: FrameDecoder,
    agreement: Agreement,
    ours: Purpose,
) -> Result<Greeted, GreetError> {
    let mut seal = None;
    let mut purpose = Purpose::Messages;
    if agreement.version >= WireVersion::SECOND {
        decoder.expect_seal(Seal::new(agreement.incoming));
        let seal = seal.insert(Seal::new(agreement.outgoing));
        let mut frame = Vec::new();
        encode_sealed(ours.confirmation(), seal, &mut frame).expect("a confirmation fits a frame");
        stream.write_all(&frame).await?;
        match next(stream, &mut decoder).await? {
            Ok(body) => {
                purpose = Purpose::of(&body)
                    .ok_or_else(|| GreetError::Unconfirmed("another frame came".into()))?;
            }
            Err(error) => return Err(GreetError::Unconfirmed(error.to_string())),
        }
    }
    Ok(Greeted {
        purpose,
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
