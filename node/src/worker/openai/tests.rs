//! Against a server of that protocol in a process of its own, and its failures.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use precentor_core::address::Address;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::worker::engine::Source;

const CONTENT: &str = "def f():\n    \"\"\"Says hello.\"\"\"\n    return 'AKIAABCDEFGH12345678'\n";

/// What the server does follows from the model that is asked for. It writes what it was
/// asked, one line each.
const SERVER: &str = r#"
import http.server, json, sys, time
seen = {}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked["path"], asked["authorization"] = self.path, self.headers["authorization"]
        print(json.dumps(asked), flush=True)
        model = asked["model"]
        words = json.dumps({"one_line": "Greets people.", "summary": "It says hello.", "tags": ["polite"], "mood": "good"})
        status, headers, finish = 200, {}, "stop"
        if model == "busy": status, headers = 429, {"retry-after": "7"}
        if model == "away": status = 503
        if model == "broken": status = 500
        if model == "locked": status = 401
        if model == "strict": status = 400
        if model == "fenced": words = "Here it is:\n```json\n" + words + "\n```"
        if model == "chatty": words = "I would rather not."
        if model == "silent": words = "{}"
        if model == "cut": finish = "length"
        if model == "slow": time.sleep(1000)
        body = json.dumps({"choices": [{"message": {"role": "assistant", "content": words}, "finish_reason": finish}]})
        if model == "endless": body = "x" * 3000000
        if model == "odd": body = "<html>"
        if status != 200: body = json.dumps({"error": {"message": "no: " + model}})
        self.send_response(status)
        for name, value in headers.items(): self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;

struct Model {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
    url: Url,
    home: TempDir,
}

impl Model {
    fn new() -> Model {
        let mut child = Command::new("python3")
            .args(["-c", SERVER])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut port = String::new();
        said.read_line(&mut port).unwrap();
        let url = Url::parse(&format!("http://127.0.0.1:{}/v1/", port.trim())).unwrap();
        let home = tempdir().unwrap();
        std::fs::write(home.path().join("a.py"), CONTENT).unwrap();
        Model {
            child,
            said,
            url,
            home,
        }
    }

    fn options(&self, model: &str) -> OpenAiOptions {
        OpenAiOptions {
            url: self.url.clone(),
            model: model.to_owned(),
            prompt: PROMPT.to_owned(),
            key: None,
            input_tokens_max: 1_000,
            output_tokens_max: 500,
            job_time_max: Duration::from_secs(30),
        }
    }

    fn ask(&self, options: OpenAiOptions) -> Result<ContextRecord, EngineError> {
        self.ask_of(&OpenAiEngine::new(options).unwrap())
    }

    fn ask_of(&self, engine: &OpenAiEngine) -> Result<ContextRecord, EngineError> {
        engine.generate(Job {
            uri: Address::parse("ucxl://p/a.py").unwrap(),
            content_digest: Digest::of(CONTENT.as_bytes()),
            subject: Subject::File {
                source: Source::Path(self.home.path().join("a.py")),
            },
        })
    }

