use std::collections::BTreeSet;

use super::*;
use crate::http::description;

#[test]
fn what_is_asked_for_is_made_and_read_and_not_sent_again_to_who_knows_it() {
    let code = b"//! Adds things up.\nfn add() {}\n";
    let source = sources(&[("add.rs", code)]);
    let mut served = Served::alone();
    let worker = served.worker(source.path());
    let answer = served.post("/v1/requests?wait=true", &batch(&[item("add.rs", code)]));
    assert_eq!(answer.status, 200, "{answer:?}");
    let accepted = &answer.body["items"][0];
    assert_eq!(accepted["how"], "created");
    assert_eq!(accepted["end"]["state"], "done", "{answer:?}");

    let path = "/v1/context?address=ucxl://p/add.rs";
    let context = served.get(path);
    assert_eq!(context.status, 200, "{context:?}");
    assert_eq!(context.body["record"]["summary"], "Adds things up.");
    assert_eq!(context.body["result"], accepted["end"]["result"]);
    assert_eq!(context.header("precentor-node"), "1");
    let tag = context.header("etag").to_owned();
    let known = |headers: &[(&str, &str)], path: &str| {
        served
            .hear(served.send(Method::GET, path, headers, Vec::new()))
            .status
    };
    assert_eq!(known(&[("if-none-match", &tag)], path), 304);
    assert_eq!(known(&[("if-none-match", "\"other\", W/\"x\"")], path), 200);
    let line = format!("{path}&level=0");
    assert_eq!(
        known(&[("if-none-match", &tag)], &line),
        200,
        "a level has its own tag"
    );

    // The same again is answered from the cache; invalid, it is made again.
    let again = batch(&[item("add.rs", code)]);
    assert_eq!(
        served.post("/v1/requests", &again).body["items"][0]["how"],
        "from_cache"
    );
    let reach = json!({"within": "ucxl://p/"});
    assert_eq!(served.post("/v1/invalidations", &reach).status, 204);
    assert_eq!(served.get(path).body["invalid"], true);
    let anew = served.post("/v1/requests?wait=true", &again);
    assert_eq!(anew.body["items"][0]["how"], "created");
    assert_eq!(served.get(path).body["invalid"], false);
    drop(worker);
    served.stop();
}

#[test]
fn a_batch_that_is_sent_again_under_its_key_is_accepted_once() {
    let served = Served::alone();
    let session = served.post("/v1/sessions", &Value::Null).body["session"].clone();
    let key = format!("{session}.1");
    let key = [("idempotency-key", key.as_str())];
    let once = served.post_with("/v1/requests", &key, &batch(&[item("a", b"1")]));
    let twice = served.post_with("/v1/requests", &key, &batch(&[item("a", b"1")]));
    assert_eq!(
        (once.status, &once.body["items"]),
        (200, &twice.body["items"])
    );
    assert_eq!(twice.body["items"][0]["how"], "created", "the same answer");
    let other = served.post_with("/v1/requests", &key, &batch(&[item("b", b"1")]));
    assert_eq!((other.status, other.code()), (409, "idempotency_mismatch"));
    let stranger = [("idempotency-key", "999999.1")];
    let stranger = served.post_with("/v1/requests", &stranger, &batch(&[item("b", b"1")]));
    assert_eq!((stranger.status, stranger.code()), (404, "unknown_session"));
    let page = served.get("/v1/jobs?within=ucxl://p/");
    assert_eq!(page.body["jobs"].as_array().unwrap().len(), 1, "{page:?}");
}

