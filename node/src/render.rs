//! Shows a record: as text for people, as JSON for programs, at the level that
//! the reader asks for. Level 0 is one line, 1 adds the summary, 2 the outline
//! or the children, 3 the text of the symbols, read from the source itself.

use std::fmt::Write as _;
use std::path::Path;

use precentor_core::context::{ContextKind, ContextRecord, LineRange, Symbol};
use serde_json::{Map, Value, json};

use crate::source::digest::{FileClass, TEXT_BYTES_MAX, examine};
use crate::source::path_of;

#[cfg(test)]
mod tests;

/// How much of a record is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// One line.
    Line,
    /// Summary, imports, tags, warnings.
    Summary,
    /// Symbols or children.
    Outline,
    /// The text of the outermost symbols.
    Bodies,
}

impl Level {
    /// The level with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Level> {
        match number {
            0 => Some(Level::Line),
            1 => Some(Level::Summary),
            2 => Some(Level::Outline),
            3 => Some(Level::Bodies),
            _ => None,
        }
    }
}

/// Fields of a file that programs may rely on: there even when nothing is in them.
const FILE_FIELDS: &[&str] = &["language", "summary", "symbols", "imports"];
/// The same for a folder and the project.
const FOLDER_FIELDS: &[&str] = &["language", "summary", "children"];
/// Fields of level 0, in JSON.
const LINE_FIELDS: &[&str] = &["uri", "kind", "one_line"];
/// Fields that level 1 does not have yet.
const OUTLINE_FIELDS: &[&str] = &["symbols", "children", "surface", "references"];

/// The record as text. `root` is where its tree stands now, if it is here:
/// without it, or if the file has changed, level 3 says so and shows level 2.
#[must_use]
pub fn text(record: &ContextRecord, level: Level, root: Option<&Path>) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{}: {}", record.uri, record.one_line);
    if level >= Level::Summary {
        summary(&mut out, record);
    }
    if level >= Level::Outline {
        outline(&mut out, record);
    }
    if level >= Level::Bodies && record.kind == ContextKind::File {
        match bodies(record, root) {
            Ok(bodies) => {
                for (symbol, body) in bodies {
                    let _ = write!(
                        out,
                        "\n{}-{}:\n{body}",
                        symbol.range.start, symbol.range.end
                    );
                    if !body.ends_with('\n') {
                        out.push('\n');
                    }
                }
            }
            Err(reason) => {
                let _ = writeln!(out, "\nno bodies: {reason}");
            }
        }
    }
    out
}

/// The record as JSON, with the names of its fields; fields that are empty are left out.
#[must_use]
pub fn json(record: &ContextRecord, level: Level, root: Option<&Path>) -> Value {
    let mut value = serde_json::to_value(record).expect("a record has only string keys");
    let Some(fields) = value.as_object_mut() else {
        return value;
    };
    let expected = match record.kind {
        ContextKind::File => FILE_FIELDS,
        ContextKind::Folder | ContextKind::Project => FOLDER_FIELDS,
    };
    fields.retain(|name, value| {
        let shown = match level {
            Level::Line => LINE_FIELDS.contains(&&**name),
            Level::Summary => !OUTLINE_FIELDS.contains(&&**name),
            Level::Outline | Level::Bodies => true,
        };
        shown && (expected.contains(&&**name) || !is_empty(value))
    });
    if level == Level::Bodies && record.kind == ContextKind::File {
        add_bodies(fields, record, root);
    }
    value
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn add_bodies(fields: &mut Map<String, Value>, record: &ContextRecord, root: Option<&Path>) {
    let value = match bodies(record, root) {
        Ok(bodies) => bodies
            .into_iter()
            .map(|(symbol, text)| json!({"name": symbol.name, "range": symbol.range, "text": text}))
            .collect(),
        Err(reason) => json!({ "missing": reason }),
    };
    fields.insert("bodies".to_owned(), value);
}

/// The text of the outermost symbols, from the source tree.
fn bodies<'r>(
    record: &'r ContextRecord,
    root: Option<&Path>,
) -> Result<Vec<(&'r Symbol, String)>, String> {
    let root = root.ok_or("the source tree is not at hand")?;
    let path = path_of(root, &record.uri);
    let mut content = Vec::new();
    let examined = examine(&path, TEXT_BYTES_MAX, &mut content)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if examined.content_digest != record.content_digest {
        return Err(format!(
            "{} has changed since this record was made; generate again",
            path.display()
        ));
    }
    if examined.class != FileClass::Text {
        return Err(format!(
            "{} is not shown: it is binary, a link, or too large",
            path.display()
        ));
    }
    let lines: Vec<&[u8]> = content.split_inclusive(|byte| *byte == b'\n').collect();
    let outermost = record
        .symbols
        .iter()
        .filter(|symbol| symbol.parent.is_empty());
    Ok(outermost
        .map(|symbol| (symbol, slice(&lines, symbol.range)))
        .collect())
}

