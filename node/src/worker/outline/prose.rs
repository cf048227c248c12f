//! Short texts out of long ones: signatures, first lines, first paragraphs, and
//! an estimate of tokens. Works on bytes; what is not UTF-8 is replaced.

/// Longest signature, in bytes.
pub(super) const SIGNATURE_BYTES_MAX: usize = 240;
/// Longest line of documentation, in bytes.
pub(super) const LINE_BYTES_MAX: usize = 160;
/// Longest paragraph, in bytes.
pub(super) const PARAGRAPH_BYTES_MAX: usize = 480;
/// Longest name, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 128;

/// `bytes` as text, every run of whitespace one space, cut to `bytes_max`.
pub(super) fn fold(bytes: &[u8], bytes_max: usize) -> String {
    let mut folded = Vec::with_capacity(bytes.len().min(bytes_max + 4));
    for byte in bytes {
        if byte.is_ascii_whitespace() {
            if !folded.is_empty() && folded.last() != Some(&b' ') {
                folded.push(b' ');
            }
        } else if byte.is_ascii_control() {
            continue;
        } else {
            folded.push(*byte);
        }
        if folded.len() > bytes_max + 4 {
            break;
        }
    }
    let text = String::from_utf8_lossy(&folded);
    shorten(text.trim_end(), bytes_max)
}

/// `text`, or as much of it as fits with a mark that something is missing.
pub(super) fn shorten(text: &str, bytes_max: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub(MARK.len()));
    format!("{}{MARK}", text[..end].trim_end())
}

/// A name: trimmed, and of a bounded length.
pub(super) fn name(bytes: &[u8]) -> String {
    fold(bytes, NAME_BYTES_MAX)
}

/// The lines of a comment or docstring without the marks of its language.
fn bare_lines(comment: &[u8]) -> impl Iterator<Item = &[u8]> {
    comment.split(|byte| *byte == b'\n').map(|line| {
        let mut line = line.trim_ascii();
        for mark in [
            &b"/**"[..],
            b"/*!",
            b"/*",
            b"///",
            b"//!",
            b"//",
            b"#!",
            b"##",
            b"#",
            b"*/",
            b"*",
            b"<!--",
            b"--",
        ] {
            if let Some(rest) = line.strip_prefix(mark) {
                line = rest;
                break;
            }
        }
        let line = line.strip_suffix(b"*/").unwrap_or(line).trim_ascii();
        // A line of dashes or stars is an ornament.
        let ornament = line.len() > 2 && line.iter().all(|byte| b"-=*#/~+".contains(byte));
        if ornament { &[][..] } else { line }
    })
}

/// The first line of a comment that says something.
pub(super) fn first_line(comment: &[u8]) -> String {
    let line = bare_lines(comment)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    fold(line, LINE_BYTES_MAX)
}

/// The first paragraph of a comment.
pub(super) fn first_paragraph(comment: &[u8]) -> String {
    let mut paragraph = Vec::new();
    let lines = bare_lines(comment).skip_while(|line| line.is_empty());
    for line in lines.take_while(|line| !line.is_empty()) {
        paragraph.extend_from_slice(line);
        paragraph.push(b' ');
        if paragraph.len() > PARAGRAPH_BYTES_MAX * 2 {
            break;
        }
    }
    fold(&paragraph, PARAGRAPH_BYTES_MAX)
}

/// The first sentence of a paragraph.
pub(super) fn first_sentence(paragraph: &str) -> String {
    let end = paragraph.find(". ").map_or(paragraph.len(), |at| at + 1);
    shorten(&paragraph[..end], LINE_BYTES_MAX)
}

/// Whether a comment is about rights, not about the code.
pub(super) fn is_licence(comment: &[u8]) -> bool {
    let head = comment[..comment.len().min(600)].to_ascii_lowercase();
    let holds = |word: &[u8]| head.windows(word.len()).any(|window| window == word);
    [&b"copyright"[..], b"license", b"licence", b"spdx-"]
        .iter()
        .any(|word| holds(word))
}

/// A string literal without its prefix and quotes.
pub(super) fn unquote(literal: &[u8]) -> &[u8] {
    let literal = literal.trim_ascii();
    let quote = |byte: &u8| matches!(byte, b'"' | b'\'' | b'`' | b'<');
    let Some(start) = literal.iter().position(quote) else {
        return literal;
    };
    let body = &literal[start..];
    let mark = body[0];
    let long = body.len() >= 6 && body[1] == mark && body[2] == mark;
    let width = if long { 3 } else { 1 };
    let body = &body[width.min(body.len())..];
    &body[..body.len().saturating_sub(width)]
}

/// Estimates the tokens of a text in one pass. Language models split text into
/// pieces much like this: words in pieces of about six letters, numbers by
/// three digits, a run of blanks one piece, marks one piece for every two, and
/// bytes outside ASCII one piece for every two. A vocabulary would be exact
/// for one model only, and slower than the parser.
pub(super) fn estimate_tokens(bytes: &[u8]) -> u64 {
    #[derive(Clone, Copy, PartialEq)]
    enum Class {
        Letter,
        Digit,
        Blank,
        Mark,
        Foreign,
    }
    let class = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
        b'0'..=b'9' => Class::Digit,
        0..=b' ' | 0x7f => Class::Blank,
        0x80.. => Class::Foreign,
        _ => Class::Mark,
    };
    let mut tokens = 0;
    for run in bytes.chunk_by(|a, b| class(*a) == class(*b)) {
        let length = run.len() as u64;
        tokens += match class(run[0]) {
            Class::Letter => length.div_ceil(6),
            Class::Digit => length.div_ceil(3),
            // One space goes with the word after it.
            Class::Blank => u64::from(run != b" "),
            Class::Mark | Class::Foreign => length.div_ceil(2),
        };
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_keeps_words_and_cuts_at_a_character() {
        assert_eq!(fold(b"  fn  a(\n\tb: u8,\r\n) ", 100), "fn a( b: u8, )");
        let cut = fold("éééééééééé".as_bytes(), 9);
        assert!(cut.ends_with('…') && cut.len() <= 9, "{cut}");
        assert_eq!(fold(b"a\xffb", 100), "a\u{fffd}b");
    }

    #[test]
    fn comments_lose_their_marks() {
        assert_eq!(
            first_line(b"/**\n * Does it.\n * @param x\n */"),
            "Does it."
        );
        assert_eq!(first_line(b"/// Does it.\n/// More."), "Does it.");
        assert_eq!(first_line(b"# -----\n# Does it."), "Does it.");
        assert_eq!(
            first_paragraph(b"//! One\n//! two.\n//!\n//! Three."),
            "One two."
        );
        assert_eq!(first_sentence("One two. Three."), "One two.");
        assert!(is_licence(b"// Copyright 2020"));
    }

    #[test]
    fn quotes_come_off_once() {
        assert_eq!(unquote(b"\"os\""), b"os");
        assert_eq!(unquote(b"r'''doc'''"), b"doc");
        assert_eq!(unquote(b"<stdio.h>"), b"stdio.h");
        assert_eq!(unquote(b"\""), b"");
        assert_eq!(unquote(b"''"), b"");
    }

    #[test]
    fn tokens_grow_with_text_and_not_with_indentation() {
        assert_eq!(estimate_tokens(b""), 0);
        assert_eq!(estimate_tokens(b"return value"), 2);
        let flat = estimate_tokens(b"a = 1\nb = 2\n");
        assert_eq!(estimate_tokens(b"a = 1\n        b = 2\n"), flat);
    }
}