#[test]
fn a_job_can_be_looked_into_made_urgent_and_ended() {
    let served = Served::alone();
    let answer = served.post("/v1/requests", &batch(&[item("a", b"1"), item("b", b"1")]));
    let job = answer.body["items"][0]["job"].as_u64().unwrap();
    let path = format!("/v1/jobs/{job}");
    let shown = served.get(&path).body;
    assert_eq!(
        (&shown["state"], &shown["class"]),
        (&json!("ready"), &json!("normal"))
    );
    let why = served.get(&format!("{path}/explanation")).body;
    let why = why["holds"][0].as_str().unwrap();
    assert!(
        why.starts_with("no registered worker offers its engine"),
        "{why}"
    );
    let urgent = serde_json::to_vec(&json!({"class": "urgent"})).unwrap();
    let urgent = served.hear(served.send(Method::PUT, &format!("{path}/class"), &[], urgent));
    assert_eq!(
        (urgent.status, &urgent.body["class"]),
        (200, &json!("urgent"))
    );
    assert_eq!(served.get(&path).body["class"], "urgent");

    let first = served.get("/v1/jobs?within=ucxl://p/&limit=1").body;
    assert_eq!(first["jobs"][0]["address"], "ucxl://p/a");
    let next = first["next"].as_str().unwrap();
    let second = served
        .get(&format!("/v1/jobs?within=ucxl://p/&after={next}"))
        .body;
    assert_eq!(second["jobs"][0]["address"], "ucxl://p/b");
    assert_eq!(second["next"], Value::Null);

    let cancel = format!("{path}/cancel");
    assert_eq!(served.post(&cancel, &Value::Null).body["ended"], true);
    assert_eq!(served.post(&cancel, &Value::Null).body["ended"], false);
    assert_eq!(served.get(&path).body["state"], "cancelled");
}

#[test]
fn what_is_given_up_is_listed_with_its_attempts_and_done_again() {
    let source = sources(&[]);
    let served = Served::alone();
    let worker = served.worker(source.path());
    // Nothing is there to read.
    let answer = served.post("/v1/requests?wait=true", &batch(&[item("gone", b"1")]));
    assert_eq!(
        answer.body["items"][0]["end"]["state"], "dead",
        "{answer:?}"
    );
    let job = answer.body["items"][0]["job"].as_u64().unwrap();
    let letters = served.get("/v1/dead-letters").body;
    assert_eq!(letters["letters"][0]["job"]["job"], job);
    assert_eq!(letters["letters"][0]["asked_by"], "local");
    let letter = served.get(&format!("/v1/dead-letters/{job}")).body;
    assert_eq!(letter["attempts"][0]["ended"], "permanent");
    drop(worker);
    let redriven = served.post(&format!("/v1/dead-letters/{job}/redrive"), &Value::Null);
    assert_eq!(
        (redriven.status, &redriven.body["redriven"]),
        (200, &json!(true))
    );
    let again = redriven.body["job"].as_u64().unwrap();
    assert_eq!(
        served.get(&format!("/v1/jobs/{again}")).body["state"],
        "ready"
    );
    let before = served.post(&format!("/v1/dead-letters/{job}/redrive"), &Value::Null);
    assert_eq!(
        (&before.body["job"], &before.body["redriven"]),
        (&json!(again), &json!(false))
    );
    let delete = |job: u64| {
        let path = format!("/v1/dead-letters/{job}");
        served.hear(served.send(Method::DELETE, &path, &[], Vec::new()))
    };
    assert_eq!(delete(job).status, 204);
    assert_eq!(
        (delete(job).status, delete(again).code()),
        (404, "not_found")
    );
}

#[test]
fn the_feed_tells_each_end_once_and_goes_on_where_it_was() {
    let mut served = Served::alone();
    let items = ["a", "b", "c"].map(|name| item(name, b"1"));
    let answer = served.post("/v1/requests", &batch(&items));
    let jobs = [0, 1, 2].map(|number| answer.body["items"][number]["job"].as_u64().unwrap());
    let cancel = |job: u64| served.post(&format!("/v1/jobs/{job}/cancel"), &Value::Null);
    cancel(jobs[1]);
    cancel(jobs[0]);
    let mut stream = served.send(Method::GET, "/v1/events", &[], Vec::new());
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let told = events(&served, &mut stream, 2);
    assert_eq!(told[0]["job"], jobs[1]);
    assert_eq!(
        (&told[1]["job"], &told[1]["number"]),
        (&json!(jobs[0]), &json!(2))
    );
    // One that ends while somebody listens; and somebody else who knows the first one.
    cancel(jobs[2]);
    assert_eq!(events(&served, &mut stream, 1)[0]["job"], jobs[2]);
    let mut other = served.send(
        Method::GET,
        "/v1/events",
        &[("last-event-id", "1")],
        Vec::new(),
    );
    let told = events(&served, &mut other, 2);
    assert_eq!(
        (&told[0]["number"], &told[1]["number"]),
        (&json!(2), &json!(3))
    );
    // Whoever listens does not keep the node from ending.
    served.stop();
}

