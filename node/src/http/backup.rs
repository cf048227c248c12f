//! A backup of the cluster, taken by the node that is asked.

use std::future::Future;
use std::io::{self, Write};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use precentor_core::request::{Consistency, Query, Reply, Request};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::Problem;
use super::{Api, Caller};
use crate::backup::{NotTaken, Taking};

/// Where backups are.
pub const BACKUP_PATH: &str = "/v1/backup";
/// What goes out at a time, in bytes.
const PIECE_BYTES: usize = 256 * 1024;
/// Pieces that wait for the client.
const PIECES_MAX: usize = 4;
/// How long a client may take none. While a backup is taken, what goes meanwhile keeps its
/// place on the disk.
const CLIENT_PATIENCE: Duration = Duration::from_secs(60);
/// The header that says up to which entry.
const INDEX_HEADER: &str = "precentor-index";

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(take_backup))
}

/// Takes a backup, while the cluster goes on
///
/// It has all that was accepted before it was asked for. The answer is a tar archive under zstd;
/// it is whole if it ends with `end.json`. `precentor backup` takes it and looks it through,
/// `precentor restore` founds a cluster with it. For admins: it holds whatever the cluster does.
#[utoipa::path(
    get, path = "/v1/backup", tag = "operation",
    responses(
        (status = 200, description = "The backup", content_type = "application/zstd", headers(("precentor-index" = u64, description = "the last entry in it"))),
        (status = "default", description = "Not taken", body = Problem, content_type = "application/problem+json"),
    )
)]
async fn take_backup(State(api): State<Api>, caller: Caller) -> Result<Response, Problem> {
    // Answered only to who may see everything, and as of what every client was told.
    let read = Request::Read {
        query: Query::Roles {
            after: None,
            count_max: 1,
        },
        consistency: Consistency::Linearizable,
    };
    let applied = match api.ask(&caller, read).await? {
        Reply::Read { applied, .. } => applied,
        other => return Err(other.into()),
    };
    let begun = timeout(caller.wait, api.0.about.backups.begin(applied)).await;
    let taking = begun.map_err(|_| Problem::overloaded(
        "no snapshot was saved in time: this node sends one to another, perhaps; ask again, or another node, or wait longer (precentor-wait-ms)",
    ))?;
    let taking = taking.map_err(not_taken)?;
    let index = taking.index();
    let name = format!("attachment; filename=\"precentor-{}.backup\"", index.0);
    let mut response = Body::from_stream(written(taking)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/zstd"));
    headers.insert(INDEX_HEADER, HeaderValue::from(index.0));
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

fn not_taken(error: NotTaken) -> Problem {
    match error {
        NotTaken::UnderWay => {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "backup_under_way", error)
        }
        NotTaken::Ended => Problem::overloaded(error),
        NotTaken::Disk(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "disk", error),
    }
}

type Piece = io::Result<Bytes>;

/// Its bytes, as they are made: beside the tasks, for the disk is read.
fn written(taking: Taking) -> impl futures_util::Stream<Item = Piece> + Send {
    let (to, pieces) = mpsc::channel(PIECES_MAX);
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || {
        let index = taking.index();
        let mut pipe = Pipe {
            to: to.clone(),
            handle: handle.clone(),
            buffer: Vec::with_capacity(PIECE_BYTES),
        };
        match taking.write(&mut pipe) {
            Ok(end) => tracing::info!(%index, ?end, "a backup was taken"),
            Err(error) => {
                tracing::warn!(%index, %error, "a backup broke off");
                // Its answer breaks off, too.
                let _ = handle.block_on(sent(&to, Err(error)));
            }
        }
    });
    unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((piece, pieces))
    })
}

fn sent(to: &mpsc::Sender<Piece>, piece: Piece) -> impl Future<Output = io::Result<()>> {
    let to = to.clone();
    async move {
        match timeout(CLIENT_PATIENCE, to.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client went")),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client takes nothing",
            )),
        }
    }
}

struct Pipe {
    to: mpsc::Sender<Piece>,
    handle: Handle,
    buffer: Vec<u8>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = Bytes::copy_from_slice(&self.buffer);
        self.buffer.clear();
        self.handle.block_on(sent(&self.to, Ok(piece)))
    }
}
