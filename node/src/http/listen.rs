//! Takes connections, with a bound on how many, on how long a request's head may take,
//! and on how long one may be idle.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use precentor_core::limits::HTTP_CONNECTIONS_MAX;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

/// How long the head of a request may take, from the end of the one before.
const HEAD_PATIENCE: Duration = Duration::from_secs(60);
/// Largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The wait after a connection could not be taken.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until `closing` says true, and until then-open requests are answered.
pub(super) async fn run(listener: TcpListener, router: Router, mut closing: watch::Receiver<bool>) {
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
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Too many open files, mostly: it passes.
                tracing::warn!(%error, "cannot take a client's connection");
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        // Small answers must not wait for each other.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = open.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a client's connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    open.shutdown().await;
}
