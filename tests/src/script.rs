//! Script files: blocks of commands, then `----`, then the lines that must
//! come of them, up to an empty line. A header of `#` lines says which rule the
//! script shows, and where it is from.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::verbs;
use crate::world::World;

/// Between commands and what they cause.
const SEPARATOR: &str = "----";

#[derive(Debug)]
enum Part {
    Comment(String),
    Block {
        line: usize,
        commands: Vec<String>,
        expected: Vec<String>,
    },
}

/// A script, read.
#[derive(Debug)]
pub struct Script {
    parts: Vec<Part>,
}

/// What a run of a script gave.
#[derive(Debug)]
pub struct Outcome {
    /// The script's text as it should be if this run is right.
    pub text: String,
    /// The first difference, in words; none if all was as expected.
    pub difference: Option<String>,
}

impl Script {
    /// Reads a script.
    pub fn parse(text: &str) -> Result<Script> {
        let mut parts = Vec::new();
        let mut lines = text.lines().enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            if line.trim().is_empty() {
                continue;
            }
            if line.starts_with('#') {
                parts.push(Part::Comment(line.to_owned()));
                continue;
            }
            let mut commands = vec![line.to_owned()];
            let mut expected = Vec::new();
            loop {
                match lines.next() {
                    Some((_, line)) if line == SEPARATOR => break,
                    Some((at, "")) => bail!("line {}: a block has no {SEPARATOR}", at + 1),
                    Some((_, line)) => commands.push(line.to_owned()),
                    None => break,
                }
            }
            while let Some((_, line)) = lines.next_if(|(_, line)| !line.is_empty()) {
                expected.push(line.to_owned());
            }
            parts.push(Part::Block {
                line: number + 1,
                commands,
                expected,
            });
        }
        Ok(Script { parts })
    }

    /// The header's lines that begin with `# WORD:`.
    #[must_use]
    pub fn header(&self, word: &str) -> Option<&str> {
        let prefix = format!("# {word}:");
        self.parts.iter().find_map(|part| match part {
            Part::Comment(line) => line.strip_prefix(&prefix).map(str::trim),
            Part::Block { .. } => None,
        })
    }

    /// Runs it in a new world.
    pub fn run(&self) -> Result<Outcome> {
        self.run_in(World::default())
    }

    /// Runs it in a world that has its own ways.
    pub fn run_in(&self, mut world: World) -> Result<Outcome> {
        let mut text = String::new();
        let mut difference = None;
        let mut after_comment = true;
        for part in &self.parts {
            match part {
                Part::Comment(line) => {
                    if !after_comment {
                        text.push('\n');
                    }
                    writeln!(text, "{line}")?;
                    after_comment = true;
                }
                Part::Block {
                    line,
                    commands,
                    expected,
                } => {
                    text.push('\n');
                    for command in commands {
                        verbs::run(&mut world, command)
                            .with_context(|| format!("line {line}: `{command}`"))?;
                        writeln!(text, "{command}")?;
                    }
                    let mut found = std::mem::take(&mut world.trace.lines);
                    if found.is_empty() {
                        found.push("ok".into());
                    }
                    writeln!(text, "{SEPARATOR}")?;
                    for line in &found {
                        writeln!(text, "{line}")?;
                    }
                    if found != *expected && difference.is_none() {
                        difference = Some(differ(*line, commands, expected, &found));
                    }
                    after_comment = false;
                }
            }
        }
        Ok(Outcome { text, difference })
    }
}

fn differ(line: usize, commands: &[String], expected: &[String], found: &[String]) -> String {
    let mut text = format!("line {line}: {}\n", commands.join("; "));
    let at = expected
        .iter()
        .zip(found)
        .take_while(|(e, f)| e == f)
        .count();
    for line in &expected[..at] {
        text += &format!("    {line}\n");
    }
    for line in &expected[at..] {
        text += &format!("  - {line}\n");
    }
    for line in &found[at..] {
        text += &format!("  + {line}\n");
    }
    text
}

/// All scripts below a folder, in order.
pub fn find(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(folder)? {
        let path = item?.path();
        if path.is_dir() {
            found.extend(find(&path)?);
        } else if path.extension().is_some_and(|end| end == "txt") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