    /// What the server was asked next.
    fn asked(&mut self) -> Value {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_models_words_take_the_place_of_the_outlines() {
    let mut model = Model::new();
    let mut options = model.options("good");
    options.key = Some("ada's key".to_owned());
    let record = model.ask(options).unwrap();
    assert_eq!(record.one_line, "Greets people.");
    assert_eq!(record.summary, "It says hello.");
    assert!(record.tags.contains(&"polite".to_owned()));
    assert_eq!(record.symbols[0].name, "f");
    assert!(record.provenance.generator.starts_with("good@"));
    let asked = model.asked();
    assert_eq!(asked["path"], "/v1/chat/completions");
    assert_eq!(asked["authorization"], "Bearer ada's key");
    assert_eq!(
        (&asked["stream"], &asked["max_tokens"]),
        (&Value::from(false), &Value::from(500))
    );
    assert_eq!(asked["messages"][0]["content"], PROMPT);
    let content = asked["messages"][1]["content"].as_str().unwrap();
    for told in ["ucxl://p/a.py", "def f()", "Says hello.", "hidden"] {
        assert!(content.contains(told), "{told}: {content}");
    }
    assert!(!content.contains("AKIA"), "{content}");
    assert_eq!(
        model.ask(model.options("fenced")).unwrap().summary,
        "It says hello."
    );
}

#[test]
fn each_failure_of_a_server_is_of_its_class() {
    let model = Model::new();
    let busy = |seconds: u64| FailureClass::Busy {
        retry_after_ms: seconds * 1_000,
    };
    for (name, class, says) in [
        ("busy", busy(7), "429 Too Many Requests"),
        ("away", busy(5), "503"),
        ("locked", busy(60), "no: locked"),
        ("broken", FailureClass::Retryable, "500"),
        ("strict", FailureClass::Permanent, "no: strict"),
        ("chatty", FailureClass::Retryable, "no JSON object"),
        ("silent", FailureClass::Retryable, "it says nothing"),
        ("cut", FailureClass::Retryable, "--output-tokens"),
        (
            "endless",
            FailureClass::Retryable,
            "more than 1048576 bytes",
        ),
        (
            "odd",
            FailureClass::Retryable,
            "does not answer as it was asked to",
        ),
    ] {
        let EngineError {
            class: found,
            message,
        } = model.ask(model.options(name)).unwrap_err();
        assert_eq!(found, class, "{name}: {message}");
        assert!(message.contains(says), "{name}: {message}");
    }
    let mut slow = model.options("slow");
    slow.job_time_max = Duration::from_millis(300);
    let late = model.ask(slow).unwrap_err();
    assert_eq!(late.class, FailureClass::Retryable);
    assert!(late.message.contains("its time is over"), "{late}");
    let mut nobody = model.options("good");
    nobody.url = Url::parse("http://127.0.0.1:1/v1").unwrap();
    let refused = model.ask(nobody).unwrap_err();
    assert!(refused.message.contains("Connection refused"), "{refused}");
}

#[test]
fn a_worker_that_ends_waits_for_no_model() {
    let mut model = Model::new();
    let engine = OpenAiEngine::new(model.options("slow")).unwrap();
    let began = Instant::now();
    let error = std::thread::scope(|scope| {
        let home = model.home.path().join("a.py");
        let asking = scope.spawn(|| {
            engine.generate(Job {
                uri: Address::parse("ucxl://p/a.py").unwrap(),
                content_digest: Digest::of(CONTENT.as_bytes()),
                subject: Subject::File {
                    source: Source::Path(home),
                },
            })
        });
        let mut line = String::new();
        model.said.read_line(&mut line).unwrap();
        engine.stop();
        asking.join().unwrap().unwrap_err()
    });
    assert_eq!(error.message, "the worker ends");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn the_name_says_all_that_decides_and_nothing_else() {
    let model = Model::new();
    let name = |change: &dyn Fn(&mut OpenAiOptions)| {
        let mut options = model.options("m");
        change(&mut options);
        name(&options)
    };
    let own = name(&|_| {});
    assert!(own.starts_with("m@") && own.len() == 14, "{own}");
    assert_eq!(own, name(&|options| options.key = Some("k".into())));
    assert_eq!(own, name(&|options| options.job_time_max = Duration::ZERO));
    for other in [
        name(&|options| options.prompt.push('!')),
        name(&|options| options.input_tokens_max += 1),
        name(&|options| options.output_tokens_max += 1),
    ] {
        assert_ne!(own, other);
    }
    let mut long = model.options("m");
    long.model = "m".repeat(200);
    assert!(matches!(
        OpenAiEngine::new(long),
        Err(OpenAiError::Name { found: 213 })
    ));
}

#[test]
fn a_source_is_cut_where_its_room_ends() {
    let record = ContextRecord::new(
        Address::parse("ucxl://p/a").unwrap(),
        precentor_core::context::ContextKind::File,
        Digest::ZERO,
        Provenance {
            generator: String::new(),
            version: 1,
        },
    );
    let text = "one two three four\n".repeat(1_000);
    let told = content(&record, Some(&text), 200);
    assert!(told.ends_with("… (cut off)\n"), "{told}");
    assert!(estimate_tokens(told.as_bytes()) < 230, "{told}");
    assert!(content(&record, Some("short\n"), 200).ends_with("Text:\nshort\n"));
}
