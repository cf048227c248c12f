//! What is known of one place: the record that an engine makes, the cluster
//! stores and a reader asks for. Knows neither how records are made nor how
//! they are shown. Field names are the words of the JSON interface.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::address::Address;
use crate::digest::Digest;

/// What kind of place a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContextKind {
    /// A file, or a symbolic link.
    File,
    /// A folder within the project.
    Folder,
    /// The project as a whole.
    Project,
}

/// Everything that is known of one place. The same source bytes give the same
/// record on every machine. A list that does not apply is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextRecord {
    /// The place.
    pub uri: Address,
    /// What it is.
    pub kind: ContextKind,
    /// Digest of the file's bytes, or the Merkle digest of the folder.
    #[serde(with = "digest_text")]
    pub content_digest: Digest,
    /// The language of a file (`rust`, `markdown`, `text`, `binary`, `symlink`); of a
    /// folder the one with the most lines; empty if there is none.
    pub language: String,
    /// Bytes of the file, or of all files in the folder.
    pub bytes: u64,
    /// Lines of the same.
    pub lines: u64,
    /// A cheap estimate of the tokens of the same (see the outline engine).
    pub tokens: u64,
    /// Level 0: what this is, in one line.
    pub one_line: String,
    /// Level 1: its role, in a few lines, taken from the source's own words.
    pub summary: String,
    /// Level 2: what a file declares, in source order.
    pub symbols: Vec<Symbol>,
    /// What a file imports, in source order.
    pub imports: Vec<Import>,
    /// What most files of a folder import from outside their own folder, with
    /// the number of files that do.
    pub depends_on: Vec<Reference>,
    /// Names that a file lists as its interface (`__all__`, `export { … }`).
    pub exports: Vec<String>,
    /// The names of functions and types used most, for ranking across files.
    pub references: Vec<Reference>,
    /// Where execution begins.
    pub entry_points: Vec<EntryPoint>,
    /// What a test file tests, as its name says it.
    pub tests_for: Vec<String>,
    /// What is directly inside a folder.
    pub children: Vec<Child>,
    /// The highest-ranked symbols of a folder; of a project this is its repo map.
    pub surface: Vec<SurfaceSymbol>,
    /// What a folder consists of, by language, most lines first.
    pub languages: Vec<LanguageTotal>,
    /// How to build, test and run, as the project's own files say it.
    pub commands: Vec<ProjectCommand>,
    /// Short marks: `test`, `generated`, `oversize`, ….
    pub tags: Vec<String>,
    /// What was wrong with the source, or had to be left out of the record.
    pub warnings: Vec<String>,
    /// What this record should have known and did not.
    pub incomplete: Vec<Gap>,
    /// What made this record.
    pub provenance: Provenance,
}

impl ContextRecord {
    /// A record that says nothing yet.
    #[must_use]
    pub fn new(
        uri: Address,
        kind: ContextKind,
        content_digest: Digest,
        provenance: Provenance,
    ) -> ContextRecord {
        ContextRecord {
            uri,
            kind,
            content_digest,
            language: String::new(),
            bytes: 0,
            lines: 0,
            tokens: 0,
            one_line: String::new(),
            summary: String::new(),
            symbols: Vec::new(),
            imports: Vec::new(),
            depends_on: Vec::new(),
            exports: Vec::new(),
            references: Vec::new(),
            entry_points: Vec::new(),
            tests_for: Vec::new(),
            children: Vec::new(),
            surface: Vec::new(),
            languages: Vec::new(),
            commands: Vec::new(),
            tags: Vec::new(),
            warnings: Vec::new(),
            incomplete: Vec::new(),
            provenance,
        }
    }
}

/// The kinds of symbols, over all languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SymbolKind {
    /// A function outside any type.
    Function,
    /// A function of a type.
    Method,
    /// A class.
    Class,
    /// A struct or union.
    Struct,
    /// An enumeration.
    Enum,
    /// A Rust trait.
    Trait,
    /// A Java, Go or TypeScript interface.
    Interface,
    /// A type alias or other named type.
    Type,
    /// A constant or a static value.
    Constant,
    /// A macro.
    Macro,
    /// A module or namespace.
    Module,
    /// A heading of a text.
    Heading,
    /// A key of a configuration file.
    Key,
}

