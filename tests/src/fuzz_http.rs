//! The bytes are what a client sends over its connection to a node that runs.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use precentor_node::server::config::ServerConfig;
use precentor_node::server::{init, run};
use tokio::sync::mpsc;

/// How long an answer is waited for: what waits for the cluster may wait longer.
const PATIENCE: Duration = Duration::from_millis(500);
/// How much of it is read.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// A node of a cluster of one, in this process and for as long as it lives.
fn served() -> SocketAddr {
    static SERVED: OnceLock<SocketAddr> = OnceLock::new();
    *SERVED.get_or_init(|| {
        let home = tempfile::tempdir().expect("a folder").keep();
        let path = home.join("n1.toml");
        let text = "cluster = \"fuzz\"\nnode = 1\ndata = \"n1\"\n[nodes]\n1 = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n";
        fs::write(&path, text).expect("a file");
        let config = ServerConfig::read(&path).expect("a configuration");
        init(&config).expect("a node");
        let (tell, told) = crossbeam_channel::bounded(1);
        thread::spawn(move || {
            // Nobody ever stops it.
            let (_stop, stopped) = mpsc::channel(1);
            run(&config, stopped, |address| _ = tell.send(address)).expect("a node that runs");
        });
        told.recv().expect("it starts")
    })
}

/// The status of the answer to some bytes; none if the connection was closed without one, or
/// there is none yet.
///
/// # Panics
/// If the node does not take connections, says what is no answer, or fails.
pub fn http(data: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(served()).expect("a node that lives takes connections");
    let timeout = stream.set_read_timeout(Some(PATIENCE));
    timeout.expect("a timeout of some milliseconds");
    // It may hang up before it has heard everything.
    let _ = stream.write_all(data);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert!(
            matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionReset
            ),
            "{error}"
        ),
    }
    if answer.is_empty() {
        return None;
    }
    let words = String::from_utf8_lossy(&answer);
    let status = words
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5));
    let status: u16 = status
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no answer: {words:.200}"));
    // Without a leader, or with too much to do, it says that it is unavailable.
    assert!(status < 500 || status == 503, "{words:.500}");
    Some(status)
}
