//! Names every place that can have a context: `ucxl://PROJECT/path/in/tree`.
//!
//! The one parser and the one normaliser of addresses; the grammar is in
//! `docs/ADDRESS.md`. Knows no file system: whether an address names a file or
//! a folder stands in its record, not in the address.

use std::fmt;
use std::str::FromStr;

use arcstr::ArcStr;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::{ADDRESS_BYTES_MAX, PATH_SEGMENTS_MAX, PROJECT_BYTES_MAX};

#[cfg(test)]
mod tests;

/// What every address begins with.
pub const SCHEME: &str = "ucxl://";

/// A canonical address. Two addresses name the same place exactly if they are
/// equal. A name is bytes, as on disk: what is not plain ASCII stands
/// percent-encoded, so that an address is one line of ASCII for every tree. A copy
/// shares the text, and is a pointer wide: a queued job has two.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(ArcStr);

impl Address {
    /// Parses and normalises.
    ///
    /// # Errors
    /// Says what is wrong with the text, and at which byte.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let rest = after_scheme(text)?;
        let fail = |at: usize, problem: AddressProblem| Err(AddressError::new(text, at, problem));
        let mut canonical = String::with_capacity(text.len());
        canonical.push_str(SCHEME);
        let mut at = SCHEME.len();
        let pieces: Vec<&str> = rest.split('/').collect();
        let last = pieces.len() - 1;
        for (number, piece) in pieces.iter().enumerate() {
            if number > 0 {
                canonical.push('/');
            }
            if piece.is_empty() {
                match number {
                    0 => return fail(at, AddressProblem::NoProject),
                    // A slash at the end says "a folder", and adds nothing to the name.
                    _ if number == last => break,
                    _ => return fail(at, AddressProblem::EmptyName),
                }
            }
            let start = canonical.len();
            normalise_name(text, at, piece, &mut canonical)?;
            match &canonical[start..] {
                "." | ".." => return fail(at, AddressProblem::DotName),
                name if number == 0 && name.len() as u64 > PROJECT_BYTES_MAX => {
                    let found = name.len() as u64;
                    return fail(at, AddressProblem::ProjectTooLong { found });
                }
                _ => {}
            }
            if number as u64 > PATH_SEGMENTS_MAX {
                return fail(at, AddressProblem::TooDeep);
            }
            at += piece.len() + 1;
        }
        Address::finish(canonical, text)
    }

    /// The address of the whole project `name`; any bytes but `/` and NUL.
    ///
    /// # Errors
    /// If the name is empty, `.` or `..`, too long, or holds `/` or NUL.
    pub fn of_project(name: &[u8]) -> Result<Address, AddressError> {
        let mut canonical = String::from(SCHEME);
        push_name(&mut canonical, name)?;
        let found = (canonical.len() - SCHEME.len()) as u64;
        if found > PROJECT_BYTES_MAX {
            let problem = AddressProblem::ProjectTooLong { found };
            return Err(AddressError::new(&canonical, SCHEME.len(), problem));
        }
        canonical.push('/');
        Ok(Address(canonical.into()))
    }

    /// The address of the place called `name` directly inside this one.
    ///
    /// # Errors
    /// If the name is empty, `.` or `..`, holds `/` or NUL, or makes the
    /// address too long or too deep.
    pub fn child(&self, name: &[u8]) -> Result<Address, AddressError> {
        let mut canonical = String::with_capacity(self.0.len() + 1 + name.len());
        canonical.push_str(&self.0);
        if !self.is_project() {
            canonical.push('/');
        }
        let start = canonical.len();
        push_name(&mut canonical, name)?;
        if self.depth() + 1 > PATH_SEGMENTS_MAX {
            return Err(AddressError::new(
                &canonical,
                start,
                AddressProblem::TooDeep,
            ));
        }
        let text = canonical.clone();
        Address::finish(canonical, &text)
    }

    /// The place that this one is directly inside of; none for the project.
    #[must_use]
    pub fn parent(&self) -> Option<Address> {
        if self.is_project() {
            return None;
        }
        let cut = self
            .0
            .rfind('/')
            .expect("a canonical address has a slash after its project");
        // The slash after the project's name is part of the project's address.
        let end = if cut == self.path_start() - 1 {
            cut + 1
        } else {
            cut
        };
        Some(Address(self.0[..end].into()))
    }

    /// Whether this names the project as a whole.
    #[must_use]
    pub fn is_project(&self) -> bool {
        self.0.len() == self.path_start()
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The project's name, percent-encoded as in the canonical text.
    #[must_use]
    pub fn project(&self) -> &str {
        &self.0[SCHEME.len()..self.path_start() - 1]
    }

    /// The path within the project, percent-encoded; empty for the project.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0[self.path_start()..]
    }

    /// The names on the way from the project to this place, as bytes on disk.
    pub fn segments(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.path()
            .split('/')
            .filter(|piece| !piece.is_empty())
            .map(decode)
    }

    /// The path within the project as bytes on disk, its names separated by `/`.
    #[must_use]
    pub fn path_bytes(&self) -> Vec<u8> {
        // No name holds a slash, so decoding cannot make a separator.
        decode(self.path())
    }

    /// The last name, as bytes on disk; the project's own for the project.
    #[must_use]
    pub fn name(&self) -> Vec<u8> {
        if self.is_project() {
            return decode(self.project());
        }
        decode(self.path().rsplit('/').next().unwrap_or_default())
    }

    /// How many names are between the project and this place, its own included.
    #[must_use]
    pub fn depth(&self) -> u64 {
        match self.path() {
            "" => 0,
            path => path.bytes().filter(|byte| *byte == b'/').count() as u64 + 1,
        }
    }

    /// Whether `other` is this place or anywhere inside it.
    #[must_use]
    pub fn contains(&self, other: &Address) -> bool {
        match other.0.strip_prefix(&*self.0) {
            Some(rest) => rest.is_empty() || rest.starts_with('/') || self.is_project(),
            None => false,
        }
    }

    fn path_start(&self) -> usize {
        let slash = self.0[SCHEME.len()..].find('/');
        SCHEME.len() + slash.expect("a canonical address has a slash after its project") + 1
    }

    fn finish(mut canonical: String, text: &str) -> Result<Address, AddressError> {
        if !canonical[SCHEME.len()..].contains('/') {
            canonical.push('/');
        } else if canonical.ends_with('/')
            && canonical[SCHEME.len()..].find('/') != Some(canonical.len() - SCHEME.len() - 1)
        {
            canonical.pop();
        }
        let found = canonical.len() as u64;
        if found > ADDRESS_BYTES_MAX {
            let at = text.len().min(ADDRESS_BYTES_MAX as usize);
            return Err(AddressError::new(
                text,
                at,
                AddressProblem::TooLong { found },
            ));
        }
        Ok(Address(canonical.into()))
    }
}

