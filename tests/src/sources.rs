//! The project's own Rust sources, as the tests of its order read them: which
//! file belongs to which package and module, and what of it is test code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::project_root;

/// A Rust file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path below the project's root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
    /// It is compiled for tests only.
    pub is_test: bool,
}

impl Source {
    /// The text without what is compiled for tests only.
    #[must_use]
    pub fn code(&self) -> &str {
        if self.is_test {
            return "";
        }
        let end = self.text.find("#[cfg(test)]\nmod tests {");
        &self.text[..end.unwrap_or(self.text.len())]
    }

    /// The code without comments: line by line.
    pub fn lines_of_code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code()
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default())
            .enumerate()
            .map(|(at, line)| (at + 1, line))
    }
}

/// All Rust files of a package's folder, such as `core/src`, in order.
pub fn sources(folder: &str) -> Result<Vec<Source>> {
    let root = project_root();
    let mut paths = Vec::new();
    walk(&root.join(folder), &mut paths)?;
    let mut found = Vec::new();
    let mut for_tests = BTreeSet::new();
    for path in paths {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for_tests.extend(test_modules(&path, &text));
        let below = path.strip_prefix(&root).expect("it was found below it");
        found.push((
            path.clone(),
            Source {
                path: below.to_string_lossy().replace('\\', "/"),
                text,
                is_test: false,
            },
        ));
    }
    Ok(found
        .into_iter()
        .map(|(path, source)| Source {
            is_test: for_tests.iter().any(|test| path.starts_with(test))
                || for_tests.contains(&path),
            ..source
        })
        .collect())
}

/// The files and folders of `#[cfg(test)] mod name;` in a file.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let stem = path.file_stem().unwrap_or_default();
    let folder = path.parent().expect("a file is in a folder");
    let inner = match stem.to_str() {
        Some("mod" | "lib" | "main") => folder.to_path_buf(),
        _ => folder.join(stem),
    };
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            continue;
        }
        let name = lines
            .next()
            .and_then(|line| line.trim().strip_suffix(';'))
            .and_then(|line| line.rsplit_once("mod "));
        if let Some((_, name)) = name {
            found.push(inner.join(format!("{name}.rs")));
            found.push(inner.join(name));
        }
    }
    found
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let listing =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut items: Vec<_> = listing.collect::<Result<_, _>>()?;
    items.sort_by_key(fs::DirEntry::path);
    for item in items {
        let path = item.path();
        if path.is_dir() {
            walk(&path, paths)?;
        } else if path.extension().is_some_and(|end| end == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}
