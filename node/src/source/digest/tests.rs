use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tempfile::tempdir;

use super::{Digest, FileClass, TEXT_BYTES_MAX, content_within, examine, examine_kept, open_file};

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

#[test]
fn what_is_kept_of_a_file_or_link_is_found_to_be_what_the_file_is() {
    let folder = tempdir().unwrap();
    let contents: [(&str, &[u8], FileClass); 4] = [
        ("empty", b"", FileClass::Text),
        ("text", b"one\ntwo", FileClass::Text),
        ("binary", b"\0\x01\n", FileClass::Binary),
        ("long", b"of more than four\nbytes\n", FileClass::Oversize),
    ];
    for (name, content, _) in &contents {
        fs::write(folder.path().join(name), content).unwrap();
    }
    symlink("no/where", folder.path().join("link")).unwrap();
    let of_link = ("link", FileClass::Symlink);
    let all = contents.iter().map(|(name, _, class)| (*name, *class));
    for (name, class) in all.chain([of_link]) {
        let path = folder.path().join(name);
        let text_bytes_max = if name == "long" { 4 } else { TEXT_BYTES_MAX };
        let (mut text, mut again) = (Vec::new(), vec![7]);
        let found = examine(&path, text_bytes_max, &mut text).unwrap();
        assert_eq!(found.class, class, "{name}");
        let kept = content_within(&path, TEXT_BYTES_MAX).unwrap().unwrap();
        assert_eq!(Digest::of(&kept), found.content_digest, "{name}");
        assert_eq!(examine_kept(&kept, text_bytes_max, &mut again), found);
        assert_eq!(again, text, "{name}");
    }
    let long = folder.path().join("long");
    assert_eq!(content_within(&long, 4).unwrap(), None);
    assert!(
        content_within(folder.path(), 4).is_err(),
        "a folder has none"
    );
}

#[test]
fn a_link_is_told_from_a_file_with_its_target_as_text() {
    let folder = tempdir().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&file, "x").unwrap();
    symlink("x", &link).unwrap();
    let digest = |path| examine(path, 9, &mut Vec::new()).unwrap().content_digest;
    assert_ne!(digest(&file), digest(&link));
}