fn after_scheme(text: &str) -> Result<&str, AddressError> {
    let wrong = text
        .bytes()
        .zip(SCHEME.bytes())
        .position(|(found, wanted)| found.to_ascii_lowercase() != wanted)
        .or_else(|| (text.len() < SCHEME.len()).then_some(text.len()));
    match wrong {
        Some(at) => Err(AddressError::new(text, at, AddressProblem::NoScheme)),
        None => Ok(&text[SCHEME.len()..]),
    }
}

/// Appends the canonical form of one written name. `at` is where it begins in `text`.
fn normalise_name(
    text: &str,
    at: usize,
    piece: &str,
    out: &mut String,
) -> Result<(), AddressError> {
    let bytes = piece.as_bytes();
    let mut position = 0;
    while position < bytes.len() {
        let byte = bytes[position];
        let fail = |problem| Err(AddressError::new(text, at + position, problem));
        match byte {
            b'%' => {
                let Some(decoded) = hex_pair(bytes.get(position + 1..position + 3)) else {
                    return fail(AddressProblem::BadEscape);
                };
                if decoded == b'/' || decoded == 0 {
                    return fail(AddressProblem::EscapeOfNoName);
                }
                push_byte(out, decoded);
                position += 3;
                continue;
            }
            b'?' | b'#' | b'\\' | b' ' | 0x00..=0x1f | 0x7f => {
                return fail(AddressProblem::MustBeEncoded { byte });
            }
            _ => push_byte(out, byte),
        }
        position += 1;
    }
    Ok(())
}

