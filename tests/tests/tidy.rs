//! The house rules that no compiler checks. Every failure names the fix.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use precentor_core::config::KNOBS;
use precentor_core::marks::Mark;
use precentor_tests::project_root;
use precentor_tests::sources::{Source, sources};

const FOLDERS: &[&str] = &[
    "core/src",
    "node/src",
    "sim/src",
    "sim/tests",
    "tests/src",
    "tests/tests",
];

/// Lines of a file.
const LINES_MAX: usize = 600;
/// Files that were longer when this was written. A number here only falls; a
/// file that fits is taken out.
const LINES_ALLOWED: &[(&str, usize)] = &[];

/// Words that the core must not know, and why.
const FORBIDDEN_IN_CORE: &[(&str, &str)] = &[
    ("std::time", "time is what the host passes in"),
    ("Instant", "time is what the host passes in"),
    ("SystemTime", "time is what the host passes in"),
    ("HashMap", "its order differs from run to run: use BTreeMap"),
    ("HashSet", "its order differs from run to run: use BTreeSet"),
    ("f32", "floats round differently: use integers"),
    ("f64", "floats round differently: use integers"),
    ("std::thread", "the core is one call after the other"),
    ("std::fs", "files are the host's"),
    ("std::env", "configuration is passed in"),
    ("std::net", "sockets are the host's"),
    ("tokio", "the core waits for nothing"),
    ("println!", "the core says nothing but actions"),
    ("eprintln!", "the core says nothing but actions"),
    (".unwrap()", "say why it cannot fail: expect(\"…\")"),
    ("static mut", "state is in values"),
    ("thread_local!", "state is in values"),
];

fn all() -> Vec<Source> {
    let mut all = Vec::new();
    for folder in FOLDERS {
        all.extend(sources(folder).expect("the sources can be read"));
    }
    all
}

fn none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Is `word` in `line`, and no part of a longer name?
fn has_word(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let starts = !word.starts_with(is_name) || !before.is_some_and(is_name);
        let ends = !word.ends_with(is_name) || !after.is_some_and(is_name);
        starts && ends
    })
}

#[test]
fn no_file_is_too_long() {
    let mut wrong = Vec::new();
    for source in all() {
        let lines = source.text.lines().count();
        let allowed = LINES_ALLOWED.iter().find(|(path, _)| *path == source.path);
        match allowed {
            None if lines > LINES_MAX => wrong.push(format!(
                "{} has {lines} lines; the limit is {LINES_MAX}: which owner of state wants to \
                 move out?",
                source.path
            )),
            Some((_, most)) if lines > *most => wrong.push(format!(
                "{} has {lines} lines and may only shrink from {most}",
                source.path
            )),
            Some(_) if lines <= LINES_MAX => wrong.push(format!(
                "{} has {lines} lines: take it out of LINES_ALLOWED",
                source.path
            )),
            Some(_) | None => {}
        }
    }
    none(wrong);
}

#[test]
fn the_core_knows_no_clock_no_chance_and_no_system() {
    let mut wrong = Vec::new();
    for source in sources("core/src").expect("the sources can be read") {
        for (number, line) in source.lines_of_code() {
            for (word, why) in FORBIDDEN_IN_CORE {
                if has_word(line, word) {
                    wrong.push(format!("{}:{number}: `{word}`: {why}", source.path));
                }
            }
        }
    }
    none(wrong);
}

#[test]
fn nothing_that_is_serialised_holds_a_usize() {
    let mut wrong = Vec::new();
    for source in sources("core/src").expect("the sources can be read") {
        let mut serialised = false;
        for (number, line) in source.lines_of_code() {
            if line.contains("derive(") {
                serialised = has_word(line, "Serialize");
            }
            if serialised && has_word(line, "usize") {
                wrong.push(format!(
                    "{}:{number}: a `usize` differs between machines: use u32 or u64",
                    source.path
                ));
            }
            serialised &= line != "}";
        }
    }
    none(wrong);
}

#[test]
fn every_module_says_why_it_exists() {
    let silent = all()
        .into_iter()
        // Tests beside the code speak for themselves.
        .filter(|source| !source.is_test && !source.text.starts_with("//!"))
        .map(|source| {
            format!(
                "{}: begin with `//!`: why it exists, and what it does not know",
                source.path
            )
        });
    none(silent.collect());
}

