//! The record of one file: reads it, makes sure that it is what the request
//! was made for, and puts together what the readers of its language find.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use precentor_core::address::Address;
use precentor_core::context::{
    ContextKind, ContextRecord, EntryPoint, Import, Reference, Symbol, SymbolKind, Visibility,
};
use precentor_core::digest::Digest;

use super::language::{Reader, identify};
use super::parse::{self, ParseFailure};
use super::text::{self, TextOutline};
use super::tree::{self, Outline, Ready};
use super::{SYMLINK, commands, prose, provenance};
use crate::source::digest::{Examined, FileClass};
use crate::worker::engine::{EngineError, FailureClass, Source};

/// References kept for ranking across files.
const REFERENCES_MAX: usize = 64;
/// Imports of one file.
const IMPORTS_MAX: usize = 256;
/// Names listed as an interface.
const EXPORTS_MAX: usize = 512;

thread_local! {
    /// The text of the file at hand; its room is reused for the next.
    static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Makes the record of a file.
pub(super) fn generate(
    uri: &Address,
    expected: Digest,
    source: &Source,
    text_bytes_max: u64,
) -> Result<ContextRecord, EngineError> {
    TEXT.with_borrow_mut(|text| {
        let examined = source.examine(text_bytes_max, text).map_err(|cause| unreadable(source, &cause))?;
        if examined.content_digest != expected {
            let message = format!(
                "{} changed while the run went on: its digest was {expected:?}… when it was listed and is {:?}… now; run again to take in the change",
                source, examined.content_digest
            );
            return Err(EngineError { class: FailureClass::SourceChanged, message });
        }
        describe(uri, &examined, text)
    })
}

fn unreadable(source: &Source, cause: &io::Error) -> EngineError {
    let class = match cause.kind() {
        io::ErrorKind::NotFound => FailureClass::SourceChanged,
        io::ErrorKind::PermissionDenied => FailureClass::Unreadable,
        _ => FailureClass::Retryable,
    };
    let advice = match class {
        FailureClass::SourceChanged => "; it was there when the tree was listed",
        FailureClass::Unreadable => "; make it readable, or exclude it with a .gitignore",
        FailureClass::Permanent | FailureClass::Retryable | FailureClass::Busy { .. } => "",
    };
    EngineError {
        class,
        message: format!("cannot read {source}: {cause}{advice}"),
    }
}

/// The record of a file with this content.
fn describe(
    uri: &Address,
    examined: &Examined,
    content: &[u8],
) -> Result<ContextRecord, EngineError> {
    let mut record = ContextRecord::new(
        uri.clone(),
        ContextKind::File,
        examined.content_digest,
        provenance(),
    );
    record.bytes = examined.bytes;
    record.lines = examined.lines;
    let name = uri.name();
    match examined.class {
        FileClass::Symlink => {
            record.language = SYMLINK.to_owned();
            record.one_line = format!(
                "symbolic link to {}",
                prose::fold(content, prose::LINE_BYTES_MAX)
            );
        }
        FileClass::Binary => {
            record.language = "binary".to_owned();
            record.lines = 0;
            record.one_line = format!("{}, {} bytes", binary_kind(&name, content), examined.bytes);
            record.tags.push("binary".to_owned());
            record
                .warnings
                .push("binary: it has a NUL byte near its beginning; no outline".to_owned());
        }
        FileClass::Oversize => {
            record.language = identify(&name, content).name.to_owned();
            record.one_line = format!(
                "{} of {} bytes, without an outline",
                record.language, examined.bytes
            );
            record.tags.push("oversize".to_owned());
            let limit = content.len();
            record.warnings.push(format!(
                "{} bytes; the limit for outlines is {limit}: digested and counted, not read",
                examined.bytes
            ));
        }
        FileClass::Text => describe_text(&mut record, &name, content)?,
    }
    Ok(record)
}

/// What the first bytes say a binary is.
fn binary_kind(name: &[u8], content: &[u8]) -> String {
    const MAGIC: &[(&[u8], &str)] = &[
        (b"\x7fELF", "ELF program or library"),
        (b"\x89PNG", "PNG image"),
        (b"\xff\xd8\xff", "JPEG image"),
        (b"GIF8", "GIF image"),
        (b"%PDF", "PDF document"),
        (b"PK\x03\x04", "ZIP archive"),
        (b"\x1f\x8b", "gzip archive"),
        (b"BZh", "bzip2 archive"),
        (b"\xfd7zXZ", "xz archive"),
        (b"\x28\xb5\x2f\xfd", "zstd archive"),
        (b"\0asm", "WebAssembly module"),
        (b"\xca\xfe\xba\xbe", "Java class or Mach-O program"),
        (b"MZ", "Windows program or library"),
        (b"SQLite format 3", "SQLite database"),
        (b"wOF2", "web font"),
        (b"\xff\xfe", "UTF-16 text"),
        (b"\xfe\xff", "UTF-16 text"),
    ];
    if let Some((_, kind)) = MAGIC.iter().find(|(magic, _)| content.starts_with(magic)) {
        return (*kind).to_owned();
    }
    match String::from_utf8_lossy(name).rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.len() <= 8 => {
            format!("binary file (.{extension})")
        }
        _ => "binary file".to_owned(),
    }
}

