//! The record of a folder or of the project, from the records of what is
//! directly inside. Folders carry the best of what is below them upwards, so
//! that the project needs only its own children, however large it is.

use std::collections::BTreeMap;

use precentor_core::address::Address;
use precentor_core::context::{
    Child, ContextKind, ContextRecord, Gap, LanguageTotal, Reference, SurfaceSymbol, Symbol,
    SymbolKind, Visibility,
};
use precentor_core::digest::Digest;

use super::{prose, provenance};
use crate::worker::engine::{ChildInput, Children};

/// Children listed in a record.
const CHILDREN_MAX: usize = 2_000;
/// Symbols that one file gives to its folder.
const SURFACE_PER_FILE_MAX: usize = 12;
/// Symbols that a folder shows and gives to the folder above.
const SURFACE_PER_FOLDER_MAX: usize = 60;
/// Symbols in the repo map of a project's record.
const REPO_MAP_MAX: usize = 150;
/// Names in use that a folder passes on.
const REFERENCES_MAX: usize = 256;
/// Names in use that are counted at a time.
const REFERENCES_COUNTED_MAX: usize = 20_000;
/// Modules that a folder depends on, as listed.
const DEPENDS_MAX: usize = 32;
/// Commands, entry points and gaps in one record.
const LIST_MAX: usize = 48;

/// Makes the record.
pub(super) fn describe(
    uri: Address,
    kind: ContextKind,
    content_digest: Digest,
    children: Children<'_>,
) -> ContextRecord {
    let record = ContextRecord::new(uri, kind, content_digest, provenance());
    let mut gather = Gather {
        record,
        references: BTreeMap::new(),
        depends_on: BTreeMap::new(),
        languages: BTreeMap::new(),
        own_words: None,
        files: 0,
        folders: 0,
        children_dropped: 0,
    };
    for child in children {
        gather.add(child);
    }
    gather.finish()
}

struct Gather {
    record: ContextRecord,
    references: BTreeMap<String, u32>,
    depends_on: BTreeMap<String, u32>,
    languages: BTreeMap<String, LanguageTotal>,
    /// What a file inside says of the whole folder, and how much its word counts.
    own_words: Option<(u8, String, String)>,
    files: u64,
    folders: u64,
    children_dropped: u64,
}

impl Gather {
    fn add(&mut self, input: ChildInput) {
        let child = match input.record {
            Ok(record) => *record,
            Err(reason) => {
                if self.record.incomplete.len() < LIST_MAX {
                    let reason = prose::shorten(&reason, prose::LINE_BYTES_MAX);
                    self.record.incomplete.push(Gap {
                        uri: input.uri,
                        reason,
                    });
                }
                return;
            }
        };
        match child.kind {
            ContextKind::File => self.add_file(&child),
            ContextKind::Folder | ContextKind::Project => self.add_folder(&child),
        }
        self.record.bytes += child.bytes;
        self.record.lines += child.lines;
        self.record.tokens += child.tokens;
        for reference in &child.references {
            *self.references.entry(reference.name.clone()).or_default() += reference.count;
        }
        if self.references.len() > REFERENCES_COUNTED_MAX {
            let kept = most(
                std::mem::take(&mut self.references),
                REFERENCES_COUNTED_MAX / 2,
            );
            self.references = kept
                .into_iter()
                .map(|kept| (kept.name, kept.count))
                .collect();
        }
        extend_bounded(&mut self.record.commands, child.commands);
        extend_bounded(&mut self.record.entry_points, child.entry_points);
        if self.record.children.len() < CHILDREN_MAX {
            let ContextRecord {
                uri,
                kind,
                one_line,
                tokens,
                ..
            } = child;
            self.record.children.push(Child {
                uri,
                kind,
                one_line,
                tokens,
            });
        } else {
            self.children_dropped += 1;
        }
    }