#[test]
fn nothing_is_left_for_later() {
    let later = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("db", "g!"),
        concat!("to", "do!"),
        concat!("unimple", "mented!"),
        concat!("#[ign", "ore"),
    ];
    let mut wrong = Vec::new();
    for source in all() {
        for (at, line) in source.text.lines().enumerate() {
            for word in later {
                if has_word(line, word) {
                    let number = at + 1;
                    wrong.push(format!("{}:{number}: `{word}`: do it now", source.path));
                }
            }
        }
    }
    none(wrong);
}

#[test]
fn every_knob_is_explained_and_used() {
    let code: Vec<_> = all()
        .into_iter()
        .filter(|source| source.path != "core/src/config.rs")
        .collect();
    let mut wrong = Vec::new();
    for knob in KNOBS {
        let name = knob.name;
        let reads = |source: &Source| {
            let field = format!(".{name}");
            source
                .lines_of_code()
                .any(|(_, line)| has_word(line, &field))
        };
        if !code.iter().any(reads) {
            wrong.push(format!("{name}: no code reads it: use it or delete it"));
        }
        if !knob.why.ends_with('.') || knob.why.len() < 20 {
            wrong.push(format!("{name}: say in a sentence what it is for"));
        }
        if !(knob.min..=knob.max).contains(&knob.default) {
            wrong.push(format!("{name}: its default is out of its range"));
        }
    }
    none(wrong);
}

#[test]
fn every_limit_is_explained_and_used() {
    let all = all();
    let limits = all
        .iter()
        .find(|source| source.path == "core/src/limits.rs")
        .expect("limits have their file");
    let mut wrong = Vec::new();
    let mut explained = false;
    for line in limits.text.lines() {
        if let Some(rest) = line.strip_prefix("pub const ") {
            let name = rest.split(':').next().expect("a constant has a type");
            let uses =
                |source: &&Source| source.lines_of_code().any(|(_, line)| has_word(line, name));
            if !explained {
                wrong.push(format!("{name}: say what it bounds"));
            }
            let elsewhere = all.iter().filter(|source| source.path != limits.path);
            if elsewhere.filter(uses).count() == 0 {
                wrong.push(format!(
                    "{name}: nothing is held to it: use it or delete it"
                ));
            }
        }
        explained = line.starts_with("///");
    }
    none(wrong);
}

#[test]
fn every_mark_can_be_hit() {
    let core = sources("core/src").expect("the sources can be read");
    let mut wrong = Vec::new();
    for mark in Mark::ALL {
        let name = format!("Mark::{mark:?}");
        let hits = |source: &Source| {
            source
                .lines_of_code()
                .any(|(_, line)| has_word(line, &name))
        };
        if !core.iter().any(hits) {
            wrong.push(format!("{name}: nothing hits it: hit it or delete it"));
        }
    }
    none(wrong);
}

#[test]
fn no_file_names_a_place_on_one_machine() {
    let places = [
        concat!("/wo", "rk/"),
        concat!("/tm", "p/wt"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
    ];
    let root = project_root();
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(&root)
        .output()
        .expect("the project is a git repository, and git is installed");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let files: BTreeSet<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    assert!(files.contains("Cargo.toml"), "the tracked files are listed");
    let mut wrong = Vec::new();
    for path in files {
        // A file that is deleted and not committed, or no text.
        let Ok(text) = fs::read_to_string(root.join(path)) else {
            continue;
        };
        for (at, line) in text.lines().enumerate() {
            for place in places {
                if line.contains(place) {
                    wrong.push(format!("{path}:{}: {place} is on one machine only", at + 1));
                }
            }
        }
    }
    none(wrong);
}

#[test]
fn the_readme_and_the_checks_run_the_same_tests() {
    let root = project_root();
    let readme = fs::read_to_string(root.join("README.md")).unwrap_or_default();
    let checks = fs::read_to_string(root.join(".ci/run")).unwrap_or_default();
    let commands = |text: &str| -> BTreeSet<String> {
        text.lines()
            .filter_map(|line| line.find("cargo test").map(|at| &line[at..]))
            .map(|line| line.split(" #").next().unwrap_or(line).trim().to_owned())
            .collect()
    };
    let (said, run) = (commands(&readme), commands(&checks));
    assert!(
        said.is_subset(&run),
        "README.md tells people to run {said:?}; .ci/run runs {run:?}: what is told must be run"
    );
    assert!(
        readme.is_empty() || !said.is_empty(),
        "README.md must say how to run the tests, on a line that begins with `cargo test`"
    );
}
