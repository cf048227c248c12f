//! Outlines of what has no grammar here: headings, keys, sections, first
//! lines. Each reader is one pass over the lines, and takes any bytes.

use precentor_core::context::{LineRange, SliceDigest, Symbol, SymbolKind, Visibility};

use super::prose;

/// Headings or keys of one file, at most.
const ENTRIES_MAX: usize = 400;
/// How much of a value is shown beside its key, in bytes.
const VALUE_BYTES_MAX: usize = 100;

/// What a reader found.
#[derive(Debug, Default)]
pub(super) struct TextOutline {
    pub(super) symbols: Vec<Symbol>,
    /// The first paragraph that says something.
    pub(super) lead: String,
    pub(super) dropped: u64,
}

impl TextOutline {
    fn push(&mut self, kind: SymbolKind, name: String, signature: String, line: u32, rank: u32) {
        if name.is_empty() {
            return;
        }
        if self.symbols.len() >= ENTRIES_MAX {
            self.dropped += 1;
            return;
        }
        self.symbols.push(Symbol {
            name,
            kind,
            visibility: Visibility::Public,
            signature,
            doc: String::new(),
            range: LineRange {
                start: line,
                end: line,
            },
            parent: String::new(),
            digest: SliceDigest([0; 8]),
            rank,
        });
    }

    /// Ends every entry where the next one of its height begins, and digests it.
    fn close(
        mut self,
        source: &[u8],
        last_line: u32,
        height: impl Fn(&Symbol) -> u32,
    ) -> TextOutline {
        let starts: Vec<usize> = line_starts(source);
        let heights: Vec<u32> = self.symbols.iter().map(height).collect();
        // The open entries around the current one, as indices.
        let mut open: Vec<usize> = Vec::new();
        for index in 0..self.symbols.len() {
            let line = self.symbols[index].range.start;
            while let Some(above) = open.pop_if(|above| heights[*above] >= heights[index]) {
                self.symbols[above].range.end =
                    line.saturating_sub(1).max(self.symbols[above].range.start);
            }
            let path: Vec<&str> = open
                .iter()
                .map(|above| &*self.symbols[*above].name)
                .collect();
            self.symbols[index].parent =
                prose::shorten(&path.join(" / "), prose::SIGNATURE_BYTES_MAX);
            open.push(index);
        }
        for index in open {
            let symbol = &mut self.symbols[index];
            symbol.range.end = last_line.max(symbol.range.start);
        }
        for symbol in &mut self.symbols {
            let at = |line: u32| starts.get(line as usize).copied().unwrap_or(source.len());
            let slice = source.get(at(symbol.range.start - 1)..at(symbol.range.end));
            symbol.digest = SliceDigest::of(slice.unwrap_or_default());
        }
        self
    }
}

fn line_starts(source: &[u8]) -> Vec<usize> {
    let after = |(at, byte): (usize, &u8)| (*byte == b'\n').then_some(at + 1);
    std::iter::once(0)
        .chain(source.iter().enumerate().filter_map(after))
        .collect()
}

/// The lines with their numbers from 1.
fn lines(source: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    (1..).zip(
        source
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line)),
    )
}

fn last_line(source: &[u8]) -> u32 {
    let newlines = source.iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(newlines + usize::from(source.last().is_some_and(|byte| *byte != b'\n')))
        .unwrap_or(u32::MAX)
}

/// Headings, of both forms, outside fenced code.
pub(super) fn markdown(source: &[u8]) -> TextOutline {
    let mut outline = TextOutline::default();
    let mut fence: Option<&[u8]> = None;
    let mut previous: &[u8] = b"";
    let mut lead = Vec::new();
    let mut lead_done = false;
    for (number, line) in lines(source) {
        let bare = line.trim_ascii();
        let mark = [&b"```"[..], b"~~~"]
            .into_iter()
            .find(|mark| bare.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            _ => {}
        }
        if fence.is_some() || mark.is_some() {
            lead_done |= !lead.is_empty();
            continue;
        }
        let level = bare.iter().take_while(|byte| **byte == b'#').count();
        let underline = bare.len() >= 2
            && (bare.iter().all(|byte| *byte == b'=') || bare.iter().all(|byte| *byte == b'-'));
        if (1..=6).contains(&level) && bare.get(level).is_none_or(u8::is_ascii_whitespace) {
            let title = bare[level..].trim_ascii();
            heading(&mut outline, title, level, number);
            lead_done |= !lead.is_empty();
        } else if underline && !previous.is_empty() && number > 1 {
            let level = if bare[0] == b'=' { 1 } else { 2 };
            heading(&mut outline, previous, level, number - 1);
            if lead.starts_with(previous) {
                lead.clear();
            }
        } else if bare.is_empty() {
            lead_done |= !lead.is_empty();
        } else if !lead_done && !b"[!<|>".contains(&bare[0]) {
            lead.extend_from_slice(bare);
            lead.push(b' ');
        }
        previous = bare;
    }
    outline.lead = prose::fold(&lead, prose::PARAGRAPH_BYTES_MAX);
    let level = |symbol: &Symbol| {
        symbol
            .signature
            .bytes()
            .take_while(|byte| *byte == b'#')
            .count() as u32
    };
    outline.close(source, last_line(source), level)
}

