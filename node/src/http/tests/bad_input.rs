use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;

/// A batch of one item in which something is otherwise.
fn with(field: &str, value: Value) -> Value {
    let mut item = item("a", b"1");
    item[field] = value;
    batch(&[item])
}

#[test]
fn what_is_wrong_is_told_by_name_and_costs_nobody_anything() {
    let served = Served::alone();
    let many: Vec<Value> = (0..1_001).map(|n| item(&n.to_string(), b"1")).collect();
    let needs = |address: &str| json!([{"address": address, "policy": "require"}]);
    let cycle = {
        let (mut a, mut b) = (item("a", b"1"), item("b", b"1"));
        a["dependencies"] = needs("ucxl://p/b");
        b["dependencies"] = needs("ucxl://p/a");
        batch(&[a, b])
    };
    let wrong = [
        (
            with("adress", json!("x")),
            400,
            "invalid",
            "unknown field `adress`",
        ),
        (
            with("address", json!("http://p/a")),
            400,
            "invalid",
            "items[0]: address",
        ),
        (
            with("subject", json!("abc")),
            400,
            "invalid",
            "items[0]: subject",
        ),
        (
            with("class", json!("soon")),
            400,
            "invalid",
            "unknown variant `soon`",
        ),
        (with("kind", Value::Null), 400, "invalid", "line 1 column"),
        (
            with("tenant", json!("t".repeat(200))),
            422,
            "too_long",
            "200 bytes; the limit is 128",
        ),
        (
            with("delay_ms", json!(u64::MAX)),
            422,
            "out_of_range",
            "must be 0 to",
        ),
        (
            with("dependencies", needs("ucxl://p/x")),
            422,
            "unknown_dependency",
            "submit it too",
        ),
        (
            with("dependencies", needs("ucxl://p/a")),
            422,
            "cycle",
            "ucxl://p/a -> ucxl://p/a",
        ),
        (cycle, 422, "cycle", "-> ucxl://p/"),
        (batch(&[]), 422, "item_count", "1 to 1000 items"),
        (batch(&many), 422, "item_count", "this one has 1001"),
        (json!({}), 400, "invalid", "missing field `items`"),
        (json!([1]), 400, "invalid", "the body is not as it must be"),
    ];
    for (body, status, code, says) in wrong {
        let heard = served.post("/v1/requests", &body);
        assert_eq!((heard.status, heard.code()), (status, code), "{heard:?}");
        let detail = heard.body["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{detail}");
    }
    let page = served.get("/v1/jobs?within=ucxl://p/");
    assert_eq!(page.body["jobs"], json!([]), "nothing was accepted");
    assert_eq!(
        served
            .post("/v1/requests", &batch(&[item("a", b"1")]))
            .status,
        200
    );
}