    fn add_file(&mut self, file: &ContextRecord) {
        self.files += 1;
        let total = self
            .languages
            .entry(file.language.clone())
            .or_insert_with(|| LanguageTotal {
                language: file.language.clone(),
                files: 0,
                lines: 0,
                bytes: 0,
            });
        total.files += 1;
        total.lines += file.lines;
        total.bytes += file.bytes;
        let mut targets: Vec<&str> = file
            .imports
            .iter()
            .filter_map(|import| module_of(&file.language, &import.target))
            .collect();
        targets.sort_unstable();
        targets.dedup();
        for target in targets {
            *self.depends_on.entry(target.to_owned()).or_default() += 1;
        }
        self.listen(file);
        if file
            .tags
            .iter()
            .any(|tag| tag == "test" || tag == "generated")
        {
            return;
        }
        let mut offered: Vec<&Symbol> = file
            .symbols
            .iter()
            .filter(|symbol| is_offered(symbol))
            .collect();
        offered.sort_by_key(|symbol| std::cmp::Reverse(symbol.rank));
        for symbol in offered.into_iter().take(SURFACE_PER_FILE_MAX) {
            let name = match symbol.parent.is_empty() {
                true => symbol.name.clone(),
                false => format!("{}.{}", symbol.parent, symbol.name),
            };
            self.record.surface.push(SurfaceSymbol {
                uri: file.uri.clone(),
                name,
                kind: symbol.kind,
                signature: symbol.signature.clone(),
                line: symbol.range.start,
                rank: symbol.rank,
            });
        }
        self.prune_surface();
    }

    fn add_folder(&mut self, folder: &ContextRecord) {
        self.folders += 1;
        for total in &folder.languages {
            let sum = self
                .languages
                .entry(total.language.clone())
                .or_insert_with(|| LanguageTotal {
                    language: total.language.clone(),
                    files: 0,
                    lines: 0,
                    bytes: 0,
                });
            sum.files += total.files;
            sum.lines += total.lines;
            sum.bytes += total.bytes;
        }
        for dependency in &folder.depends_on {
            *self.depends_on.entry(dependency.name.clone()).or_default() += dependency.count;
        }
        self.record.surface.extend(folder.surface.iter().cloned());
        self.prune_surface();
    }

    fn prune_surface(&mut self) {
        if self.record.surface.len() > REPO_MAP_MAX * 16 {
            self.record.surface.sort_by(by_rank);
            self.record.surface.truncate(REPO_MAP_MAX * 4);
        }
    }

    /// Takes note if this file speaks for its folder.
    fn listen(&mut self, file: &ContextRecord) {
        let name = file.uri.name().to_ascii_lowercase();
        let weight = match &name[..] {
            b"readme.md" | b"readme.rst" | b"readme.txt" | b"readme" | b"readme.markdown" => 3,
            b"__init__.py" | b"lib.rs" | b"mod.rs" | b"package-info.java" | b"doc.go" => 2,
            b"main.rs" | b"main.go" | b"index.js" | b"index.ts" | b"main.py" | b"__main__.py" => 1,
            _ => return,
        };
        let heard = self
            .own_words
            .as_ref()
            .is_some_and(|(known, ..)| *known >= weight);
        if !heard && !file.summary.is_empty() {
            self.own_words = Some((weight, file.one_line.clone(), file.summary.clone()));
        }
    }

    fn finish(self) -> ContextRecord {
        let Gather {
            mut record,
            references,
            depends_on,
            languages,
            own_words,
            files,
            folders,
            children_dropped,
        } = self;
        let limit = match record.kind {
            ContextKind::Project => REPO_MAP_MAX,
            ContextKind::Folder | ContextKind::File => SURFACE_PER_FOLDER_MAX,
        };
        rank_by_use(&mut record.surface, &references, limit);
        record.references = most(references, REFERENCES_MAX);
        record.depends_on = most(depends_on, DEPENDS_MAX);
        record.languages = languages.into_values().collect();
        record
            .languages
            .sort_by_key(|total| std::cmp::Reverse(total.lines));
        record.language = record
            .languages
            .first()
            .map(|total| total.language.clone())
            .unwrap_or_default();
        record
            .commands
            .sort_by_key(|command| (command.declared_in.depth(), command.purpose));
        record.entry_points.sort_by_key(|entry| entry.uri.depth());
        let counts = counts(&record, files, folders);
        (record.one_line, record.summary) = match own_words {
            Some((_, one_line, summary)) => (one_line, format!("{summary}\n{counts}")),
            None => (counts.clone(), counts),
        };
        if children_dropped > 0 {
            record.warnings.push(format!(
                "{children_dropped} more children than a record lists ({CHILDREN_MAX})"
            ));
        }
        if !record.incomplete.is_empty() {
            record.warnings.push(
                "some of what is inside has no part in this record: see incomplete".to_owned(),
            );
        }
        record
    }
}