fn heading(outline: &mut TextOutline, title: &[u8], level: usize, line: u32) {
    let title = prose::fold(title, prose::LINE_BYTES_MAX);
    let title = title.trim_end_matches('#').trim_end();
    let signature = format!("{} {title}", "#".repeat(level));
    outline.push(
        SymbolKind::Heading,
        title.to_owned(),
        signature,
        line,
        7 - level.min(6) as u32,
    );
}

/// `[section]` and the keys before the first of them.
pub(super) fn sections(source: &[u8]) -> TextOutline {
    let mut outline = TextOutline {
        lead: lead_comment(source),
        ..TextOutline::default()
    };
    let mut in_section = false;
    // Within a string or list of several lines nothing is a key.
    let mut string_mark: Option<&[u8]> = None;
    let mut brackets: i64 = 0;
    for (number, line) in lines(source) {
        let bare = line.trim_ascii();
        if let Some(mark) = string_mark {
            if contains(bare, mark) {
                string_mark = None;
            }
            continue;
        }
        if brackets > 0 {
            brackets += bracket_balance(bare);
            continue;
        }
        if bare.first() == Some(&b'[') && bare.last() == Some(&b']') {
            let name = bare
                .trim_ascii()
                .iter()
                .copied()
                .filter(|byte| !b"[]".contains(byte))
                .collect::<Vec<u8>>();
            in_section = true;
            let signature = prose::fold(bare, prose::LINE_BYTES_MAX);
            outline.push(SymbolKind::Key, prose::name(&name), signature, number, 4);
            continue;
        }
        let Some(equals) = bare.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        if b"#;".contains(&bare[0]) {
            continue;
        }
        let value = &bare[equals + 1..];
        let open = |mark: &&&[u8]| count(value, mark) % 2 == 1;
        string_mark = [&b"\"\"\""[..], b"'''"].iter().find(open).copied();
        brackets = bracket_balance(value).max(0);
        if !in_section {
            let name = prose::name(bare[..equals].trim_ascii());
            outline.push(
                SymbolKind::Key,
                name,
                prose::fold(bare, VALUE_BYTES_MAX),
                number,
                2,
            );
        }
    }
    outline.close(source, last_line(source), |_| 1)
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

fn count(text: &[u8], word: &[u8]) -> usize {
    text.windows(word.len())
        .filter(|window| *window == word)
        .count()
}

/// How many more brackets open than close, outside strings and comments.
fn bracket_balance(line: &[u8]) -> i64 {
    let mut quote = None;
    let mut balance = 0;
    for byte in line {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            (None, b'#') => break,
            (None, b'[') => balance += 1,
            (None, b']') => balance -= 1,
            _ => {}
        }
    }
    balance
}

/// Keys at the left edge.
pub(super) fn yaml(source: &[u8]) -> TextOutline {
    let mut outline = TextOutline {
        lead: lead_comment(source),
        ..TextOutline::default()
    };
    for (number, line) in lines(source) {
        if line
            .first()
            .is_none_or(|byte| byte.is_ascii_whitespace() || b"#-{}[]%|>".contains(byte))
        {
            continue;
        }
        let colon = line.windows(2).position(|pair| pair == b": ");
        let colon = colon.or_else(|| line.trim_ascii_end().strip_suffix(b":").map(<[u8]>::len));
        if let Some(colon) = colon {
            let name = prose::name(prose::unquote(&line[..colon]));
            outline.push(
                SymbolKind::Key,
                name,
                prose::fold(line, VALUE_BYTES_MAX),
                number,
                3,
            );
        }
    }
    outline.close(source, last_line(source), |_| 1)
}

/// The keys of the outermost object: a scan that needs no valid document.
pub(super) fn json(source: &[u8]) -> TextOutline {
    let mut outline = TextOutline::default();
    let (mut depth, mut line, mut at) = (0_i64, 1_u32, 0);
    // The last string at depth 1, while it may be a key.
    let mut candidate: Option<(usize, usize, u32)> = None;
    while at < source.len() {
        match source[at] {
            b'\n' => line += 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => {
                let (start, start_line) = (at, line);
                at += 1;
                while at < source.len() && source[at] != b'"' {
                    line += u32::from(source[at] == b'\n');
                    at += if source[at] == b'\\' { 2 } else { 1 };
                }
                candidate = (depth == 1).then_some((start, at.min(source.len()), start_line));
            }
            b':' if depth == 1 => {
                if let Some((start, end, key_line)) = candidate.take() {
                    let name = prose::name(&source[start + 1..end]);
                    let shown = &source[start..source.len().min(at + VALUE_BYTES_MAX * 2)];
                    let shown = match name.as_str() {
                        // What a package says of itself is worth its room.
                        "description" => prose::fold(shown, prose::LINE_BYTES_MAX),
                        _ => json_preview(shown),
                    };
                    outline.push(SymbolKind::Key, name, shown, key_line, 3);
                }
            }
            _ => {}
        }
        at += 1;
    }
    outline.close(source, last_line(source), |_| 1)
}