/// Who may use a symbol, as far as its own declaration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Everyone.
    Public,
    /// The same package, crate or family of classes.
    Restricted,
    /// Only the file, type or function around it.
    Private,
}

/// One declaration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbol {
    /// Its own name.
    pub name: String,
    /// What it is.
    pub kind: SymbolKind,
    /// Who may use it.
    pub visibility: Visibility,
    /// Its text without the body, whitespace folded.
    pub signature: String,
    /// The first line of its documentation; empty if it has none.
    pub doc: String,
    /// Where it stands.
    pub range: LineRange,
    /// The names around it, outermost first, joined as its language does; empty at the top.
    pub parent: String,
    /// Of its text, to notice when it changes.
    pub digest: SliceDigest,
    /// Higher is more worth showing.
    pub rank: u32,
}

/// Lines from `start` to `end`, both included, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LineRange {
    /// The first line.
    pub start: u32,
    /// The last line.
    pub end: u32,
}

/// The first eight bytes of a BLAKE3 digest: enough to notice a change of one
/// symbol, and a quarter of the room. Hexadecimal where people read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SliceDigest(pub [u8; 8]);

impl SliceDigest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> SliceDigest {
        let mut short = [0; 8];
        short.copy_from_slice(&Digest::of(bytes).0[..8]);
        SliceDigest(short)
    }
}

impl Serialize for SliceDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = u64::from_be_bytes(self.0);
        if serializer.is_human_readable() {
            serializer.collect_str(&format_args!("{number:016x}"))
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for SliceDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SliceDigest, D::Error> {
        use serde::de::Error as _;
        if !deserializer.is_human_readable() {
            return <[u8; 8]>::deserialize(deserializer).map(SliceDigest);
        }
        let text = String::deserialize(deserializer)?;
        let number = u64::from_str_radix(&text, 16).map_err(D::Error::custom)?;
        Ok(SliceDigest(number.to_be_bytes()))
    }
}

/// Something that a file asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// The module, package, header or path, as written.
    pub target: String,
    /// The line, from 1.
    pub line: u32,
}

/// A name that is used: of a function, a type or a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The name.
    pub name: String,
    /// How often.
    pub count: u32,
}

/// Where execution begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPoint {
    /// The file.
    pub uri: Address,
    /// What begins there.
    pub name: String,
    /// The line, from 1.
    pub line: u32,
}

/// What is directly inside a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// The place.
    pub uri: Address,
    /// What it is.
    pub kind: ContextKind,
    /// Its own level 0.
    pub one_line: String,
    /// Its own estimate of tokens.
    pub tokens: u64,
}

/// A symbol that a folder or project offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SurfaceSymbol {
    /// The file that declares it.
    pub uri: Address,
    /// Its name, with the names around it.
    pub name: String,
    /// What it is.
    pub kind: SymbolKind,
    /// Its signature.
    pub signature: String,
    /// The line where it begins.
    pub line: u32,
    /// Higher is more worth showing.
    pub rank: u32,
}

/// How much of a folder is in one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanguageTotal {
    /// The language.
    pub language: String,
    /// Its files.
    pub files: u64,
    /// Their lines.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandPurpose {
    /// Builds.
    Build,
    /// Tests.
    Test,
    /// Runs.
    Run,
    /// Anything else that the project's files name.
    Other,
}

/// A command that belongs to the project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectCommand {
    /// What for.
    pub purpose: CommandPurpose,
    /// The command, to be run in the folder of `declared_in`.
    pub command: String,
    /// The file that says so.
    pub declared_in: Address,
}

/// Something that a record should have known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The place that is missing.
    pub uri: Address,
    /// Why.
    pub reason: String,
}

/// What made a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The engine's name.
    pub generator: String,
    /// The engine's version: another version may make another record of the same bytes.
    pub version: u32,
}

/// A digest as hexadecimal text where people read it, as bytes elsewhere.
mod digest_text {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::digest::Digest;

    pub(super) fn serialize<S: Serializer>(
        digest: &Digest,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(digest)
        } else {
            digest.serialize(serializer)
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Digest, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(D::Error::custom)
        } else {
            Digest::deserialize(deserializer)
        }
    }
}
