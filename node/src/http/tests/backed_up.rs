//! Backups: who gets one, and what is one.

use std::io::Read;

use precentor_core::action::BodyOf;
use precentor_core::queue::QueueManager;
use precentor_core::restore::Backup;

use super::*;
use crate::backup::{BackupError, Manifest, Receive, Seen, look};

/// Counts what it gets.
#[derive(Debug, Default)]
struct Counting {
    states: u64,
    lines: u64,
    bodies: Vec<(BodyOf, Vec<u8>)>,
}

impl Receive for Counting {
    type Error = BackupError;

    fn state(&mut self, _: &Manifest, _: &Backup<'_>, _: QueueManager) -> Result<(), BackupError> {
        self.states += 1;
        Ok(())
    }

    fn audit(&mut self, _: &[u8]) -> Result<(), BackupError> {
        self.lines += 1;
        Ok(())
    }

    fn body(&mut self, of: BodyOf, _: Digest, body: Vec<u8>) -> Result<(), BackupError> {
        self.bodies.push((of, body));
        Ok(())
    }
}

type Files = Vec<(String, Vec<u8>)>;

fn unpack(backup: &[u8]) -> Files {
    let mut archive = tar::Archive::new(zstd::Decoder::new(backup).unwrap());
    let files = archive.entries().unwrap().map(|file| {
        let mut file = file.unwrap();
        let name = file.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        (name, content)
    });
    files.collect()
}

fn pack(files: &Files) -> Vec<u8> {
    let mut archive = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, &**content).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

fn seen(backup: &[u8]) -> (Result<Seen, BackupError>, Counting) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.backup");
    fs::write(&path, backup).unwrap();
    let mut counting = Counting::default();
    (look(&path, &mut counting), counting)
}

fn refused(backup: &[u8]) -> BackupError {
    seen(backup).0.unwrap_err()
}

impl Served {
    fn backup(&self) -> Vec<u8> {
        let response = self.send(Method::GET, "/v1/backup", &[], Vec::new());
        assert_eq!(response.status(), 200);
        self.runtime.block_on(response.bytes()).unwrap().to_vec()
    }

    fn keep_text(&self, text: &[u8]) {
        let path = format!("/v1/sources/{}", Digest::of(text));
        let kept = self.hear(self.send(Method::PUT, &path, &[], text.to_vec()));
        assert_eq!(kept.status, 200, "{kept:?}");
    }
}

/// A node that has made a context, and its backup.
fn backed_up() -> Vec<u8> {
    let served = Served::alone();
    let _worker = served.worker_with([]);
    let code = b"//! Adds things up.\n";
    served.keep_text(code);
    let answer = served.post("/v1/requests?wait=true", &batch(&[item("add.rs", code)]));
    assert_eq!(
        answer.body["items"][0]["end"]["state"], "done",
        "{answer:?}"
    );
    served.backup()
}

#[test]
fn what_was_accepted_before_is_in_it_and_people_can_look_into_it() {
    let backup = backed_up();
    let (seen, found) = seen(&backup);
    let seen = seen.unwrap();
    assert_eq!((seen.end.results, seen.end.sources), (1, 1));
    assert_eq!((found.states, found.bodies.len()), (1, 2));
    assert!(found.lines >= 4, "{} records", found.lines);
    let text = (BodyOf::Source, b"//! Adds things up.\n".to_vec());
    assert!(found.bodies.contains(&text));
    let names: Vec<String> = unpack(&backup).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[..3], ["backup.json", "snapshot", "audit.jsonl"]);
    assert_eq!(names.last().unwrap(), "end.json");
}

#[test]
fn a_backup_that_breaks_off_is_none_and_no_change_of_one_goes_unseen() {
    let backup = backed_up();
    let (_, whole) = seen(&backup);
    for length in (0..backup.len()).step_by(backup.len() / 61) {
        refused(&backup[..length]);
    }
    refused(&backup[..backup.len() - 1]);
    for at in (0..backup.len()).step_by(backup.len() / 127) {
        let mut changed = backup.clone();
        changed[at] ^= 1;
        // What zstd says of its own memory may be another, and then all is as it was.
        if let (Ok(_), found) = seen(&changed) {
            assert_eq!(found.bodies, whole.bodies, "byte {at}");
            assert_eq!((found.states, found.lines), (whole.states, whole.lines));
        }
    }
}

