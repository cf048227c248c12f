//! `docs/floor-plan.txt` against the sources: every arrow is written down,
//! every written arrow exists, and what must never be is not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use precentor_tests::project_root;
use precentor_tests::sources::{Source, sources};

const PLAN: &str = "docs/floor-plan.txt";

type Arrows = BTreeMap<String, BTreeSet<String>>;

#[derive(Debug, Default)]
struct Plan {
    packages: Arrows,
    layers: BTreeMap<String, u32>,
    core: Arrows,
    never: Vec<(String, String, BTreeSet<String>)>,
}

fn plan() -> Plan {
    let text = fs::read_to_string(project_root().join(PLAN)).expect("the floor plan is there");
    let mut plan = Plan::default();
    let mut section = "";
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.is_empty() || words[0].starts_with('#') {
            continue;
        }
        if !line.starts_with(' ') {
            section = line;
            continue;
        }
        let arrow = words.iter().position(|word| *word == "->");
        let targets = |at: usize| words[at + 1..].iter().map(|word| (*word).to_owned());
        match (section, arrow) {
            ("packages", Some(at)) => {
                let before = plan
                    .packages
                    .insert(words[0].to_owned(), targets(at).collect());
                assert!(before.is_none(), "{PLAN}: two rows for {}", words[0]);
            }
            ("layers of core", None) => {
                let layer = words[0]
                    .parse()
                    .expect("a layer's row begins with its number");
                for module in &words[1..] {
                    let before = plan.layers.insert((*module).to_owned(), layer);
                    assert!(before.is_none(), "{PLAN}: {module} is in two layers");
                }
            }
            ("arrows of core", Some(at)) => {
                let before = plan.core.insert(words[0].to_owned(), targets(at).collect());
                assert!(before.is_none(), "{PLAN}: two rows for {}", words[0]);
            }
            ("never", Some(at)) => {
                let (package, module) = (words[0].to_owned(), words[1].to_owned());
                plan.never.push((package, module, targets(at).collect()));
            }
            _ => panic!("{PLAN}: this row is not understood: {line}"),
        }
    }
    plan
}

/// The top module that a file of `PACKAGE/src` belongs to; none for the roots.
fn module_of(source: &Source) -> Option<&str> {
    let mut parts = source.path.split('/').skip(2);
    let name = parts.next()?.trim_end_matches(".rs");
    (!["lib", "main"].contains(&name)).then_some(name)
}

/// Names after `crate::` in a file's code.
fn imports(source: &Source) -> BTreeSet<String> {
    let code: Vec<_> = source.lines_of_code().map(|(_, line)| line).collect();
    let code = code.join("\n");
    let mut found = BTreeSet::new();
    for (at, prefix) in code.match_indices("crate::") {
        let rest = &code[at + prefix.len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default(),
            None => rest.split([';', ',', '\n']).next().unwrap_or_default(),
        };
        for name in names.split(',') {
            let name: String = name
                .trim()
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            if !name.is_empty() {
                found.insert(name);
            }
        }
    }
    found
}

/// All arrows between the top modules of a package, with a file for each.
fn arrows(package: &str) -> BTreeMap<(String, String), String> {
    let all = sources(&format!("{package}/src")).expect("the sources can be read");
    let modules: BTreeSet<_> = all.iter().filter_map(module_of).collect();
    let mut found = BTreeMap::new();
    for source in &all {
        let Some(from) = module_of(source) else {
            continue;
        };
        for to in imports(source) {
            if to != from && modules.contains(to.as_str()) {
                found.insert((from.to_owned(), to), source.path.clone());
            }
        }
    }
    found
}

#[test]
fn every_arrow_of_the_core_is_in_the_plan() {
    let plan = plan();
    let mut wrong = Vec::new();
    for ((from, to), path) in arrows("core") {
        if !plan.core.get(&from).is_some_and(|row| row.contains(&to)) {
            wrong.push(format!(
                "{path}: `{from}` imports `{to}`; move the code to a room that may, or add `{to}` \
                 to the row of `{from}` in {PLAN} with a decision record"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_arrow_of_the_plan_is_used() {
    let used = arrows("core");
    let mut wrong = Vec::new();
    for (from, row) in plan().core {
        for to in row {
            if !used.contains_key(&(from.clone(), to.clone())) {
                wrong.push(format!(
                    "{PLAN}: nothing in `{from}` imports `{to}` any more; take it out"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_of_the_core_has_its_place() {
    let plan = plan();
    let all = sources("core/src").expect("the sources can be read");
    let modules: BTreeSet<_> = all
        .iter()
        .filter(|source| !source.is_test)
        .filter_map(module_of)
        .map(str::to_owned)
        .collect();
    let placed: BTreeSet<_> = plan.layers.keys().cloned().collect();
    assert_eq!(
        modules, placed,
        "left: the modules of core; right: those with a layer in {PLAN}"
    );
    let rows: BTreeSet<_> = plan.core.keys().cloned().collect();
    assert_eq!(
        modules, rows,
        "left: the modules of core; right: those with a row of arrows in {PLAN}"
    );
}

#[test]
fn arrows_of_the_core_never_point_upwards_or_in_circles() {
    let plan = plan();
    for (from, row) in &plan.core {
        for to in row {
            assert!(
                plan.layers[to] <= plan.layers[from],
                "{PLAN}: `{from}` (layer {}) imports `{to}` (layer {}) above it",
                plan.layers[from],
                plan.layers[to]
            );
        }
    }
    // Take away what imports nothing that is left; a circle is what stays.
    let mut left = plan.core.clone();
    loop {
        let free: Vec<_> = left
            .iter()
            .filter(|(_, row)| !row.iter().any(|to| left.contains_key(to)))
            .map(|(from, _)| from.clone())
            .collect();
        if free.is_empty() {
            break;
        }
        left.retain(|from, _| !free.contains(from));
    }
    assert!(
        left.is_empty(),
        "{PLAN}: a circle among {:?}; move what they share to a lower room",
        left.keys().collect::<Vec<_>>()
    );
}

#[test]
fn what_must_never_be_is_not() {
    let plan = plan();
    let mut wrong = Vec::new();
    for (package, module, forbidden) in &plan.never {
        for ((from, to), path) in arrows(package) {
            if from == *module && forbidden.contains(&to) {
                wrong.push(format!(
                    "{path}: `{from}` of {package} must never import `{to}`: see the reason in \
                     {PLAN}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn packages_depend_as_planned() {
    for (package, allowed) in plan().packages {
        let path = format!("{package}/Cargo.toml");
        let text = fs::read_to_string(project_root().join(&path)).expect("a package's manifest");
        let found: BTreeSet<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("precentor-"))
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .map(str::to_owned)
            .collect();
        assert_eq!(
            found, allowed,
            "left: the packages that {path} depends on; right: those that {PLAN} allows"
        );
    }
}
