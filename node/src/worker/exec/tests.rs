use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use precentor_core::address::Address;
use precentor_core::digest::Digest;
use precentor_core::limits::ENGINE_SUMMARY_BYTES_MAX;
use tempfile::{TempDir, tempdir};

use super::*;

const CONTENT: &[u8] = b"def f():\n    \"\"\"Says hello.\"\"\"\n";
const PATIENCE: Duration = Duration::from_secs(30);

/// A shell script as an engine, and a file to be asked about.
struct Bench {
    engine: Arc<ExecEngine>,
    home: TempDir,
}

impl Bench {
    fn with(script: &str, change: impl FnOnce(&mut ExecOptions)) -> Bench {
        let home = tempdir().unwrap();
        let file = home.path().join("a.py");
        fs::write(&file, CONTENT).unwrap();
        let mut options = ExecOptions {
            name: "words".to_owned(),
            version: 7,
            command: ["sh", "-c", script, home.path().to_str().unwrap()]
                .map(str::to_owned)
                .to_vec(),
            job_time_max: PATIENCE,
            memory_bytes_max: None,
        };
        change(&mut options);
        let engine = Arc::new(ExecEngine::new(options));
        Bench { engine, home }
    }

    fn new(script: &str) -> Bench {
        Bench::with(script, |_| {})
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn ask(&self) -> Result<ContextRecord, EngineError> {
        self.engine.generate(Job {
            uri: Address::parse("ucxl://p/a.py").unwrap(),
            content_digest: Digest::of(CONTENT),
            subject: Subject::File {
                source: Source::Path(self.file("a.py")),
            },
        })
    }

    /// Asks about what the cluster keeps.
    fn ask_kept(&self, content: &[u8]) -> Result<ContextRecord, EngineError> {
        self.engine.generate(Job {
            uri: Address::parse("ucxl://p/src/a.py").unwrap(),
            content_digest: Digest::of(content),
            subject: Subject::File {
                source: Source::Kept(content.into()),
            },
        })
    }

    fn refused(&self) -> (FailureClass, String) {
        let EngineError { class, message } = self.ask().unwrap_err();
        (class, message)
    }

    /// What a script has written into a file, when it has.
    fn written(&self, name: &str) -> String {
        let give_up = Instant::now() + PATIENCE;
        loop {
            match fs::read_to_string(self.file(name)) {
                Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                _ => assert!(Instant::now() < give_up, "{name} was not written"),
            }
            thread::yield_now();
        }
    }
}

/// Answers the jobs in order, with a text behind their numbers.
fn always(answer: &str) -> String {
    let rest = answer.strip_prefix('{').unwrap();
    let comma = if rest == "}" { "" } else { "," };
    format!(
        r#"n=0; while read -r line; do n=$((n+1)); printf '{{"id": %s{comma}%s\n' $n '{rest}'; done"#
    )
}

#[test]
fn a_programs_words_take_the_place_of_the_outlines() {
    let answer = r#"{"one_line": "Greets\n people.", "summary": "All of it.", "tags": ["polite", "polite"]}"#;
    let record = Bench::new(&always(answer)).ask().unwrap();
    assert_eq!(record.one_line, "Greets people.");
    assert_eq!(record.summary, "All of it.");
    assert!(
        record.tags.ends_with(&["polite".to_owned()]),
        "{:?}",
        record.tags
    );
    assert_eq!(record.symbols[0].name, "f");
    let Provenance { generator, version } = record.provenance;
    assert_eq!((generator.as_str(), version), ("words", 7));
    // What it says nothing of is as the outline has it.
    let silent = Bench::new(&always("{}")).ask().unwrap();
    assert!(!silent.one_line.is_empty());
}

#[test]
fn a_program_is_told_what_it_has_to_know() {
    let bench =
        Bench::new(r#"read -r line; printf '%s\n' "$line" > $0/line; echo '{"id": 1}'; cat"#);
    bench.ask().unwrap();
    let line: serde_json::Value = serde_json::from_str(&bench.written("line")).unwrap();
    assert_eq!(line["address"], "ucxl://p/a.py");
    assert_eq!(line["kind"], "file");
    assert_eq!(line["path"], bench.file("a.py").to_str().unwrap());
    assert_eq!(
        line["outline"]["content_digest"],
        Digest::of(CONTENT).to_string()
    );
    assert_eq!(line["outline"]["symbols"][0]["name"], "f");
}

#[test]
fn of_what_the_cluster_keeps_a_program_reads_a_copy_that_goes_with_the_job() {
    let script = r#"while read -r line; do id=${line#*:}; id=${id%%,*}; path=${line#*\"path\":\"}; path=${path%%\"*}; cp "$path" $0/copied; echo "$path" > $0/path; echo "{\"id\": $id}"; done"#;
    let bench = Bench::new(script);
    let content = b"def g(): pass\n";
    assert_eq!(bench.ask_kept(content).unwrap().symbols[0].name, "g");
    assert_eq!(bench.written("copied"), "def g(): pass");
    let path = PathBuf::from(bench.written("path"));
    assert_eq!(path.file_name().unwrap(), "a.py");
    assert!(!path.exists(), "{} is left", path.display());
}

#[test]
fn a_program_is_given_no_link_to_follow_out_of_what_the_cluster_keeps() {
    let bench =
        Bench::new(r#"read -r line; printf '%s\n' "$line" > $0/line; echo '{"id": 1}'; cat"#);
    let content = b"\0precentor symbolic link\0/etc/hostname";
    let record = bench.ask_kept(content).unwrap();
    assert_eq!(record.one_line, "symbolic link to /etc/hostname");
    let line: serde_json::Value = serde_json::from_str(&bench.written("line")).unwrap();
    assert_eq!(line["kind"], "file");
    assert_eq!(line.get("path"), None, "{line}");
}

#[test]
fn one_process_answers_many_jobs_and_another_takes_its_place_when_it_dies() {
    let script = r#"while read -r line; do n=$((n+1)); test $n = 3 && exit 3; id=${line#*:}; id=${id%%,*}; echo "{\"id\": $id, \"summary\": \"$$\"}"; done"#;
    let bench = Bench::new(script);
    let first = bench.ask().unwrap().summary;
    assert_eq!(bench.ask().unwrap().summary, first);
    let (class, message) = bench.refused();
    assert_eq!(class, FailureClass::Retryable);
    assert!(message.contains("ended without an answer"), "{message}");
    assert!(message.contains("exit status: 3"), "{message}");
    assert_ne!(bench.ask().unwrap().summary, first);
}

#[test]
fn a_program_that_takes_too_long_is_killed_with_all_that_it_started() {
    let script = r#"sleep 1000 & echo $! > $0/started; cat > /dev/null"#;
    let bench = Bench::with(script, |options| {
        options.job_time_max = Duration::from_millis(300);
    });
    let (class, message) = bench.refused();
    assert_eq!(class, FailureClass::Retryable);
    assert!(message.contains("no answer within 0.3 s"), "{message}");
    assert!(message.contains("signal: 9"), "{message}");
    let started = bench.written("started");
    let give_up = Instant::now() + PATIENCE;
    // Dead, whether or not somebody has buried it.
    while fs::read_to_string(format!("/proc/{started}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z "))
    {
        assert!(Instant::now() < give_up, "{started} lives");
        thread::yield_now();
    }
}

#[test]
fn what_a_program_says_has_to_make_sense() {
    let long = "x".repeat(ENGINE_SUMMARY_BYTES_MAX as usize + 1);
    let summary = format!(r#"{{"summary": "{long}"}}"#);
    for (answer, class, says) in [
        (
            r#"{"sumary": "x"}"#,
            FailureClass::Permanent,
            "unknown field `sumary`",
        ),
        (
            r#"{"tags": [""]}"#,
            FailureClass::Permanent,
            "must have 1 to 64 bytes",
        ),
        (
            &summary,
            FailureClass::Permanent,
            "its summary has 65537 bytes",
        ),
        (
            r#"{"error": "it is binary"}"#,
            FailureClass::Permanent,
            "it is binary",
        ),
        (
            r#"{"error": "busy", "retry": true}"#,
            FailureClass::Retryable,
            "busy",
        ),
    ] {
        let (found, message) = Bench::new(&always(answer)).refused();
        assert_eq!(found, class, "{message}");
        assert!(message.contains(says), "{message}");
    }
    for (line, class, says) in [
        (
            "hello",
            FailureClass::Permanent,
            "the program's answer is none: expected value",
        ),
        ("{}", FailureClass::Permanent, "missing field `id`"),
        (
            r#"{"id": 7}"#,
            FailureClass::Retryable,
            "answered the job 7 when it was asked 1",
        ),
    ] {
        let (found, message) = Bench::new(&format!("read -r line; echo '{line}'; cat")).refused();
        assert_eq!(found, class, "{message}");
        assert!(message.contains(says), "{message}");
    }
    let endless = "head -c 3000000 /dev/zero; cat > /dev/null";
    let (class, message) = Bench::new(endless).refused();
    assert_eq!(class, FailureClass::Retryable);
    assert!(message.contains("longer than 1048576 bytes"), "{message}");
    let nothing = Bench::with("", |options| {
        options.command = vec!["/nowhere/engine".into()]
    });
    let (class, message) = nothing.refused();
    assert_eq!(class, FailureClass::Retryable);
    assert!(
        message.contains("cannot start [\"/nowhere/engine\"]"),
        "{message}"
    );
}

#[test]
fn a_source_that_changes_under_a_program_is_not_described() {
    let script = r#"read -r line; echo more >> $0/a.py; echo '{"id": 1}'; cat"#;
    let (class, _) = Bench::new(script).refused();
    assert_eq!(class, FailureClass::SourceChanged);
}

#[test]
fn a_program_has_only_the_memory_that_it_is_given() {
    let script = r#"read -r line; exec python3 -c 'x = bytearray(1 << 30); print("{\"id\": 1}")' 2> /dev/null"#;
    let limited = Bench::with(script, |options| {
        options.memory_bytes_max = Some(256 * 1024 * 1024);
    });
    let (class, message) = limited.refused();
    assert_eq!(class, FailureClass::Retryable, "{message}");
    Bench::new(script).ask().unwrap();
}

#[test]
fn what_is_being_made_is_given_up_when_the_worker_ends() {
    let bench = Bench::new(r#"echo $$ > $0/begun; cat > /dev/null"#);
    let refused = thread::scope(|scope| {
        let asking = scope.spawn(|| bench.refused());
        bench.written("begun");
        bench.engine.stop();
        asking.join().unwrap()
    });
    assert_eq!(
        refused,
        (FailureClass::Retryable, "the worker ends".to_owned())
    );
    let (_, after) = bench.refused();
    assert!(after.contains("the worker ends"), "{after}");
}

#[test]
fn a_program_that_never_stops_talking_is_not_waited_for_without_end() {
    let script = r#"read -r line; echo '{"id": 1}'; echo $$ > $0/pid; while true; do echo more; sleep 0.01; done"#;
    let bench = Bench::new(script);
    bench.ask().unwrap();
    let pid = bench.written("pid");
    bench.engine.stop();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_program_that_waits_may_end_by_itself() {
    let bench =
        Bench::new(r#"read -r line; echo '{"id": 1}'; cat > /dev/null; echo over > $0/over"#);
    bench.ask().unwrap();
    bench.engine.stop();
    assert_eq!(bench.written("over"), "over");
}
