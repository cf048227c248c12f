//! How a project is built, tested and run, as its own files say it. Looks for
//! words, not for structure: a manifest that does not parse still says much.

use precentor_core::address::Address;
use precentor_core::context::{CommandPurpose, ProjectCommand};

use super::prose;

/// Commands of one file, at most.
const COMMANDS_MAX: usize = 24;

/// The commands that the file called `name` stands for.
pub(super) fn declared(uri: &Address, name: &[u8], content: &[u8]) -> Vec<ProjectCommand> {
    use CommandPurpose::{Build, Run, Test};
    let text = String::from_utf8_lossy(&content[..content.len().min(256 * 1024)]);
    let fixed = |list: &[(CommandPurpose, &str)]| -> Vec<(CommandPurpose, String)> {
        list.iter()
            .map(|(purpose, command)| (*purpose, (*command).to_owned()))
            .collect()
    };
    let found = match name {
        b"Cargo.toml" => {
            let mut found = fixed(&[(Build, "cargo build"), (Test, "cargo test")]);
            if text.contains("[[bin]]") || text.contains("default-run") {
                found.push((Run, "cargo run".to_owned()));
            }
            found
        }
        b"package.json" => package_scripts(content),
        b"pyproject.toml" => pyproject(&text),
        b"setup.py" | b"setup.cfg" => fixed(&[(Build, "pip install .")]),
        b"tox.ini" => fixed(&[(Test, "tox")]),
        b"noxfile.py" => fixed(&[(Test, "nox")]),
        b"pytest.ini" | b"conftest.py" => fixed(&[(Test, "pytest")]),
        b"go.mod" => fixed(&[(Build, "go build ./..."), (Test, "go test ./...")]),
        b"Makefile" | b"makefile" | b"GNUmakefile" => make_targets(&text),
        b"pom.xml" => fixed(&[(Build, "mvn package"), (Test, "mvn test")]),
        b"build.gradle" | b"build.gradle.kts" => {
            fixed(&[(Build, "gradle build"), (Test, "gradle test")])
        }
        b"CMakeLists.txt" if text.contains("project(") || text.contains("project (") => {
            let mut found = fixed(&[(Build, "cmake -B build && cmake --build build")]);
            if text.contains("enable_testing") || text.contains("include(CTest") {
                found.push((Test, "ctest --test-dir build".to_owned()));
            }
            found
        }
        b"meson.build" => fixed(&[
            (Build, "meson setup build && meson compile -C build"),
            (Test, "meson test -C build"),
        ]),
        _ => Vec::new(),
    };
    let command = |(purpose, command)| ProjectCommand {
        purpose,
        command,
        declared_in: uri.clone(),
    };
    found.into_iter().take(COMMANDS_MAX).map(command).collect()
}

fn purpose_of(word: &str) -> CommandPurpose {
    let has = |words: &[&str]| words.iter().any(|known| word.contains(known));
    match () {
        () if has(&["test", "check", "spec"]) => CommandPurpose::Test,
        () if has(&["build", "compile", "all", "bundle"]) && word != "install" => {
            CommandPurpose::Build
        }
        () if has(&["start", "run", "serve", "dev"]) => CommandPurpose::Run,
        () => CommandPurpose::Other,
    }
}

fn package_scripts(content: &[u8]) -> Vec<(CommandPurpose, String)> {
    let document: serde_json::Value = serde_json::from_slice(content).unwrap_or_default();
    let Some(scripts) = document
        .get("scripts")
        .and_then(serde_json::Value::as_object)
    else {
        return Vec::new();
    };
    let command = |name: &String| {
        (
            purpose_of(name),
            format!("npm run {}", prose::name(name.as_bytes())),
        )
    };
    scripts.keys().map(command).collect()
}

fn pyproject(text: &str) -> Vec<(CommandPurpose, String)> {
    let mut found = Vec::new();
    if text.contains("[build-system]") {
        found.push((CommandPurpose::Build, "python -m build".to_owned()));
    }
    if text.contains("[tool.pytest") {
        found.push((CommandPurpose::Test, "pytest".to_owned()));
    }
    let document: toml::Table = text.parse().unwrap_or_default();
    let scripts = document
        .get("project")
        .and_then(|project| project.get("scripts"));
    if let Some(scripts) = scripts.and_then(toml::Value::as_table) {
        let names = scripts.keys().map(|name| prose::name(name.as_bytes()));
        found.extend(names.map(|name| (CommandPurpose::Run, name)));
    }
    found
}

/// The targets that stand as a plain word before a colon.
fn make_targets(text: &str) -> Vec<(CommandPurpose, String)> {
    let mut found = vec![(CommandPurpose::Build, "make".to_owned())];
    for line in text.lines() {
        let Some((target, rest)) = line.split_once(':') else {
            continue;
        };
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let is_target = !target.is_empty()
            && target.chars().all(is_word)
            && !rest.starts_with('=')
            && !rest.starts_with(":=");
        let command = format!("make {target}");
        if is_target && !found.iter().any(|(_, known)| *known == command) {
            found.push((purpose_of(target), command));
        }
    }
    found
}