#[test]
fn what_is_wrong_with_a_backup_is_said() {
    let files = unpack(&backed_up());
    assert!(seen(&pack(&files)).0.is_ok(), "packed by other tools");
    let with = |change: &dyn Fn(&mut Files)| {
        let mut files = files.clone();
        change(&mut files);
        refused(&pack(&files)).to_string()
    };
    let at = |files: &Files, start: &str| {
        let found = files.iter().position(|(name, _)| name.starts_with(start));
        found.unwrap()
    };
    let json = |content: &mut Vec<u8>, name: &str, value: Value| {
        let mut words: Value = serde_json::from_slice(content).unwrap();
        words[name] = value;
        *content = serde_json::to_vec(&words).unwrap();
    };

    let endless = with(&|files| drop(files.pop()));
    assert!(endless.contains("its end is missing"), "{endless}");
    let fewer = with(&|files| drop(files.remove(at(files, "sources/"))));
    assert!(fewer.contains("there were 1 results and 1"), "{fewer}");
    let lacking = with(&|files| {
        let (_, body) = files.remove(at(files, "results/"));
        let end = at(files, "end.json");
        let end = &mut files[end].1;
        let words: Value = serde_json::from_slice(end).unwrap();
        let bytes = words["body_bytes"].as_u64().unwrap() - body.len() as u64;
        json(end, "results", json!(0));
        json(end, "body_bytes", json!(bytes));
    });
    assert!(lacking.contains("lacks 1 of the bodies"), "{lacking}");
    let other = with(&|files| {
        let body = at(files, "results/");
        files[body].1[0] ^= 1;
    });
    assert!(other.contains("has digest"), "{other}");
    let newer = with(&|files| json(&mut files[0].1, "format", json!(2)));
    assert!(newer.contains("has format 2"), "{newer}");
    let foreign = with(&|files| files.insert(3, ("etc/passwd".into(), Vec::new())));
    assert!(foreign.contains("\"etc/passwd\" is in it"), "{foreign}");
    let named = with(&|files| json(&mut files[0].1, "index", json!(1)));
    assert!(named.contains("another one than"), "{named}");
    let first = with(&|files| files.swap(0, 1));
    assert!(first.contains("it begins with \"snapshot\""), "{first}");
    let stateless = with(&|files| drop(files.remove(1)));
    assert!(stateless.contains("no snapshot"), "{stateless}");
    let line = with(&|files| files[2].1.splice(0..0, *b"x\n").for_each(drop));
    assert!(line.contains("audit.jsonl"), "{line}");
    let text = refused(b"something else").to_string();
    assert!(text.contains("is no backup"), "{text}");
    refused(&pack(&Vec::new()));
}

#[test]
fn only_admins_have_backups() {
    let served = Served::with_tokens();
    let get = |who: &str| {
        let token = format!("Bearer {who}'s token");
        served.send(
            Method::GET,
            "/v1/backup",
            &[("authorization", &token)],
            Vec::new(),
        )
    };
    assert_eq!(get("bob").status(), 200, "nobody has a role yet");
    let admin = json!({"grants": [{"role": "admin"}]});
    let put = served.send(
        Method::PUT,
        "/v1/roles/ada",
        &[("authorization", "Bearer ada's token")],
        serde_json::to_vec(&admin).unwrap(),
    );
    assert_eq!(put.status(), 200);
    let denied = served.hear(get("bob"));
    assert_eq!((denied.status, denied.code()), (403, "denied"));
    assert_eq!(get("ada").status(), 200);
    assert_eq!(served.get("/v1/backup").status, 401);
}

#[test]
fn one_backup_is_taken_at_a_time_and_whoever_goes_makes_room() {
    let served = Served::alone();
    // What does not fit the buffers on the way, and is not made smaller.
    let mut state = 1_u64;
    for _ in 0..8 {
        let noise = (0..2 * 1024 * 1024).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        });
        served.keep_text(&noise.collect::<Vec<u8>>());
    }
    let slow = served.send(Method::GET, "/v1/backup", &[], Vec::new());
    assert_eq!(slow.status(), 200);
    let second = served.get("/v1/backup");
    assert_eq!((second.status, second.code()), (429, "backup_under_way"));
    drop(slow);
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        let again = served.send(Method::GET, "/v1/backup", &[], Vec::new());
        if again.status() == 200 {
            let bytes = served.runtime.block_on(again.bytes()).unwrap();
            assert!(bytes.len() > 16 * 1024 * 1024, "{}", bytes.len());
            return;
        }
        assert_eq!(again.status(), 429);
        assert!(Instant::now() < give_up);
    }
}

#[test]
fn without_a_majority_no_backup_is_said_to_be_one() {
    let served = Served::without_majority();
    let answer = served.hear(served.send(
        Method::GET,
        "/v1/backup",
        &[("precentor-wait-ms", "300")],
        Vec::new(),
    ));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.body["code"], "no_leader");
}