/// The next events of a stream.
fn events(served: &Served, stream: &mut Response, count: usize) -> Vec<Value> {
    let mut text = String::new();
    let mut told = Vec::new();
    while told.len() < count {
        let chunk = served
            .runtime
            .block_on(stream.chunk())
            .unwrap()
            .expect("there is more");
        text += std::str::from_utf8(&chunk).unwrap();
        while let Some((event, rest)) = text.split_once("\n\n") {
            let lines: Vec<&str> = event.lines().collect();
            if let Some(data) = lines.iter().find_map(|line| line.strip_prefix("data: ")) {
                assert!(lines.contains(&"event: finished"), "{event}");
                let data: Value = serde_json::from_str(data).unwrap();
                assert!(
                    lines.contains(&format!("id: {}", data["number"]).as_str()),
                    "{event}"
                );
                told.push(data);
            }
            text = rest.to_owned();
        }
    }
    assert_eq!(told.len(), count);
    told
}

#[test]
fn without_a_leader_a_node_says_so_and_reads_what_it_has() {
    let served = Served::without_majority();
    assert_eq!(served.get("/healthz").status, 200);
    assert_eq!(
        (served.get("/readyz").status, served.get("/readyz").code()),
        (503, "no_leader")
    );
    let soon = ("precentor-wait-ms", "300");
    let context = "/v1/context?address=ucxl://p/a";
    let read = served.hear(served.send(Method::GET, context, &[soon], Vec::new()));
    assert_eq!(read.status, 503, "{read:?}");
    assert_eq!(read.body["code"], "no_leader");
    assert_eq!(read.header("retry-after"), "1");
    let stale = served.get(&format!("{context}&consistency=stale"));
    assert_eq!((stale.status, stale.code()), (404, "not_found"));
    // It may have reached somebody who will propose it: nobody can know.
    let asked = served.post_with("/v1/requests", &[soon], &batch(&[item("a", b"1")]));
    assert_eq!(
        (asked.status, &asked.body["code"]),
        (503, &json!("no_leader"))
    );

    let nameless = served.post("/v1/requests?accept=local", &batch(&[item("a", b"1")]));
    assert_eq!((nameless.status, nameless.code()), (400, "invalid"));
}

#[test]
fn a_context_that_is_being_made_is_waited_for_and_many_are_read_at_once() {
    let code = b"//! Adds things up.\n";
    let source = sources(&[("a.rs", code), ("b.rs", code)]);
    let served = Served::alone();
    let asked = served.post(
        "/v1/requests",
        &batch(&[item("a.rs", code), item("b.rs", code)]),
    );
    assert_eq!(asked.status, 200);
    let path = "/v1/context?address=ucxl://p/a.rs&wait=true";
    let soon = [("precentor-wait-ms", "200")];
    let early = served.hear(served.send(Method::GET, path, &soon, Vec::new()));
    assert_eq!(
        (early.status, early.code()),
        (404, "not_found"),
        "nobody makes it yet"
    );
    let worker = served.worker(source.path());
    let context = served.get(path);
    assert_eq!(
        (context.status, &context.body["level"]),
        (200, &Value::Null)
    );
    assert_eq!(
        served
            .get("/v1/context?address=ucxl://p/b.rs&wait=true")
            .status,
        200
    );
    let addresses = ["ucxl://p/b.rs", "ucxl://p/none", "ucxl://p/a.rs"];
    let many = served.post("/v1/contexts", &json!({"addresses": addresses, "level": 0}));
    assert_eq!(many.status, 200, "{many:?}");
    let found = many.body["contexts"].as_array().unwrap();
    let found: Vec<&Value> = found.iter().map(|context| &context["address"]).collect();
    assert_eq!(found, ["ucxl://p/b.rs", "ucxl://p/a.rs"]);
    assert_eq!(many.body["missing"], json!(["ucxl://p/none"]));
    let none = served.post("/v1/contexts", &json!({"addresses": []}));
    assert_eq!((none.status, none.code()), (400, "invalid"));
    drop(worker);
}

#[test]
fn a_server_that_is_silent_is_asked_for_one_body_only() {
    let code = b"//! Adds things up.\n";
    let source = sources(&[("a.rs", code)]);
    let served = Served::alone();
    let worker = served.worker(source.path());
    let answer = served.post("/v1/requests?wait=true", &batch(&[item("a.rs", code)]));
    let digest = answer.body["items"][0]["end"]["result"].as_str().unwrap();
    let digest: Digest = digest.parse().unwrap();
    // It takes connections, as a process that was stopped does, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let remote = Remote::new(&access(&[&url, &served.url], None)).unwrap();
    let bodies = remote.bodies();
    for _ in 0..3 {
        assert!(bodies.get(&digest).is_some());
    }
    silent.set_nonblocking(true).unwrap();
    assert!(silent.accept().is_ok(), "it was asked first");
    assert!(silent.accept().is_err(), "and once");
    drop(worker);
}