/// The key and the beginning of its value, on one line.
fn json_preview(text: &[u8]) -> String {
    let end = text
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(text.len());
    prose::fold(
        text[..end]
            .trim_ascii_end()
            .strip_suffix(b",")
            .unwrap_or(&text[..end]),
        VALUE_BYTES_MAX,
    )
}

/// The first paragraph.
pub(super) fn plain(source: &[u8]) -> TextOutline {
    let head = &source[..source.len().min(16 * 1024)];
    let mut lead = Vec::new();
    for (_, line) in lines(head).skip_while(|(_, line)| line.trim_ascii().is_empty()) {
        if line.trim_ascii().is_empty() {
            break;
        }
        lead.extend_from_slice(line);
        lead.push(b' ');
    }
    TextOutline {
        lead: prose::fold(&lead, prose::PARAGRAPH_BYTES_MAX),
        ..TextOutline::default()
    }
}

/// The first comment.
pub(super) fn script(source: &[u8]) -> TextOutline {
    TextOutline {
        lead: lead_comment(source),
        ..TextOutline::default()
    }
}

/// The comment at the top of a file that has no declarations.
fn lead_comment(source: &[u8]) -> String {
    top_comment(source, |_| false)
}

/// The first paragraph of the comment at the top of a program, whatever marks its
/// language has; a licence is passed over. Empty if the comment is directly
/// followed by a declaration, which it then describes.
pub(super) fn head_comment(source: &[u8]) -> String {
    top_comment(source, describes_next)
}

fn top_comment(source: &[u8], is_of_next: fn(&[u8]) -> bool) -> String {
    let head = &source[..source.len().min(32 * 1024)];
    let mut at = if head.starts_with(b"#!") {
        line_end(head, 0)
    } else {
        0
    };
    // Marks of editors, licences and switches come in a few blocks at most.
    for _ in 0..4 {
        while at < head.len() && head[at].is_ascii_whitespace() {
            at += 1;
        }
        let end = comment_end(head, at);
        if end == at {
            return String::new();
        }
        let comment = &head[at..end];
        at = end;
        let is_mark = contains(comment, b"-*-")
            || comment.starts_with(b"//go:")
            || comment.starts_with(b"// +build");
        if prose::is_licence(comment) || is_mark {
            continue;
        }
        let is_inner = comment.starts_with(b"//!") || comment.starts_with(b"/*!");
        if !is_inner && is_of_next(&head[end..]) {
            return String::new();
        }
        return prose::first_paragraph(comment);
    }
    String::new()
}

/// Whether a comment that ends before `rest` is about a declaration there.
fn describes_next(rest: &[u8]) -> bool {
    let rest = rest.strip_prefix(b"\r").unwrap_or(rest);
    let next = rest.strip_prefix(b"\n").unwrap_or(rest);
    let line = &next[..line_end(next, 0)];
    let bare = line.trim_ascii();
    let of_the_file: [&[u8]; 12] = [
        b"#include",
        b"#ifndef",
        b"#pragma",
        b"#define",
        b"import",
        b"package",
        b"use ",
        b"'use",
        b"\"use",
        b"from ",
        b"const ",
        b"set ",
    ];
    !bare.is_empty() && !of_the_file.iter().any(|word| bare.starts_with(word))
}

fn line_end(text: &[u8], from: usize) -> usize {
    text[from..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(text.len(), |at| from + at + 1)
}

/// Where the comment that begins at `at` ends; `at` if none does.
fn comment_end(text: &[u8], at: usize) -> usize {
    let rest = &text[at..];
    if rest.starts_with(b"/*") || rest.starts_with(b"<!--") {
        let close: &[u8] = if rest[0] == b'/' { b"*/" } else { b"-->" };
        let length = rest.windows(close.len()).position(|window| window == close);
        return length.map_or(text.len(), |length| at + length + close.len());
    }
    let Some(mark) = [&b"//"[..], b"#", b"--", b";"]
        .into_iter()
        .find(|mark| rest.starts_with(mark))
    else {
        return at;
    };
    if [&b"#include"[..], b"#if", b"#define", b"#pragma", b"#["]
        .iter()
        .any(|word| rest.starts_with(word))
    {
        return at;
    }
    let mut end = at;
    while end < text.len() && text[end..].trim_ascii_start().starts_with(mark) {
        let next = line_end(text, end);
        // A blank line ends it.
        if text[end..next].trim_ascii().is_empty() {
            break;
        }
        end = next;
    }
    // The newline after the last line belongs to what follows.
    if text[..end].ends_with(b"\n") {
        end - 1
    } else {
        end
    }
}
