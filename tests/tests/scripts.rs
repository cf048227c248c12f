//! Every golden script, run over the real core. `BLESS=1` rewrites what they
//! expect: read the difference before committing it.

use std::fs;

use precentor_tests::project_root;
use precentor_tests::script::{Script, find};

#[test]
fn every_script_runs_as_it_says() {
    let bless = std::env::var_os("BLESS").is_some_and(|bless| bless == "1");
    let root = project_root().join("tests/scripts");
    let scripts = find(&root).expect("the scripts can be listed");
    assert!(
        bless || scripts.len() >= 30,
        "only {} scripts were found",
        scripts.len()
    );
    let mut failures = Vec::new();
    for path in scripts {
        let name = path.strip_prefix(&root).expect("below it").display();
        let text = fs::read_to_string(&path).expect("a script is readable text");
        let outcome = Script::parse(&text).and_then(|script| {
            for word in ["Rule", "Source"] {
                if script.header(word).is_none_or(str::is_empty) {
                    anyhow::bail!("the header has no line `# {word}: …`");
                }
            }
            script.run()
        });
        match outcome {
            Err(error) => failures.push(format!("{name}: {error:#}")),
            Ok(outcome) if bless => {
                if outcome.text != text {
                    fs::write(&path, outcome.text).expect("a script can be rewritten");
                }
            }
            Ok(outcome) => {
                let untidy =
                    || (outcome.text != text).then(|| "only its spacing differs".to_owned());
                let difference = outcome.difference.or_else(untidy);
                failures.extend(difference.map(|difference| format!("{name}: {difference}")));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} scripts differ; if the new traces are right, rewrite them with\n    \
         BLESS=1 cargo test -p precentor-tests --test scripts\n\n{}",
        failures.len(),
        failures.join("\n")
    );
}
