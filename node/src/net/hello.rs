//! How the two ends of a socket greet each other. The one that dialled speaks
//! first; the other answers in any case, so that both can say why they cannot
//! talk. From wire version 2 on each then proves, by a sealed frame, that it
//! knows what the other just said: a hello that was recorded opens nothing. Where nodes
//! have certificates all that goes over TLS, and a hello must be of the node that the
//! certificate is of.

use std::io;
use std::time::Duration;

use precentor_core::ids::NodeId;
use precentor_core::wire::frame::{FrameDecoder, FrameError, Seal, encode_frame, encode_sealed};
use precentor_core::wire::hello::{Agreement, HELLO_BYTES_MAX, Hello, HelloError, WireVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Refusal;
use super::link::LinkContext;
use crate::seed;
use crate::tls::{Identity, IdentityError, Stream, Who};

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
    #[error("the other end does not prove who it is ({0}); see whose certificates both have")]
    Untrusted(String),
    #[error("the other end says that it is {said}, and proves that it is {proved}")]
    Impersonation { said: NodeId, proved: Who },
    #[error("{0}")]
    Io(io::Error),
}

impl From<io::Error> for GreetError {
    fn from(error: io::Error) -> GreetError {
        let inner = error.get_ref();
        if inner.is_some_and(|inner| inner.is::<rustls::Error>() || inner.is::<IdentityError>()) {
            return GreetError::Untrusted(error.to_string());
        }
        GreetError::Io(error)
    }
}

impl GreetError {
    /// What is counted; nothing if the other end merely went away.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            GreetError::Hello(error) => Some(Refusal::from(error)),
            GreetError::Unconfirmed(_) => Some(Refusal::Unconfirmed),
            GreetError::Silent => Some(Refusal::Silent),
            GreetError::Untrusted(_) => Some(Refusal::Untrusted),
            GreetError::Impersonation { .. } => Some(Refusal::Impersonation),
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
pub(super) struct Greeted {
    pub(super) stream: Stream,
    /// What the other end proved, where that has to be proved.
    pub(super) identity: Option<Identity>,
    pub(super) purpose: Purpose,
    pub(super) agreement: Agreement,
    /// What was read beyond the greeting is in it.
    pub(super) decoder: FrameDecoder,
    /// Seals what this end sends, from wire version 2 on.
    pub(super) seal: Option<Seal>,
}

/// Greets the peer that was dialled.
pub(super) async fn dial(
    stream: TcpStream,
    context: &LinkContext,
    peer: NodeId,
    purpose: Purpose,
) -> Result<Greeted, GreetError> {
    let talk = async {
        let mut opened = match &context.credentials {
            Some(credentials) => Opened::proved(credentials.dial(stream, peer).await?),
            None => Opened::plain(stream),
        };
        let mut ours = context.me.hello(peer, seed::fresh());
        if purpose == Purpose::Relay {
            // Version 1 has no word for it.
            ours.versions.min = ours.versions.min.max(WireVersion::SECOND);
        }
        opened.send(&framed(&ours)).await?;
        let theirs = Hello::decode(&opened.first().await?)?;
        let agreement = ours.agree(&theirs, |node| node == peer)?;
        let greeted = opened.confirm(agreement, purpose).await?;
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
pub(super) async fn accept(
    stream: TcpStream,
    context: &LinkContext,
) -> Result<Greeted, GreetError> {
    let me = &context.me;
    let talk = async {
        let mut opened = match &context.credentials {
            Some(credentials) => Opened::proved(credentials.accept_peer(stream).await?),
            None => Opened::plain(stream),
        };
        let theirs = Hello::decode(&opened.first().await?)?;
        let ours = me.hello(theirs.from, seed::fresh());
        opened.send(&framed(&ours)).await?;
        let agreement = ours.agree(&theirs, |node| context.known.contains(node))?;
        let greeted = opened.confirm(agreement, Purpose::Messages).await?;
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

/// A connection whose ends have yet to say who they are.
struct Opened {
    stream: Stream,
    identity: Option<Identity>,
    decoder: FrameDecoder,
}

impl Opened {
    fn plain(stream: TcpStream) -> Opened {
        Opened {
            stream: Box::new(stream),
            identity: None,
            decoder: FrameDecoder::new(),
        }
    }

    fn proved((stream, identity): (Stream, Identity)) -> Opened {
        Opened {
            stream,
            identity: Some(identity),
            decoder: FrameDecoder::new(),
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    async fn confirm(mut self, agreement: Agreement, ours: Purpose) -> Result<Greeted, GreetError> {
        let said = agreement.peer;
        if let Some(Identity { who, .. }) = &self.identity
            && *who != Who::Node(said)
        {
            let proved = who.clone();
            return Err(GreetError::Impersonation { said, proved });
        }
        let mut seal = None;
        let mut purpose = Purpose::Messages;
        if agreement.version >= WireVersion::SECOND {
            self.decoder.expect_seal(Seal::new(agreement.incoming));
            let seal = seal.insert(Seal::new(agreement.outgoing));
            let mut frame = Vec::new();
            encode_sealed(ours.confirmation(), seal, &mut frame)
                .expect("a confirmation fits a frame");
            self.send(&frame).await?;
            match self.next().await? {
                Ok(body) => {
                    purpose = Purpose::of(&body)
                        .ok_or_else(|| GreetError::Unconfirmed("another frame came".into()))?;
                }
                Err(error) => return Err(GreetError::Unconfirmed(error.to_string())),
            }
        }
        Ok(Greeted {
            stream: self.stream,
            identity: self.identity,
            purpose,
            agreement,
            decoder: self.decoder,
            seal,
        })
    }

    /// The first frame of a connection.
    async fn first(&mut self) -> Result<Vec<u8>, GreetError> {
        match self.next().await? {
            Ok(body) => Ok(body),
            Err(_) => Err(HelloError::Stranger.into()),
        }
    }

    async fn next(&mut self) -> Result<Result<Vec<u8>, FrameError>, GreetError> {
        let mut buffer = [0; 256];
        loop {
            match self.decoder.next_frame() {
                Ok(Some(body)) => return Ok(Ok(body.to_vec())),
                Ok(None) => {}
                Err(error) => return Ok(Err(error)),
            }
            let found = self.decoder.pending_bytes();
            if found > PENDING_BYTES_MAX {
                return Err(HelloError::TooLong { found }.into());
            }
            let count = self.stream.read(&mut buffer).await?;
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.decoder.push(&buffer[..count]);
        }
    }
}

fn framed(hello: &Hello) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(&hello.encode(), &mut bytes).expect("a hello fits a frame");
    bytes
}
