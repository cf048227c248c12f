//! The repo map: which symbols of a tree matter most, within a budget of tokens.
//! Ranks files as pages that link to each other by the names they use
//! (PageRank, in integers, so that every machine agrees), and hands a file's
//! weight on to the symbols that are used. Knows records, not where they come from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use precentor_core::address::Address;
use precentor_core::context::{ContextKind, ContextRecord, SymbolKind, Visibility};
use serde::Serialize;

#[cfg(test)]
mod tests;

/// One in fixed point.
const ONE: u64 = 1 << 32;
/// Rounds of ranking: the weights settle well before.
const ROUNDS: u32 = 20;
/// A name that more files declare than this says nothing about which is meant.
const DECLARERS_MAX: usize = 8;
/// More uses of a name in one file than this count no more.
const USES_MAX: u64 = 16;
/// Symbols of one file that may enter the map.
const SYMBOLS_PER_FILE_MAX: usize = 400;

/// One line of a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MapEntry {
    /// The file.
    pub uri: Address,
    /// The symbol, with the names around it.
    pub name: String,
    /// What it is.
    pub kind: SymbolKind,
    /// Its signature.
    pub signature: String,
    /// The line where it begins.
    pub line: u32,
    /// Its weight; only the order matters.
    pub score: u64,
}

/// Takes in records one by one and keeps of each only what ranking needs.
#[derive(Debug, Default)]
pub struct MapBuilder {
    files: Vec<MapFile>,
}

#[derive(Debug)]
struct MapFile {
    uri: Address,
    symbols: Vec<(String, MapEntry)>,
    references: Vec<(String, u64)>,
    /// The words of its imports.
    imported: BTreeSet<String>,
    is_test: bool,
}

impl MapBuilder {
    /// Takes in one record; only files matter.
    pub fn add(&mut self, record: &ContextRecord) {
        if record.kind != ContextKind::File {
            return;
        }
        let is_code = |kind| {
            !matches!(
                kind,
                SymbolKind::Heading | SymbolKind::Key | SymbolKind::Module
            )
        };
        let symbols = record.symbols.iter().filter(|symbol| is_code(symbol.kind));
        let symbols = symbols
            .filter(|symbol| symbol.visibility != Visibility::Private || symbol.name == "main");
        let entry = |symbol: &precentor_core::context::Symbol| {
            let name = match symbol.parent.is_empty() {
                true => symbol.name.clone(),
                false => format!("{}.{}", symbol.parent, symbol.name),
            };
            let entry = MapEntry {
                uri: record.uri.clone(),
                name,
                kind: symbol.kind,
                signature: symbol.signature.clone(),
                line: symbol.range.start,
                score: u64::from(symbol.rank),
            };
            (symbol.name.clone(), entry)
        };
        self.files.push(MapFile {
            uri: record.uri.clone(),
            symbols: symbols.take(SYMBOLS_PER_FILE_MAX).map(entry).collect(),
            references: record
                .references
                .iter()
                .map(|reference| {
                    (
                        reference.name.clone(),
                        u64::from(reference.count).min(USES_MAX),
                    )
                })
                .collect(),
            imported: words_of_imports(record),
            is_test: record.tags.iter().any(|tag| tag == "test"),
        });
    }

    /// All symbols at or below `focus`, best first. Files outside count for the
    /// ranking, files inside count more.
    #[must_use]
    pub fn rank(mut self, focus: &Address) -> Vec<MapEntry> {
        self.files.sort_by(|a, b| a.uri.cmp(&b.uri));
        let links = self.links();
        let weights = self.weights(&links, focus);
        let mut entries = self.hand_on(&links, &weights, focus);
        entries.sort_by(|a, b| {
            b.score
                .cmp(&a.score)
                .then_with(|| a.uri.cmp(&b.uri))
                .then_with(|| a.line.cmp(&b.line))
        });
        entries
    }

    /// For every file, its links: to which file, by which symbol there, how strong.
    fn links(&self) -> Vec<Vec<Link>> {
        let mut declared: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
        for (file, content) in self.files.iter().enumerate() {
            for (symbol, (name, _)) in content.symbols.iter().enumerate() {
                declared.entry(name).or_default().push((file, symbol));
            }
        }
        let of_file = |(file, content): (usize, &MapFile)| {
            let mut links = Vec::new();
            for (name, uses) in &content.references {
                let Some(declarers) = declared.get(&**name) else {
                    continue;
                };
                let count = declarers.len();
                if count > DECLARERS_MAX {
                    continue;
                }
                for (to, symbol) in declarers.iter().filter(|(to, _)| *to != file) {
                    // Names that several files declare are worth less to each; a name from a
                    // file that is imported is most likely meant, and that of a method is
                    // most likely another type's.
                    let module = module_name(&self.files[*to].uri);
                    let sure = if content.imported.contains(&module) {
                        16
                    } else {
                        1
                    };
                    let (own, entry) = &self.files[*to].symbols[*symbol];
                    let member = if own.len() < entry.name.len() { 4 } else { 1 };
                    let strength = uses * 64 * sure / count as u64 / member;
                    links.push(Link {
                        to: *to,
                        symbol: *symbol,
                        strength,
                    });
                }
            }
            links
        };
        self.files.iter().enumerate().map(of_file).collect()
    }

