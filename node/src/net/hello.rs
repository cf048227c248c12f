//! What each side says first, and what makes the other hang up: another
//! program, version, cluster or node than it expects.

use std::io;
use std::time::Duration;

use precentor_core::ids::{ClusterId, NodeId};
use precentor_core::wire::frame::{FrameDecoder, encode_frame};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Me;

const MAGIC: [u8; 4] = *b"PRPR";
/// The messages that this program speaks.
const WIRE_VERSION: u16 = 1;
/// A greeting is 40 bytes; nobody gets room for more.
const HELLO_BYTES_MAX: u64 = 256;
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    magic: [u8; 4],
    wire_version: u16,
    cluster: ClusterId,
    from: NodeId,
    to: Option<NodeId>,
}

/// Why a connection is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelloError {
    #[error("the other end is no precentor node")]
    Stranger,
    #[error("the other end speaks wire version {found}, and this node version {WIRE_VERSION}")]
    OtherVersion { found: u16 },
    #[error("the other end is of another cluster")]
    OtherCluster,
    #[error("the other end is {from:?} and looks for {to:?}, which is not expected here")]
    OtherNode { from: NodeId, to: Option<NodeId> },
    #[error("no greeting within {} s", PATIENCE.as_secs())]
    Silent,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Greets and is greeted. `expected` is whom this node dialled; none at the
/// accepting side, which takes any peer that may dial it. What was read beyond
/// the greeting is in the decoder.
pub(super) async fn exchange(
    stream: &mut TcpStream,
    me: &Me,
    expected: Option<NodeId>,
) -> Result<(NodeId, FrameDecoder), HelloError> {
    let greeting = Hello {
        magic: MAGIC,
        wire_version: WIRE_VERSION,
        cluster: me.cluster,
        from: me.node,
        to: expected,
    };
    let body = postcard::to_allocvec(&greeting).expect("a greeting is plain data");
    let mut bytes = Vec::new();
    encode_frame(&body, &mut bytes).expect("a greeting fits a frame");
    let talk = async {
        stream.write_all(&bytes).await?;
        let mut decoder = FrameDecoder::new();
        let mut buffer = [0; 256];
        loop {
            let count = stream.read(&mut buffer).await?;
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            decoder.push(&buffer[..count]);
            let greeted = match decoder.next_frame() {
                Ok(Some(body)) => Some(check(body, me, expected)?),
                Ok(None) => None,
                Err(_) => return Err(HelloError::Stranger),
            };
            match greeted {
                Some(peer) => return Ok((peer, decoder)),
                None if decoder.pending_bytes() < HELLO_BYTES_MAX => {}
                None => return Err(HelloError::Stranger),
            }
        }
    };
    timeout(PATIENCE, talk)
        .await
        .unwrap_or(Err(HelloError::Silent))
}

fn check(body: &[u8], me: &Me, expected: Option<NodeId>) -> Result<NodeId, HelloError> {
    let hello: Hello = postcard::from_bytes(body).map_err(|_| HelloError::Stranger)?;
    let Hello {
        magic,
        wire_version,
        cluster,
        from,
        to,
    } = hello;
    if magic != MAGIC {
        return Err(HelloError::Stranger);
    }
    if wire_version != WIRE_VERSION {
        return Err(HelloError::OtherVersion {
            found: wire_version,
        });
    }
    if cluster != me.cluster {
        return Err(HelloError::OtherCluster);
    }
    let known = me.peers.contains(&from);
    let right = match expected {
        Some(peer) => from == peer && to.is_none(),
        // The one with the greater id dials.
        None => known && from > me.node && to == Some(me.node),
    };
    if right {
        Ok(from)
    } else {
        Err(HelloError::OtherNode { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me(node: u64) -> Me {
        let peers = [1, 2, 3]
            .map(NodeId)
            .into_iter()
            .filter(|peer| peer.0 != node)
            .collect();
        Me {
            cluster: ClusterId([1; 16]),
            node: NodeId(node),
            peers,
        }
    }

    fn hello(from: u64, to: Option<u64>) -> Hello {
        Hello {
            magic: MAGIC,
            wire_version: WIRE_VERSION,
            cluster: ClusterId([1; 16]),
            from: NodeId(from),
            to: to.map(NodeId),
        }
    }

    fn checked(hello: Hello, me: &Me, expected: Option<u64>) -> Result<NodeId, HelloError> {
        check(
            &postcard::to_allocvec(&hello).unwrap(),
            me,
            expected.map(NodeId),
        )
    }

    #[test]
    fn the_greater_id_dials_and_nobody_else() {
        assert_eq!(checked(hello(2, Some(1)), &me(1), None).unwrap(), NodeId(2));
        assert_eq!(checked(hello(1, None), &me(2), Some(1)).unwrap(), NodeId(1));
        assert!(
            checked(hello(1, Some(2)), &me(2), None).is_err(),
            "the lesser id dialled"
        );
        assert!(
            checked(hello(2, Some(3)), &me(1), None).is_err(),
            "it looked for another"
        );
        assert!(
            checked(hello(9, Some(1)), &me(1), None).is_err(),
            "no voter"
        );
        assert!(
            checked(hello(3, None), &me(2), Some(1)).is_err(),
            "another answered"
        );
    }

    #[test]
    fn another_cluster_version_or_program_is_refused() {
        let other = Hello {
            cluster: ClusterId([2; 16]),
            ..hello(2, Some(1))
        };
        assert!(matches!(
            checked(other, &me(1), None),
            Err(HelloError::OtherCluster)
        ));
        let newer = Hello {
            wire_version: 2,
            ..hello(2, Some(1))
        };
        assert!(matches!(
            checked(newer, &me(1), None),
            Err(HelloError::OtherVersion { found: 2 })
        ));
        assert!(matches!(
            check(b"GET / HTTP", &me(1), None),
            Err(HelloError::Stranger)
        ));
        assert!(matches!(
            check(b"", &me(1), None),
            Err(HelloError::Stranger)
        ));
    }
}