fn describe_text(
    record: &mut ContextRecord,
    name: &[u8],
    content: &[u8],
) -> Result<(), EngineError> {
    let language = identify(name, content);
    record.language = language.name.to_owned();
    record.tokens = prose::estimate_tokens(content);
    if let Err(error) = std::str::from_utf8(content) {
        let at = error.valid_up_to();
        record.warnings.push(format!(
            "not valid UTF-8 at byte {at}; such bytes are shown as \u{fffd}"
        ));
    }
    match language.reader {
        Reader::Tree(ready) => describe_code(record, ready, content)?,
        Reader::Markdown => take_text(record, text::markdown(content)),
        Reader::Sections => take_text(record, text::sections(content)),
        Reader::Json => take_text(record, text::json(content)),
        Reader::Yaml => take_text(record, text::yaml(content)),
        Reader::Script => take_text(record, text::script(content)),
        Reader::Plain => take_text(record, text::plain(content)),
    }
    record.commands = commands::declared(&record.uri, name, content);
    mark(record, name, content);
    record.one_line = one_line(record);
    Ok(())
}

fn take_text(record: &mut ContextRecord, outline: TextOutline) {
    record.summary = outline.lead;
    record.symbols = outline.symbols;
    if outline.dropped > 0 {
        record.warnings.push(format!(
            "{} more headings or keys than a record lists",
            outline.dropped
        ));
    }
}

fn describe_code(
    record: &mut ContextRecord,
    ready: &'static Ready,
    content: &[u8],
) -> Result<(), EngineError> {
    let compiled = ready.get();
    let tree = match parse::parse(compiled, content) {
        Ok(tree) => tree,
        Err(failure) => {
            record.warnings.push(match failure {
                ParseFailure::TooHard => format!(
                    "not parsed: it is far harder to read as {} than its size explains",
                    record.language
                ),
                ParseFailure::NoThread => {
                    let message = format!(
                        "cannot parse {}: the system gives no thread with enough stack",
                        record.uri
                    );
                    return Err(EngineError {
                        class: FailureClass::Retryable,
                        message,
                    });
                }
                ParseFailure::NoGrammar => format!(
                    "not parsed: the grammar for {} cannot be loaded",
                    record.language
                ),
            });
            take_text(record, text::plain(content));
            return Ok(());
        }
    };
    let Outline {
        mut symbols,
        symbols_dropped,
        mut notes,
        references,
        syntax_errors,
        first_error_line,
    } = tree::outline(compiled, content, &tree);
    record.summary = match notes.module_doc.is_empty() {
        true => text::head_comment(content),
        false => prose::first_paragraph(notes.module_doc.as_bytes()),
    };
    notes.exports.truncate(EXPORTS_MAX);
    export_listed(&mut symbols, &notes.exports);
    rank(&mut symbols, &references);
    find_main(&symbols, &mut notes.entry_points, ready.language());
    record.references = keep_references(references, &notes.used);
    let import = |(target, line)| Import { target, line };
    record.imports = notes
        .imports
        .into_iter()
        .take(IMPORTS_MAX)
        .map(import)
        .collect();
    let entry = |(name, line)| EntryPoint {
        uri: record.uri.clone(),
        name,
        line,
    };
    record.entry_points = notes.entry_points.into_iter().map(entry).collect();
    record.exports = notes.exports;
    record.symbols = symbols;
    if symbols_dropped > 0 {
        record.warnings.push(format!(
            "{symbols_dropped} more symbols than a record lists"
        ));
    }
    if syntax_errors > 0 {
        record.warnings.push(format!(
            "{syntax_errors} syntax errors, the first at line {first_error_line}; the outline may lack symbols near them"
        ));
    }
    Ok(())
}

/// A name in an explicit list of exports is public, however it is declared.
fn export_listed(symbols: &mut [Symbol], exports: &[String]) {
    for symbol in symbols.iter_mut().filter(|symbol| symbol.parent.is_empty()) {
        if exports.contains(&symbol.name) {
            symbol.visibility = Visibility::Public;
        }
    }
}