fn extend_bounded<T>(list: &mut Vec<T>, more: Vec<T>) {
    let room = LIST_MAX.saturating_sub(list.len());
    list.extend(more.into_iter().take(room));
}

fn is_offered(symbol: &Symbol) -> bool {
    let is_code = !matches!(
        symbol.kind,
        SymbolKind::Heading | SymbolKind::Key | SymbolKind::Module
    );
    is_code && symbol.visibility == Visibility::Public
}

fn by_rank(a: &SurfaceSymbol, b: &SurfaceSymbol) -> std::cmp::Ordering {
    b.rank
        .cmp(&a.rank)
        .then_with(|| a.uri.cmp(&b.uri))
        .then_with(|| a.line.cmp(&b.line))
}

/// Keeps the symbols that the files below use most. The rank itself stays what
/// its file said: each folder on the way up counts uses anew.
fn rank_by_use(surface: &mut Vec<SurfaceSymbol>, references: &BTreeMap<String, u32>, limit: usize) {
    /// More uses than this say no more.
    const USES_MAX: u32 = 200;
    let score = |symbol: &SurfaceSymbol| {
        let own = symbol.name.rsplit(['.', ':']).next().unwrap_or_default();
        let uses = references.get(own).copied().unwrap_or(0).min(USES_MAX);
        // A call of a method says its name, not its type: most are of another.
        let is_member = own.len() < symbol.name.len();
        symbol.rank + if is_member { uses / 16 } else { uses / 4 }
    };
    surface.sort_by(|a, b| score(b).cmp(&score(a)).then_with(|| by_rank(a, b)));
    surface.truncate(limit);
}

/// The most frequent names; equals by name.
fn most(counts: BTreeMap<String, u32>, limit: usize) -> Vec<Reference> {
    let mut list: Vec<Reference> = counts
        .into_iter()
        .map(|(name, count)| Reference { name, count })
        .collect();
    list.sort_by_key(|reference| std::cmp::Reverse(reference.count));
    list.truncate(limit);
    list
}

/// The module that an import leads to outside its own folder; none if it stays inside.
fn module_of<'t>(language: &str, target: &'t str) -> Option<&'t str> {
    let module = match language {
        "rust" => match target.split("::").next()? {
            "self" | "super" => return None,
            first => first.split([' ', '{', ';']).next()?,
        },
        "python" => target.split('.').next()?,
        "java" => target
            .rsplit_once('.')
            .map_or(target, |(package, _)| package),
        "javascript" | "typescript" | "tsx" => {
            let scope = usize::from(target.starts_with('@'));
            let end = target
                .match_indices('/')
                .nth(scope)
                .map_or(target.len(), |(at, _)| at);
            target.get(..end)?
        }
        _ => target,
    };
    (!module.is_empty() && !module.starts_with('.')).then_some(module)
}

fn counts(record: &ContextRecord, files: u64, folders: u64) -> String {
    let plural =
        |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let mut parts = Vec::new();
    if folders > 0 {
        parts.push(plural(folders, "folder"));
    }
    if files > 0 || folders == 0 {
        parts.push(plural(files, "file"));
    }
    let languages: Vec<String> = record
        .languages
        .iter()
        .filter(|total| total.lines > 0)
        .take(3)
        .map(|total| format!("{} ({})", total.language, plural(total.lines, "line")))
        .collect();
    let separator = if languages.is_empty() { "" } else { "; " };
    prose::shorten(
        &format!("{}{separator}{}", parts.join(", "), languages.join(", ")),
        prose::LINE_BYTES_MAX,
    )
}
