//! What contexts are made of, kept for workers that have no tree.

use super::*;

const CODE: &[u8] = b"//! Adds things up.\nfn add() {}\n";

impl Served {
    fn put(&self, path: &str, body: &[u8]) -> Heard {
        self.hear(self.send(Method::PUT, path, &[], body.to_vec()))
    }

    fn keep(&self, text: &[u8]) -> Heard {
        self.put(&format!("/v1/sources/{}", Digest::of(text)), text)
    }
}

#[test]
fn a_worker_without_a_tree_makes_what_was_uploaded() {
    let mut served = Served::alone();
    let worker = served.worker_with([]);
    assert_eq!(served.keep(CODE).body["fresh"], true);
    assert_eq!(served.keep(CODE).body["fresh"], false);
    let lacking = served.post(
        "/v1/sources/lacking",
        &json!({"digests": [Digest::of(b"other").to_string(), Digest::of(CODE).to_string()]}),
    );
    assert_eq!(
        lacking.body["digests"],
        json!([Digest::of(b"other").to_string()])
    );
    let answer = served.post("/v1/requests?wait=true", &batch(&[item("add.rs", CODE)]));
    assert_eq!(
        answer.body["items"][0]["end"]["state"], "done",
        "{answer:?}"
    );
    let context = served.get("/v1/context?address=ucxl://p/add.rs");
    assert_eq!(context.body["record"]["summary"], "Adds things up.");
    let all = served.get("/v1/sources").body;
    assert_eq!((&all["count"], &all["kept"]), (&json!(1), &json!(true)));
    assert_eq!(all["bytes_held"], 0, "nothing waits for it any more");
    drop(worker);
    served.stop();
}

#[test]
fn a_tree_that_has_gone_on_gives_way_to_what_was_asked_for() {
    let served = Served::alone();
    let tree = sources(&[("add.rs", b"fn something_else() {}\n")]);
    let _worker = served.worker(tree.path());
    served.keep(CODE);
    let answer = served.post("/v1/requests?wait=true", &batch(&[item("add.rs", CODE)]));
    assert_eq!(
        answer.body["items"][0]["end"]["state"], "done",
        "{answer:?}"
    );
}

#[test]
fn whoever_asks_for_what_is_nowhere_is_told_what_to_do() {
    let served = Served::alone();
    let _worker = served.worker_with([]);
    let answer = served.post("/v1/requests", &batch(&[item("add.rs", CODE)]));
    let job = &answer.body["items"][0]["job"];
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        let told = served.get(&format!("/v1/jobs/{job}")).body["last_error"].to_string();
        if told.contains("precentor submit") && told.contains("--source p=DIR") {
            break;
        }
        assert!(Instant::now() < give_up, "{told}");
    }
}

#[test]
fn what_is_no_text_of_its_digest_is_not_kept() {
    let served = Served::alone();
    let wrong = served.put(&format!("/v1/sources/{}", Digest::of(b"x")), b"y");
    assert_eq!((wrong.status, wrong.code()), (400, "invalid"));
    assert_eq!(served.put("/v1/sources/abc", b"y").code(), "invalid");
    let long = vec![b'a'; 2 * 1024 * 1024 + 1];
    assert_eq!(served.keep(&long).code(), "invalid");
    assert_eq!(served.keep(&long[1..]).status, 200);
    let many = json!({"digests": vec!["ab".repeat(32); 4_097]});
    assert_eq!(served.post("/v1/sources/lacking", &many).code(), "invalid");
}

#[test]
fn what_there_is_no_room_for_is_refused_until_there_is() {
    let served = Served::alone();
    let room = |bytes: u64| {
        served.put(
            "/v1/sources/budget",
            json!({"bytes_max": bytes}).to_string().as_bytes(),
        )
    };
    assert_eq!(room(5_000).body["bytes_max"], 4_u64 << 30);
    served.keep(CODE);
    served.post("/v1/requests", &batch(&[item("add.rs", CODE)]));
    let full = served.keep(b"another");
    assert_eq!((full.status, full.code()), (429, "sources_full"));
    assert_eq!(full.header("retry-after"), "1");
    assert_eq!(room(10_000).body["bytes_max"], 5_000);
    assert_eq!(served.keep(b"another").status, 200);
}