#[test]
fn what_people_say_is_shown_beside_what_is_made_and_kept_in_the_history() {
    let served = Served::alone();
    let address = "ucxl://p/a.rs";
    let shown = format!("/v1/annotations?address={address}");
    assert_eq!(served.get(&shown).code(), "not_found");
    let edit = |revision: u64, change: Value| {
        let edit = json!({
            "address": address, "revision": revision, "author": "person", "changes": [change],
        });
        served.post("/v1/annotations", &edit)
    };
    let note = json!({"do": "put_note", "name": "lock", "text": "Held for milliseconds only."});
    let first = edit(0, note.clone());
    assert_eq!(first.status, 200, "{first:?}");
    let revision = first.body["revision"].as_u64().unwrap();
    assert_eq!(
        edit(revision, json!({"do": "add_tag", "tag": "hot"})).status,
        200
    );
    let late = edit(revision, json!({"do": "add_tag", "tag": "cold"}));
    assert_eq!((late.status, late.code()), (409, "revision_moved"));
    let said = served.get(&shown).body;
    assert_eq!(said["notes"][0]["text"], "Held for milliseconds only.");
    assert_eq!(
        (&said["notes"][0]["author"], &said["tags"]),
        (&json!("person"), &json!(["hot"]))
    );
    let history = served.get(&format!("/v1/history?address={address}")).body;
    assert_eq!(history["edits"].as_array().unwrap().len(), 2, "{history}");
    assert_eq!(history["edits"][0]["changes"][0], note);
    assert_eq!(served.get("/v1/conflicts").body["conflicts"], json!([]));
    assert_eq!(served.get("/v1/conflicts?after=x").code(), "invalid");
    let wrong = edit(
        0,
        json!({"do": "put_note", "name": "n", "text": "t", "who": "me"}),
    );
    assert_eq!((wrong.status, wrong.code()), (400, "invalid"));
}

#[test]
fn an_operator_holds_work_back_bounds_it_and_says_who_leads() {
    let served = Served::alone();
    let job =
        served.post("/v1/requests", &batch(&[item("a", b"1")])).body["items"][0]["job"].clone();
    let scope = json!({"of": "engine", "name": "outline"});
    let pause = json!({"scope": scope, "reason": "it costs too much"});
    assert_eq!(served.post("/v1/pauses", &pause).status, 204);
    let pauses = served.get("/v1/pauses").body;
    assert_eq!(pauses["pauses"][0]["scope"], scope);
    assert_eq!(pauses["pauses"][0]["by"], "local");
    let why = served.get(&format!("/v1/jobs/{job}/explanation")).body;
    assert!(why.to_string().contains("it costs too much"), "{why}");
    assert_eq!(served.post("/v1/resumptions", &scope).status, 204);
    assert_eq!(served.get("/v1/pauses").body["pauses"], json!([]));
    let nameless = json!({"scope": {"of": "tenant", "name": ""}});
    assert_eq!(served.post("/v1/pauses", &nameless).code(), "no_name");

    let put = |path: &str, body: &Value| {
        let body = serde_json::to_vec(body).unwrap();
        served.hear(served.send(Method::PUT, path, &[], body))
    };
    let limits = json!({"queued_max": 1, "rate": {"per_minute": 60, "burst": 5}});
    assert_eq!(put("/v1/limits/tenant/default", &limits).body, json!({}));
    let shown = &served.get("/v1/limits").body["accounts"][0];
    assert_eq!(
        (&shown["name"], &shown["limits"]),
        (&json!("default"), &limits)
    );
    let full = served.post("/v1/requests", &batch(&[item("b", b"1")]));
    assert_eq!((full.status, full.code()), (429, "tenant_full"));
    assert!(full.headers.contains_key("retry-after"));
    assert_eq!(
        put("/v1/limits/tenant/default", &json!({})).body,
        limits,
        "what was before"
    );
    assert_eq!(put("/v1/limits/planet/earth", &json!({})).code(), "invalid");
    let wrong = put("/v1/limits/engine/outline", &json!({"weight": 3}));
    assert_eq!((wrong.status, wrong.code()), (422, "only_for_tenants"));

    assert_eq!(
        put("/v1/cache/budget", &json!({"bytes_max": 1_000})).body,
        json!({})
    );
    assert_eq!(served.get("/v1/cache").body["bytes_max"], 1_000);
    let nobody = served.hear(served.send(Method::DELETE, "/v1/workers/9", &[], Vec::new()));
    assert_eq!((nobody.status, nobody.code()), (404, "not_found"));
    let leads = put("/v1/leader", &json!({"node": 1}));
    assert_eq!((leads.status, leads.code()), (409, "hand_over_failed"));
    assert!(
        leads.body["detail"]
            .as_str()
            .unwrap()
            .contains("n1 leads already")
    );
}