/// What is public, outermost, documented and used within its own file is worth
/// showing first.
fn rank(symbols: &mut [Symbol], references: &[(String, u32)]) {
    /// More uses than this say no more.
    const USES_MAX: u32 = 20;
    let uses: BTreeMap<&str, u32> = references
        .iter()
        .map(|(name, count)| (&**name, *count))
        .collect();
    for symbol in symbols {
        let visibility = match symbol.visibility {
            Visibility::Public => 20,
            Visibility::Restricted => 10,
            Visibility::Private => 0,
        };
        let kind = match symbol.kind {
            SymbolKind::Class | SymbolKind::Struct | SymbolKind::Trait | SymbolKind::Interface => {
                12
            }
            SymbolKind::Enum | SymbolKind::Function | SymbolKind::Type => 8,
            SymbolKind::Method | SymbolKind::Macro | SymbolKind::Module => 4,
            SymbolKind::Constant | SymbolKind::Heading | SymbolKind::Key => 2,
        };
        let place = if symbol.parent.is_empty() { 10 } else { 0 };
        let documented = if symbol.doc.is_empty() { 0 } else { 4 };
        let used = uses.get(&*symbol.name).copied().unwrap_or(0).min(USES_MAX);
        symbol.rank = visibility + kind + place + documented + used;
    }
}

fn find_main(symbols: &[Symbol], entry_points: &mut Vec<(String, u32)>, language: &str) {
    let is_main = |symbol: &&Symbol| {
        symbol.name == "main"
            && match language {
                "rust" | "go" | "c" | "cpp" => {
                    symbol.kind == SymbolKind::Function && symbol.parent.is_empty()
                }
                "java" => symbol.signature.contains("static void main"),
                _ => false,
            }
    };
    let found = symbols.iter().filter(is_main).take(4);
    entry_points.extend(found.map(|symbol| (symbol.name.clone(), symbol.range.start)));
}

/// The most used names. An import by name counts as a use.
fn keep_references(references: Vec<(String, u32)>, used: &[String]) -> Vec<Reference> {
    let mut counts: BTreeMap<String, u32> = references.into_iter().collect();
    for name in used {
        *counts.entry(name.clone()).or_default() += 1;
    }
    let mut kept: Vec<Reference> = counts
        .into_iter()
        .map(|(name, count)| Reference { name, count })
        .collect();
    kept.sort_by_key(|reference| std::cmp::Reverse(reference.count));
    kept.truncate(REFERENCES_MAX);
    kept
}

/// Tags, and what a test file tests.
fn mark(record: &mut ContextRecord, name: &[u8], content: &[u8]) {
    let name = String::from_utf8_lossy(name);
    let stem = name.split('.').next().unwrap_or_default();
    let subject = [
        stem.strip_prefix("test_"),
        stem.strip_suffix("_test"),
        stem.strip_suffix("_tests"),
        stem.strip_suffix("_spec"),
        stem.strip_suffix("Test"),
        stem.strip_suffix("Tests"),
        (name.contains(".test.") || name.contains(".spec.")).then_some(stem),
    ];
    if let Some(subject) = subject
        .into_iter()
        .flatten()
        .find(|subject| !subject.is_empty())
    {
        record.tags.push("test".to_owned());
        record.tests_for.push(subject.to_owned());
    } else if record
        .uri
        .segments()
        .any(|segment| matches!(&segment[..], b"test" | b"tests" | b"__tests__" | b"spec"))
    {
        record.tags.push("test".to_owned());
    }
    let head = &content[..content.len().min(1_000)];
    let says = |word: &[u8]| head.windows(word.len()).any(|window| window == word);
    if [&b"@generated"[..], b"DO NOT EDIT", b"Code generated by"]
        .iter()
        .any(|word| says(word))
    {
        record.tags.push("generated".to_owned());
    }
    if !record.entry_points.is_empty() {
        record.tags.push("entry_point".to_owned());
    }
}

/// The source's own words if it has some, else a count of what it declares.
fn one_line(record: &ContextRecord) -> String {
    let first_heading = record
        .symbols
        .iter()
        .find(|symbol| symbol.kind == SymbolKind::Heading);
    if let Some(heading) = first_heading {
        let lead = prose::first_sentence(&record.summary);
        let separator = if lead.is_empty() { "" } else { ": " };
        return prose::shorten(
            &format!("{}{separator}{lead}", heading.name),
            prose::LINE_BYTES_MAX,
        );
    }
    if !record.summary.is_empty() {
        return prose::first_sentence(&record.summary);
    }
    if record.bytes == 0 {
        return "empty file".to_owned();
    }
    let outermost: Vec<&Symbol> = record
        .symbols
        .iter()
        .filter(|symbol| symbol.parent.is_empty())
        .collect();
    if outermost.is_empty() {
        return format!("{}, {} lines", record.language, record.lines);
    }
    let mut best = outermost.clone();
    best.sort_by_key(|symbol| std::cmp::Reverse(symbol.rank));
    let names: Vec<&str> = best.iter().take(5).map(|symbol| &*symbol.name).collect();
    let more = if outermost.len() > names.len() {
        format!(" and {} more", outermost.len() - names.len())
    } else {
        String::new()
    };
    let what = if record.symbols[0].kind == SymbolKind::Key {
        " keys"
    } else {
        ""
    };
    prose::shorten(
        &format!("{}{what}: {}{more}", record.language, names.join(", ")),
        prose::LINE_BYTES_MAX,
    )
}
