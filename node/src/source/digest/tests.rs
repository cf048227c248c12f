use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tempfile::tempdir;

use super::open_file;

#[test]
fn a_file_that_became_a_pipe_keeps_nobody_waiting() {
    let folder = tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let (answer, answered) = mpsc::channel();
    // A thread of its own: one that waits for a writer would wait for ever.
    thread::spawn(move || answer.send(open_file(&pipe).map(drop)));
    let opened = answered
        .recv_timeout(Duration::from_secs(20))
        .expect("opening a pipe does not wait");
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("named pipe"), "{error}");
}

#[test]
fn a_file_that_became_a_link_is_not_followed() {
    let folder = tempdir().unwrap();
    let (secret, link) = (folder.path().join("secret"), folder.path().join("link"));
    fs::write(&secret, "elsewhere").unwrap();
    assert!(open_file(&secret).is_ok());
    symlink(&secret, &link).unwrap();
    assert!(open_file(&link).is_err());
}
