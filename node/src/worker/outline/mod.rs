//! The built-in engine: what the source itself says, by grammars and a few
//! rules; no model, no network, no clock. The same bytes give the same record
//! on every machine.

use precentor_core::context::{ContextKind, ContextRecord, Provenance};

use super::engine::{Engine, EngineError, Job, Subject};
use crate::source::digest::TEXT_BYTES_MAX;

mod c;
mod commands;
mod file;
mod folder;
mod go;
mod java;
mod javascript;
mod language;
mod parse;
mod prose;
mod python;
mod rust;
mod text;
mod tree;

pub use bare::parse_bare;
pub use parse::spawn_parsing_thread;

/// Estimates the tokens of a text.
#[must_use]
pub fn estimate_tokens(text: &[u8]) -> u64 {
    prose::estimate_tokens(text)
}

#[cfg(test)]
mod tests;

/// The engine's name.
pub const NAME: &str = "outline";
/// The engine's version. Raise it whenever the same bytes give another record.
pub const VERSION: u32 = 2;

/// What a link's record says in place of a language.
pub const SYMLINK: &str = "symlink";

/// The engine. Files above its limit get a record without an outline.
#[derive(Debug, Clone, Copy)]
pub struct OutlineEngine {
    text_bytes_max: u64,
}

impl OutlineEngine {
    /// An engine with a limit of its own.
    #[must_use]
    pub fn with_limit(text_bytes_max: u64) -> OutlineEngine {
        OutlineEngine { text_bytes_max }
    }
}

impl Default for OutlineEngine {
    fn default() -> OutlineEngine {
        OutlineEngine {
            text_bytes_max: TEXT_BYTES_MAX,
        }
    }
}

impl Engine for OutlineEngine {
    fn name(&self) -> &str {
        NAME
    }

    fn version(&self) -> u32 {
        VERSION
    }

    fn generate(&self, job: Job<'_>) -> Result<ContextRecord, EngineError> {
        match job.subject {
            Subject::File { source } => {
                file::generate(&job.uri, job.content_digest, &source, self.text_bytes_max)
            }
            Subject::Folder { children } => Ok(folder::describe(
                job.uri,
                ContextKind::Folder,
                job.content_digest,
                children,
            )),
            Subject::Project { children } => Ok(folder::describe(
                job.uri,
                ContextKind::Project,
                job.content_digest,
                children,
            )),
        }
    }
}

fn provenance() -> Provenance {
    Provenance {
        generator: NAME.to_owned(),
        version: VERSION,
    }
}

/// Parsing alone, to measure what everything else costs.
mod bare {
    use super::language::{Reader, identify};
    use super::parse;

    /// Parses with the grammar for `name`, if there is one, and drops the tree.
    /// Says whether there was one.
    #[must_use]
    pub fn parse_bare(name: &[u8], content: &[u8]) -> bool {
        match identify(name, content).reader {
            Reader::Tree(ready) => parse::parse(ready.get(), content).is_ok(),
            _ => false,
        }
    }
}