    fn weights(&self, links: &[Vec<Link>], focus: &Address) -> Vec<u64> {
        let count = self.files.len().max(1) as u64;
        let preferred = |file: &MapFile| match (focus.contains(&file.uri), file.is_test) {
            (true, false) => 4,
            (true, true) | (false, false) => 1,
            (false, true) => 0,
        };
        let total: u64 = self.files.iter().map(preferred).sum::<u64>().max(1);
        let base: Vec<u64> = self
            .files
            .iter()
            .map(|file| ONE * preferred(file) / total)
            .collect();
        let mut weights = vec![ONE / count; self.files.len()];
        for _ in 0..ROUNDS {
            // 15 % by preference, 85 % along the links; what has no links goes back to all.
            let mut next: Vec<u64> = base.iter().map(|base| base * 15 / 100).collect();
            let mut stranded = 0;
            for (file, links) in links.iter().enumerate() {
                let out: u64 = links.iter().map(|link| link.strength).sum();
                let given = weights[file] / 100 * 85;
                if out == 0 {
                    stranded += given;
                    continue;
                }
                for link in links {
                    next[link.to] += share(given, link.strength, out);
                }
            }
            for (next, base) in next.iter_mut().zip(&base) {
                *next += share(stranded, *base, ONE);
            }
            weights = next;
        }
        weights
    }

    fn hand_on(self, links: &[Vec<Link>], weights: &[u64], focus: &Address) -> Vec<MapEntry> {
        let mut scores: Vec<Vec<u64>> = self
            .files
            .iter()
            .map(|file| vec![0; file.symbols.len()])
            .collect();
        for (file, links) in links.iter().enumerate() {
            let out: u64 = links.iter().map(|link| link.strength).sum();
            for link in links {
                scores[link.to][link.symbol] += share(weights[file], link.strength, out);
            }
        }
        let mut entries = Vec::new();
        for (file, (content, scores)) in self.files.into_iter().zip(scores).enumerate() {
            if !focus.contains(&content.uri) {
                continue;
            }
            for ((_, mut entry), score) in content.symbols.into_iter().zip(scores) {
                // What nobody uses by name is ordered by its file and its own rank.
                let own = share(weights[file], entry.score, 4_096);
                let penalty = if content.is_test { 8 } else { 1 };
                entry.score = (score + own) / penalty;
                entries.push(entry);
            }
        }
        entries
    }
}

fn words_of_imports(record: &ContextRecord) -> BTreeSet<String> {
    let words = |target: &str| -> Vec<String> {
        let is_part = |c: char| !(c.is_alphanumeric() || c == '_' || c == '-');
        target
            .split(is_part)
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    record
        .imports
        .iter()
        .flat_map(|import| words(&import.target))
        .collect()
}

/// What an import calls this file: its name without the ending, or its
/// folder's name if the file stands for its folder.
fn module_name(uri: &Address) -> String {
    let stem = |uri: &Address| {
        let name = uri.name();
        let end = name
            .iter()
            .position(|byte| *byte == b'.')
            .unwrap_or(name.len());
        String::from_utf8_lossy(&name[..end]).into_owned()
    };
    let own = stem(uri);
    match (&*own, uri.parent()) {
        ("__init__" | "mod" | "index" | "lib", Some(folder)) => stem(&folder),
        _ => own,
    }
}

#[derive(Debug)]
struct Link {
    to: usize,
    symbol: usize,
    strength: u64,
}

/// `amount * part / whole` without overflow.
fn share(amount: u64, part: u64, whole: u64) -> u64 {
    let product = u128::from(amount) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(product).unwrap_or(u64::MAX)
}

/// As many of the best entries as a text within `tokens_max` can show, best first.
#[must_use]
pub fn within(entries: Vec<MapEntry>, tokens_max: u64) -> Vec<MapEntry> {
    let mut files: BTreeMap<Address, ()> = BTreeMap::new();
    let mut spent = 0;
    let mut kept = Vec::new();
    for entry in entries {
        let mut cost = tokens_of(&line_of(&entry));
        if !files.contains_key(&entry.uri) {
            cost += tokens_of(&heading_of(&entry.uri));
        }
        // A long signature may not fit where a shorter one of less weight does; but a
        // map that skips its best entries would mislead.
        if spent + cost > tokens_max {
            break;
        }
        spent += cost;
        files.insert(entry.uri.clone(), ());
        kept.push(entry);
    }
    kept
}

/// The map as text: files by their best symbol, symbols by line.
#[must_use]
pub fn render(entries: &[MapEntry]) -> String {
    let mut order: Vec<&Address> = Vec::new();
    let mut by_file: BTreeMap<&Address, Vec<&MapEntry>> = BTreeMap::new();
    for entry in entries {
        let list = by_file.entry(&entry.uri).or_default();
        if list.is_empty() {
            order.push(&entry.uri);
        }
        list.push(entry);
    }
    let mut text = String::new();
    for uri in order {
        text.push_str(&heading_of(uri));
        let mut list = by_file.remove(uri).unwrap_or_default();
        list.sort_by_key(|entry| entry.line);
        for entry in list {
            text.push_str(&line_of(entry));
        }
    }
    text
}

fn heading_of(uri: &Address) -> String {
    format!("{}:\n", uri.path())
}

fn line_of(entry: &MapEntry) -> String {
    let mut line = String::new();
    let _ = writeln!(line, "  {:>5}  {}", entry.line, entry.signature);
    line
}

fn tokens_of(text: &str) -> u64 {
    crate::worker::outline::estimate_tokens(text.as_bytes())
}