/// Appends the canonical form of a name as it is on disk.
fn push_name(out: &mut String, name: &[u8]) -> Result<(), AddressError> {
    let start = out.len();
    let bad = name.iter().any(|byte| *byte == b'/' || *byte == 0);
    name.iter().for_each(|byte| push_byte(out, *byte));
    match name {
        b"" => Err(AddressError::new(out, start, AddressProblem::EmptyName)),
        b"." | b".." => Err(AddressError::new(out, start, AddressProblem::DotName)),
        _ if bad => Err(AddressError::new(
            out,
            start,
            AddressProblem::EscapeOfNoName,
        )),
        _ => Ok(()),
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@[]{}".contains(&byte)
}

fn push_byte(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if is_plain(byte) {
        out.push(char::from(byte));
    } else {
        out.push('%');
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

fn hex_pair(pair: Option<&[u8]>) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    match pair {
        Some(&[high, low]) => Some((digit(high)? * 16 + digit(low)?) as u8),
        _ => None,
    }
}

/// Undoes [`push_byte`] over canonical text.
fn decode(canonical: &str) -> Vec<u8> {
    let bytes = canonical.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut position = 0;
    while position < bytes.len() {
        match (
            bytes[position],
            hex_pair(bytes.get(position + 1..position + 3)),
        ) {
            (b'%', Some(byte)) => {
                out.push(byte);
                position += 3;
            }
            (byte, _) => {
                out.push(byte);
                position += 1;
            }
        }
    }
    out
}

/// What is wrong with a text that should be an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressProblem {
    /// It does not begin with [`SCHEME`].
    #[error("an address begins with {SCHEME}, for example {SCHEME}my-project/src/main.rs")]
    NoScheme,
    /// Nothing between the scheme and the first slash.
    #[error("the project's name is missing after {SCHEME}")]
    NoProject,
    /// The project's name is longer than [`PROJECT_BYTES_MAX`].
    #[error(
        "the project's name is {found} bytes; the limit is {PROJECT_BYTES_MAX}; choose a shorter one with --project"
    )]
    ProjectTooLong {
        /// Its length, percent-encoded.
        found: u64,
    },
    /// Two slashes in a row.
    #[error("a name is missing here; write one slash between names")]
    EmptyName,
    /// A name is `.` or `..`.
    #[error("`.` and `..` are not names; write the full path within the project")]
    DotName,
    /// A percent sign without two hexadecimal digits.
    #[error(
        "`%` must be followed by two hexadecimal digits; a percent sign in a name is written %25"
    )]
    BadEscape,
    /// An encoded slash or NUL.
    #[error("no name can contain a slash or NUL, encoded or not")]
    EscapeOfNoName,
    /// A byte that an address cannot hold as it is.
    #[error("this character must be written %{byte:02X}")]
    MustBeEncoded {
        /// The byte.
        byte: u8,
    },
    /// More names than [`PATH_SEGMENTS_MAX`].
    #[error("the path has more than {PATH_SEGMENTS_MAX} names")]
    TooDeep,
    /// Longer than [`ADDRESS_BYTES_MAX`] in canonical form.
    #[error("the address is {found} bytes; the limit is {ADDRESS_BYTES_MAX}")]
    TooLong {
        /// Its length.
        found: u64,
    },
}

/// Why a text is not an address, and where. `Display` prints three lines: the
/// problem, the text, and a caret under the character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError {
    /// The text as it was given.
    pub text: String,
    /// The byte offset in `text` where the problem begins.
    pub at: u64,
    /// The problem.
    pub problem: AddressProblem,
}

impl std::error::Error for AddressError {}

impl AddressError {
    fn new(text: &str, at: usize, problem: AddressProblem) -> AddressError {
        AddressError {
            text: text.to_owned(),
            at: at as u64,
            problem,
        }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Characters shown before and after the caret.
        const SHOWN: usize = 60;
        let at = usize::try_from(self.at).unwrap_or(usize::MAX);
        let before: Vec<char> = self
            .text
            .char_indices()
            .take_while(|(byte, _)| *byte < at)
            .map(|(_, c)| c)
            .collect();
        let after = self.text.chars().skip(before.len()).take(SHOWN);
        // A control character would break the line that the caret stands under.
        let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        let start = before.len().saturating_sub(SHOWN);
        let more = if start > 0 { "..." } else { "" };
        let line: String = before[start..]
            .iter()
            .copied()
            .chain(after)
            .map(visible)
            .collect();
        writeln!(f, "{} (at byte {})", self.problem, self.at)?;
        writeln!(f, "  {more}{line}")?;
        write!(
            f,
            "  {:width$}^",
            "",
            width = more.len() + before.len() - start
        )
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        Address::parse(text)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
        let people_write_it = deserializer.is_human_readable();
        let text = String::deserialize(deserializer)?;
        let address = Address::parse(&text).map_err(D::Error::custom)?;
        // Bytes between machines have one form; only people may write another.
        if !people_write_it && *address.0 != *text {
            return Err(D::Error::custom(format!(
                "{text:?} is not the canonical form of {address}"
            )));
        }
        Ok(address)
    }
}