#[test]
fn measures_are_in_the_words_of_prometheus() {
    let served = Served::alone();
    assert_eq!(
        served
            .post("/v1/requests", &batch(&[item("a", b"1")]))
            .status,
        200
    );
    served.get("/v1/jobs/7");
    let text = served.get("/metrics").body;
    let text = text.as_str().unwrap();
    for line in [
        r#"precentor_http_requests_total{method="POST",path="/v1/requests",status="200"} 1"#,
        r#"precentor_http_requests_total{method="GET",path="/v1/jobs/{job}",status="404"} 1"#,
        "precentor_has_leader 1",
        "# EOF",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
}

#[test]
fn the_description_is_the_committed_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, description()).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap();
    assert_eq!(
        committed,
        description(),
        "BLESS=1 rewrites it: it is a promise to clients"
    );
    let served = Served::alone();
    let described: Value = serde_json::from_str(&committed).unwrap();
    assert_eq!(served.get("/v1/openapi.json").body, described);
    assert!(described["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = described["paths"].as_object().unwrap();
    let operations = paths
        .values()
        .flat_map(|path| path.as_object().unwrap().values());
    let ids: Vec<&str> = operations
        .map(|of| of["operationId"].as_str().unwrap())
        .collect();
    let distinct: BTreeSet<&&str> = ids.iter().collect();
    assert_eq!(
        distinct.len(),
        ids.len(),
        "programs are made of their names: {ids:?}"
    );
}

#[test]
fn a_node_without_room_on_its_disk_accepts_nothing_new_and_goes_on_with_the_rest() {
    let served = Served::alone();
    let before = served.post("/v1/requests", &batch(&[item("a", b"1")]));
    assert_eq!(before.status, 200);
    let path = served.data.path().join("n1.toml");
    let text = fs::read_to_string(&path).unwrap();
    let hold_back = |mib: u64| {
        let beside = path.with_extension("new");
        let with = format!("disk_reserve_mib = {mib}\n{text}");
        fs::write(&beside, with).unwrap();
        fs::rename(beside, &path).unwrap();
    };
    // As if others had filled the disk.
    hold_back(1 << 40);
    let give_up = Instant::now() + Duration::from_secs(30);
    let ask = |name: &str| {
        let headers = [("precentor-wait-ms", "300")];
        served.post_with("/v1/requests", &headers, &batch(&[item(name, b"1")]))
    };
    let mut number = 0;
    let refused = loop {
        number += 1;
        let heard = ask(&format!("f{number}"));
        if heard.status != 200 {
            break heard;
        }
        assert!(Instant::now() < give_up, "everything is accepted");
    };
    assert_eq!((refused.status, refused.code()), (507, "disk_full"));
    assert!(refused.headers.contains_key("retry-after"));
    let metrics = served.get("/metrics").body.as_str().unwrap().to_owned();
    assert!(metrics.contains("precentor_disk_low 1\n"), "{metrics}");
    // What was accepted can be ended, and looked at.
    let job = before.body["items"][0]["job"].as_u64().unwrap();
    let ended = served.post(&format!("/v1/jobs/{job}/cancel"), &Value::Null);
    assert_eq!(ended.status, 200, "{ended:?}");
    assert_eq!(
        served.get(&format!("/v1/jobs/{job}")).body["state"],
        "cancelled"
    );
    // There is room again.
    hold_back(0);
    while ask("b").status != 200 {
        assert!(Instant::now() < give_up, "nothing is accepted");
    }
}
