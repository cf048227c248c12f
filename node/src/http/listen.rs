//! Takes connections, encrypted where the node has a certificate, with a bound on how many,
//! on how long a request's head may take, and on how long one may be idle.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use precentor_core::limits::HTTP_CONNECTIONS_MAX;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::tls::{Credentials, Proof, Stream};

/// How long the head of a request may take, from the end of the one before.
const HEAD_PATIENCE: Duration = Duration::from_secs(60);
/// Largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long the ends of a connection may take to agree on how it is encrypted.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);
/// What begins a TLS connection, and no HTTP request: a record of a handshake.
const HANDSHAKE_BYTE: u8 = 22;
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\nThis address is for https:// alone.\n";
/// The wait after a connection could not be taken.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until `closing` says true, and until then-open requests are answered.
pub(super) async fn run(
    listener: TcpListener,
    credentials: Option<Credentials>,
    router: Router,
    mut closing: watch::Receiver<bool>,
) {
    let connections = usize::try_from(HTTP_CONNECTIONS_MAX).unwrap_or(usize::MAX);
    let room = Arc::new(Semaphore::new(connections));
    let open = GracefulShutdown::new();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_BYTES_MAX);
    loop {
        // Whoever finds no room waits in the system's own queue.
        let Ok(place) = room.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many open files, mostly: it passes.
                tracing::warn!(%error, "cannot take a client's connection");
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        // Small answers must not wait for each other.
        let _ = stream.set_nodelay(true);
        let (watcher, builder) = (open.watcher(), builder.clone());
        let (credentials, router) = (credentials.clone(), router.clone());
        tokio::spawn(async move {
            let (stream, proof) = match secured(stream, credentials.as_ref()).await {
                Ok(secured) => secured,
                Err(error) => {
                    tracing::info!(%from, %error, "a client was turned away");
                    return;
                }
            };
            let router = TowerToHyperService::new(router);
            let service = service_fn(move |mut request: hyper::Request<Incoming>| {
                if let Some(proof) = &proof {
                    request.extensions_mut().insert(proof.clone());
                }
                router.call(request)
            });
            let connection = watcher.watch(builder.serve_connection(TokioIo::new(stream), service));
            if let Err(error) = connection.await {
                tracing::debug!(%from, %error, "a client's connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    open.shutdown().await;
}

/// A connection as it is spoken on, and who has proved to be at its other end.
async fn secured(
    stream: TcpStream,
    credentials: Option<&Credentials>,
) -> io::Result<(Stream, Option<Proof>)> {
    let Some(credentials) = credentials else {
        return Ok((Box::new(stream), None));
    };
    let handshake = async {
        let mut first = [0];
        if stream.peek(&mut first).await? > 0 && first[0] != HANDSHAKE_BYTE {
            let mut stream = stream;
            stream.write_all(SPEAK_TLS).await?;
            return Err(io::Error::other("it did not ask for encryption"));
        }
        credentials.accept_client(stream).await
    };
    timeout(HANDSHAKE_PATIENCE, handshake)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
