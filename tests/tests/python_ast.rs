//! Python outlines against Python's own parser: the same classes and
//! functions, on the same lines, in a sample of the standard library of this
//! machine.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use precentor_core::address::Address;
use precentor_core::context::{ContextRecord, SymbolKind};
use precentor_node::source::digest::{TEXT_BYTES_MAX, examine};
use precentor_node::worker::engine::{Engine, Job, Source, Subject};
use precentor_node::worker::outline::OutlineEngine;

/// Prints, for every third file of the standard library up to 200, one line per
/// definition: path, kind, name, first line, last line.
const SCRIPT: &str = r#"
import ast, json, os, sys, warnings
warnings.simplefilter("ignore")
root = os.path.dirname(os.__file__)
paths = []
for folder, folders, names in os.walk(root):
    folders[:] = sorted(d for d in folders if d not in ("site-packages", "__pycache__", "lib2to3"))
    paths += [os.path.join(folder, name) for name in sorted(names) if name.endswith(".py")]
sample = []
for path in paths[::3]:
    try:
        tree = ast.parse(open(path, "rb").read())
    except (SyntaxError, ValueError):
        continue
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.append(["function", node.name, node.lineno, node.end_lineno])
        elif isinstance(node, ast.ClassDef):
            found.append(["class", node.name, node.lineno, node.end_lineno])
    sample.append([path, found])
    if len(sample) == 200:
        break
json.dump(sample, sys.stdout)
"#;

type Definition = (String, String, u32, u32);

#[test]
fn python_outlines_agree_with_the_ast_module() {
    let output = match Command::new("python3").args(["-c", SCRIPT]).output() {
        Ok(output) => output,
        Err(error) => {
            println!("not compared: python3 cannot be started: {error}");
            return;
        }
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let sample: Vec<(PathBuf, Vec<Definition>)> =
        serde_json::from_slice(&output.stdout).expect("the script prints JSON");
    let mut definitions = 0;
    let mut differences = Vec::new();
    for (path, expected) in &sample {
        let expected: BTreeSet<Definition> = expected.iter().cloned().collect();
        let found = definitions_of(&outline(path));
        definitions += expected.len();
        differences.extend(
            expected
                .difference(&found)
                .map(|it| format!("missing  {path:?} {it:?}")),
        );
        differences.extend(
            found
                .difference(&expected)
                .map(|it| format!("too many {path:?} {it:?}")),
        );
    }
    println!("{} files, {definitions} definitions", sample.len());
    assert!(
        sample.len() >= 100,
        "only {} files to compare",
        sample.len()
    );
    assert!(
        definitions > 1_000,
        "only {definitions} definitions to compare"
    );
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

fn outline(path: &Path) -> ContextRecord {
    let examined = examine(path, TEXT_BYTES_MAX, &mut Vec::new()).expect("readable");
    let uri = Address::parse("ucxl://stdlib/sample.py").expect("good");
    let subject = Subject::File {
        source: Source::Path(path.to_path_buf()),
    };
    let job = Job {
        uri,
        content_digest: examined.content_digest,
        subject,
    };
    OutlineEngine::default().generate(job).expect("a record")
}

fn definitions_of(record: &ContextRecord) -> BTreeSet<Definition> {
    let definition =
        |kind: &str, name: &str, start, end| (kind.to_owned(), name.to_owned(), start, end);
    record
        .symbols
        .iter()
        .filter_map(|symbol| {
            let kind = match symbol.kind {
                SymbolKind::Function | SymbolKind::Method => "function",
                SymbolKind::Class => "class",
                _ => return None,
            };
            Some(definition(
                kind,
                &symbol.name,
                symbol.range.start,
                symbol.range.end,
            ))
        })
        .collect()
}