fn slice(lines: &[&[u8]], range: LineRange) -> String {
    let start = (range.start as usize).saturating_sub(1).min(lines.len());
    let end = (range.end as usize).clamp(start, lines.len());
    String::from_utf8_lossy(&lines[start..end].concat()).into_owned()
}

fn summary(out: &mut String, record: &ContextRecord) {
    let mut facts = Vec::new();
    if !record.language.is_empty() {
        facts.push(record.language.clone());
    }
    facts.push(format!("{} lines", record.lines));
    facts.push(format!("{} bytes", record.bytes));
    facts.push(format!("about {} tokens", record.tokens));
    let _ = writeln!(out, "{}", facts.join(", "));
    if !record.summary.is_empty() && record.summary != record.one_line {
        let _ = writeln!(out, "\n{}", record.summary);
    }
    let mut list = |title: &str, items: Vec<String>| {
        if !items.is_empty() {
            let _ = writeln!(out, "{title}: {}", items.join(", "));
        }
    };
    list("tags", record.tags.clone());
    list("tests for", record.tests_for.clone());
    list(
        "imports",
        record
            .imports
            .iter()
            .map(|import| import.target.clone())
            .collect(),
    );
    list(
        "depends on",
        record
            .depends_on
            .iter()
            .map(|module| format!("{} ({})", module.name, module.count))
            .collect(),
    );
    let total = |total: &precentor_core::context::LanguageTotal| {
        format!(
            "{} ({} files, {} lines)",
            total.language, total.files, total.lines
        )
    };
    list("languages", record.languages.iter().map(total).collect());
    let entry = |entry: &precentor_core::context::EntryPoint| {
        format!("{} ({}:{})", entry.name, entry.uri.path(), entry.line)
    };
    list(
        "entry points",
        record.entry_points.iter().map(entry).collect(),
    );
    for command in &record.commands {
        let purpose = format!("{:?}", command.purpose).to_ascii_lowercase();
        let _ = writeln!(
            out,
            "{purpose}: {} (from {})",
            command.command,
            command.declared_in.path()
        );
    }
    for warning in &record.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    for gap in &record.incomplete {
        let _ = writeln!(out, "missing: {}: {}", gap.uri, gap.reason);
    }
}

fn outline(out: &mut String, record: &ContextRecord) {
    if !record.symbols.is_empty() {
        out.push('\n');
    }
    for symbol in &record.symbols {
        let depth = match symbol.parent.is_empty() {
            true => 0,
            false => {
                1 + symbol.parent.matches(['.', ':', '/']).count()
                    - symbol.parent.matches("::").count()
            }
        };
        let indent = "  ".repeat(depth.min(8));
        let LineRange { start, end } = symbol.range;
        let _ = write!(
            out,
            "{:>11}  {indent}{}",
            format!("{start}-{end}"),
            symbol.signature
        );
        let doc = if symbol.doc.is_empty() {
            String::new()
        } else {
            format!("  - {}", symbol.doc)
        };
        let _ = writeln!(out, "{doc}");
    }
    if !record.children.is_empty() {
        out.push_str("\nchildren:\n");
    }
    for child in &record.children {
        let slash = if child.kind == ContextKind::Folder {
            "/"
        } else {
            ""
        };
        let name = child.uri.path().rsplit('/').next().unwrap_or_default();
        let _ = writeln!(out, "  {name}{slash}: {}", child.one_line);
    }
    if !record.surface.is_empty() {
        out.push_str("\nmost used:\n");
    }
    for symbol in &record.surface {
        let _ = writeln!(
            out,
            "  {}:{}  {}",
            symbol.uri.path(),
            symbol.line,
            symbol.signature
        );
    }
}
