use precentor_core::command::Command;
use precentor_core::ids::Sequence;
use precentor_core::principal::Principal;
use precentor_core::request::{Reply, Request};

use super::*;
use crate::client::Courier;

/// What proves that this is who asks.
fn bearer(principal: &str) -> String {
    format!("Bearer {principal}'s token")
}

impl Served {
    fn as_who(&self, who: &str, method: Method, path: &str, body: &Value) -> Heard {
        let (body, who) = (serde_json::to_vec(body).unwrap(), bearer(who));
        self.hear(self.send(method, path, &[("authorization", &who)], body))
    }
}

#[test]
fn who_has_no_token_learns_nothing_but_that_the_node_lives() {
    let served = Served::with_tokens();
    for path in ["/healthz", "/v1/openapi.json"] {
        assert_eq!(served.get(path).status, 200, "{path}");
    }
    let stranger = bearer("eve");
    for headers in [
        vec![],
        vec![("authorization", stranger.as_str())],
        vec![("authorization", "ada's token")],
        vec![("authorization", "Basic ada's token")],
        vec![("authorization", "Bearer")],
    ] {
        for (method, path) in [
            (Method::GET, "/v1/status"),
            (Method::GET, "/metrics"),
            (Method::GET, "/v1/events"),
            (Method::GET, "/v1/context?address=ucxl://p/a"),
            (Method::GET, "/v1/bodies/00"),
            (Method::POST, "/v1/sessions"),
            (Method::POST, "/v1/requests"),
            (Method::POST, "/v1/ask"),
            (Method::PUT, "/v1/leader"),
        ] {
            let heard = served.hear(served.send(method, path, &headers, b"{}".to_vec()));
            assert_eq!(
                (heard.status, heard.code()),
                (401, "unauthenticated"),
                "{path}"
            );
            assert_eq!(heard.header("www-authenticate"), "Bearer");
        }
    }
    let known = served.as_who("ada", Method::GET, "/v1/status", &Value::Null);
    assert_eq!(known.status, 200, "{known:?}");
}

#[test]
fn everybody_may_do_everything_until_somebody_is_granted_something() {
    let served = Served::with_tokens();
    let put = |who: &str, whose: &str, grants: Value| {
        let path = format!("/v1/roles/{whose}");
        served.as_who(who, Method::PUT, &path, &json!({"grants": grants}))
    };
    let ask = |who: &str, name: &str| {
        served.as_who(
            who,
            Method::POST,
            "/v1/requests",
            &batch(&[item(name, b"1")]),
        )
    };
    assert_eq!(ask("bob", "before").status, 200);
    assert_eq!(put("ada", "ada", json!([{"role": "admin"}])).status, 200);
    // By JSON, and in the cluster's own words.
    let denied = ask("bob", "a");
    assert_eq!((denied.status, denied.code()), (403, "denied"));
    let remote = Remote::new(&access(&[&served.url], Some("bob's token"))).unwrap();
    let mut courier = Courier::new(remote.directory(), Principal("ada".into()));
    let session = Request::Propose {
        request: None,
        acknowledged: Sequence(0),
        command: Command::OpenSession,
    };
    let reply = courier.call(session, Duration::from_secs(10)).unwrap();
    assert!(matches!(reply, Reply::Denied(_)), "{reply:?}");

    let within = json!([{"role": "agent", "within": "ucxl://p/src", "class": "normal"}]);
    assert_eq!(put("bob", "bob", within.clone()).code(), "denied");
    assert_eq!(put("ada", "bob", within.clone()).body, json!({"before": 0}));
    assert_eq!(ask("bob", "src/a").status, 200);
    assert_eq!(ask("bob", "a").code(), "denied");
    let shown = served
        .as_who("ada", Method::GET, "/v1/roles", &Value::Null)
        .body;
    assert_eq!(
        shown["rights"][1],
        json!({"principal": "bob", "grants": within})
    );
    let last = put("ada", "ada", json!([]));
    assert_eq!((last.status, last.code()), (409, "last_admin"));
    let both = json!([{"role": "agent", "within": "ucxl://p/", "at": "ucxl://p/"}]);
    assert_eq!(put("ada", "bob", both).code(), "invalid");
}

#[test]
fn a_program_without_a_token_is_told_so_at_once() {
    let served = Served::with_tokens();
    let remote = Remote::new(&access(&[&served.url], None)).unwrap();
    let mut courier = Courier::new(remote.directory(), Principal("ada".into()));
    match courier.call(Request::Status, Duration::from_secs(10)) {
        Some(Reply::Invalid { message }) => assert!(message.contains("Bearer TOKEN"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_that_is_taken_out_of_the_file_is_of_no_use_any_more() {
    let served = Served::with_tokens();
    let status = |who: &str| {
        served
            .as_who(who, Method::GET, "/v1/status", &Value::Null)
            .status
    };
    assert_eq!((status("ada"), status("bob")), (200, 200));
    let path = served.data.path().join("n1.toml");
    let text = fs::read_to_string(&path).unwrap();
    let bobs = text.rfind("[[http.tokens]]").unwrap();
    let without = |until: usize| {
        let beside = path.with_extension("new");
        fs::write(&beside, &text[..until]).unwrap();
        fs::rename(beside, &path).unwrap();
    };
    without(bobs);
    let give_up = Instant::now() + Duration::from_secs(30);
    while status("bob") != 401 {
        assert!(Instant::now() < give_up, "bob is still let in");
    }
    assert_eq!(status("ada"), 200);
    // Without any token nobody is let in: they are not all called local of a sudden.
    without(text.find("[[http.tokens]]").unwrap());
    while status("ada") != 401 {
        assert!(Instant::now() < give_up, "ada is still let in");
    }
}