#[test]
fn paths_parameters_and_headers_are_checked() {
    let served = Served::alone();
    for (path, status, code, says) in [
        ("/v1/jobs", 400, "invalid", "missing field `within`"),
        ("/v1/jobs?within=x", 400, "invalid", "ucxl://"),
        (
            "/v1/jobs?within=ucxl://p/&limit=0",
            400,
            "invalid",
            "it must be 1 to 256",
        ),
        (
            "/v1/jobs?within=ucxl://p/&limt=1",
            400,
            "invalid",
            "unknown field `limt`",
        ),
        ("/v1/jobs/abc", 400, "invalid", "it must be a number"),
        ("/v1/jobs/99", 404, "not_found", "j99 is not known"),
        (
            "/v1/jobs/99/explanation",
            404,
            "not_found",
            "j99 is not known",
        ),
        ("/v1/dead-letters/99", 404, "not_found", "no dead letter"),
        (
            "/v1/context?address=ucxl://p/a&level=3",
            400,
            "invalid",
            "it must be 0, 1 or 2",
        ),
        (
            "/v1/context?address=ucxl://p/a",
            404,
            "not_found",
            "ask for it",
        ),
        (
            "/v1/events?after=x",
            400,
            "invalid",
            "the parameters are wrong",
        ),
        ("/v1/bodies/abc", 400, "invalid", "64"),
        ("/nothing", 404, "no_such_path", "/v1/openapi.json"),
        ("/v1/requests", 405, "no_such_method", "does not take GET"),
    ] {
        let heard = served.get(path);
        assert_eq!(
            (heard.status, heard.code()),
            (status, code),
            "{path}: {heard:?}"
        );
        let detail = heard.body["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{path}: {detail}");
    }
    for (name, value) in [
        ("precentor-wait-ms", "0"),
        ("precentor-wait-ms", "soon"),
        ("idempotency-key", "abc"),
        ("idempotency-key", "1.0"),
    ] {
        let heard = served.post_with("/v1/requests", &[(name, value)], &batch(&[item("a", b"1")]));
        assert_eq!(
            (heard.status, heard.code()),
            (400, "invalid"),
            "{name}: {value}"
        );
    }
    let garbage = served.send(Method::POST, "/v1/ask", &[], b"garbage".to_vec());
    assert_eq!(served.hear(garbage).code(), "invalid");
}

#[test]
fn what_a_browser_sends_for_a_strangers_page_is_refused() {
    let served = Served::alone();
    let own = served.url.clone();
    let port = own.rsplit_once(':').unwrap().1.to_owned();
    for (headers, status) in [
        (vec![("origin", "http://evil.example")], 403),
        (vec![("origin", "null")], 403),
        (vec![("host", "evil.example")], 403),
        (vec![("host", "127.0.0.1.evil.example")], 403),
        (vec![("origin", own.as_str())], 200),
        (vec![("host", &*format!("localhost:{port}"))], 200),
        (vec![("host", &*format!("[::1]:{port}"))], 200),
        (vec![], 200),
    ] {
        let response = served.send(Method::POST, "/v1/sessions", &headers, Vec::new());
        let heard = served.hear(response);
        assert_eq!(heard.status, status, "{headers:?}");
        if status == 403 {
            assert_eq!(heard.code(), "cross_origin");
        }
    }
}

#[test]
fn a_body_beyond_its_bound_is_not_read() {
    let served = Served::alone();
    // It says how much will come, and waits to hear whether that is welcome.
    let mut stream = TcpStream::connect(served.url.strip_prefix("http://").unwrap()).unwrap();
    let head = "POST /v1/requests HTTP/1.1\r\nhost: localhost\r\ncontent-length: 16777217\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    // It does not say, and goes on for ever.
    let mut stream = TcpStream::connect(served.url.strip_prefix("http://").unwrap()).unwrap();
    let head =
        "POST /v1/requests HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = [b"100000\r\n".as_slice(), &[b' '; 0x10_0000], b"\r\n"].concat();
    // At the latest when the other end hangs up.
    while stream.write_all(&chunk).is_ok() {}
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
        "{answer}"
    );
    assert_eq!(served.get("/healthz").status, 200);
}

#[test]
fn a_request_in_the_clusters_own_words_is_asked_as_who_sent_it_whatever_it_says() {
    use precentor_core::command::Command;
    use precentor_core::ids::Sequence;
    use precentor_core::principal::Principal;
    use precentor_core::request::{Reply, Request};
    use precentor_core::wire::relay::{Asked, Told};

    let served = Served::alone();
    let forged = Asked {
        tag: 3,
        principal: Principal::cluster(),
        request: Request::Propose {
            request: None,
            acknowledged: Sequence(0),
            command: Command::Tick,
        },
    };
    let response = served.send(Method::POST, "/v1/ask", &[], forged.encode());
    let bytes = served.runtime.block_on(response.bytes()).unwrap();
    let told = Told::decode(&bytes).unwrap();
    assert_eq!(told.tag, 3);
    assert!(matches!(told.reply, Reply::Invalid { .. }), "{told:?}");
}
