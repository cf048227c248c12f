//! The bytes are what a client sends over its connection to a node that runs.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use precentor_node::server::config::ServerConfig;
use precentor_node::server::{init, run};
use tokio::sync::mpsc;

/// How long a fuzzer waits for an answer: what waits for the cluster, or for more bytes, may
/// wait longer.
const PATIENCE: Duration = Duration::from_millis(200);
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
/// there is none soon.
///
/// # Panics
/// If the node does not take connections, says what is no answer, or fails.
pub fn http(data: &[u8]) -> Option<u16> {
    http_within(data, PATIENCE)
}

/// The same, with another patience.
///
/// # Panics
/// As [`http`].
pub fn http_within(data: &[u8], patience: Duration) -> Option<u16> {
    let mut stream = TcpStream::connect(served()).expect("a node that lives takes connections");
    let timeout = stream.set_read_timeout(Some(patience));
    timeout.expect("a timeout of some milliseconds");
    // It may hang up before it has heard everything. Who hears no more need not be answered,
    // so this end stays open.
    let _ = stream.write_all(data);
    let mut answer = Vec::new();
    let mut piece = [0; 4_096];
    while !is_whole(&answer) && (answer.len() as u64) < ANSWER_BYTES_MAX {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&piece[..count]),
            Err(error) => {
                let is_over = [
                    ErrorKind::WouldBlock,
                    ErrorKind::TimedOut,
                    ErrorKind::ConnectionReset,
                ];
                assert!(is_over.contains(&error.kind()), "{error}");
                break;
            }
        }
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

/// Is the first answer there, as long as it says that it is?
fn is_whole(answer: &[u8]) -> bool {
    let words = String::from_utf8_lossy(answer).to_lowercase();
    let Some((head, body)) = words.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.and_then(|length| length.parse::<usize>().ok());
    length.is_some_and(|length| body.len() >= length)
}
