//! Walks a syntax tree once and notes what a file declares, imports and uses.
//! Knows no language: each is a [`Dialect`], a table of rules and three small
//! functions. A cursor walk, not a query: one pass, no recursion, no
//! allocation per node.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::OnceLock;

use precentor_core::context::{LineRange, SliceDigest, Symbol, SymbolKind, Visibility};
use tree_sitter::{Language, Node, Tree};

use super::prose;

/// Symbols of one file, at most; the rest is counted in a warning.
const SYMBOLS_MAX: usize = 10_000;

/// What to do at a node of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Nothing to note here; look inside.
    Through,
    /// Nothing to note, here or inside.
    Opaque,
    /// A comment: the documentation of what follows it.
    Comment,
    /// Stands between a comment and what the comment is about.
    Attribute,
    /// Holds one declaration: a comment before it is about that.
    Wrapper,
    /// As `Wrapper`, and makes the declaration public.
    Export,
    /// A declaration; the dialect decides the details.
    Symbol(SymbolKind),
    /// An import; the dialect says of what.
    Import,
    /// A call; what is called stands in this field.
    Call(&'static str),
    /// The name of a type that is used.
    TypeName,
    /// `public:` and the like, for what follows it.
    Access,
    /// Something that only the dialect understands.
    Special,
}

/// One language.
pub(super) struct Dialect {
    /// Its name in records.
    pub(super) language: &'static str,
    /// Its grammar.
    pub(super) grammar: fn() -> Language,
    /// What joins the names of nested declarations.
    pub(super) separator: &'static str,
    /// Rules by kind of node; all others are [`Rule::Through`].
    pub(super) rules: &'static [(&'static str, Rule)],
    /// Looks at a declaration; none if it is not worth noting.
    pub(super) declare: for<'t> fn(&Site<'_, 't>) -> Option<Declared<'t>>,
    /// Looks at an import or a special node.
    pub(super) note: for<'t> fn(&Site<'_, 't>, &mut Notes),
    /// Whether this comment, standing before a declaration, is its documentation.
    pub(super) is_doc: fn(&[u8]) -> bool,
}

/// A node that a dialect is asked about.
pub(super) struct Site<'s, 't> {
    pub(super) source: &'s [u8],
    pub(super) node: Node<'t>,
    /// What the rule says it is.
    pub(super) kind: SymbolKind,
    /// The nearest declaration around it.
    pub(super) around: Option<SymbolKind>,
    /// What the surroundings say of its visibility.
    pub(super) access: Option<Visibility>,
    /// Within an export.
    pub(super) exported: bool,
}

impl<'s, 't> Site<'s, 't> {
    pub(super) fn text(&self, node: Node<'_>) -> &'s [u8] {
        self.source.get(node.byte_range()).unwrap_or_default()
    }

    pub(super) fn field(&self, name: &str) -> Option<Node<'t>> {
        self.node.child_by_field_name(name)
    }

    pub(super) fn field_text(&self, name: &str) -> Option<&'s [u8]> {
        self.field(name).map(|node| self.text(node))
    }

    /// Whether the nearest declaration around is a function.
    pub(super) fn is_local(&self) -> bool {
        matches!(self.around, Some(SymbolKind::Function | SymbolKind::Method))
    }

    /// Whether the nearest declaration around is a type.
    pub(super) fn is_member(&self) -> bool {
        use SymbolKind::*;
        matches!(
            self.around,
            Some(Class | Struct | Enum | Trait | Interface | Type)
        )
    }

    pub(super) fn line(&self) -> u32 {
        line(self.node.start_position().row)
    }
}

/// What a dialect says of a declaration.
pub(super) struct Declared<'t> {
    pub(super) name: String,
    pub(super) kind: SymbolKind,
    pub(super) visibility: Visibility,
    /// Where the signature ends.
    pub(super) body: Option<Node<'t>>,
    /// Names around it that its own text gives, as in `Type::method`.
    pub(super) qualifier: String,
    /// The last node that belongs to it, where its own node may go beyond.
    pub(super) last: Option<Node<'t>>,
    /// Documentation that stands inside it.
    pub(super) doc: Option<String>,
    /// What it says of the visibility of its members.
    pub(super) inner_access: Option<Visibility>,
    /// Not a symbol itself, only a name around others.
    pub(super) is_scope_only: bool,
}

impl<'t> Declared<'t> {
    pub(super) fn new(name: &[u8], kind: SymbolKind, visibility: Visibility) -> Declared<'t> {
        Declared {
            name: prose::name(name),
            kind,
            visibility,
            body: None,
            qualifier: String::new(),
            last: None,
            doc: None,
            inner_access: None,
            is_scope_only: false,
        }
    }

    pub(super) fn body(mut self, body: Option<Node<'t>>) -> Declared<'t> {
        self.body = body;
        self
    }
}

/// What a walk notes besides symbols.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Targets and lines.
    pub(super) imports: Vec<(String, u32)>,
    /// Names that the file lists as its interface.
    pub(super) exports: Vec<String>,
    /// Names and lines.
    pub(super) entry_points: Vec<(String, u32)>,
    /// Names that are used by import.
    pub(super) used: Vec<String>,
    /// The documentation of the file itself.
    pub(super) module_doc: String,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Outline {
    pub(super) symbols: Vec<Symbol>,
    pub(super) symbols_dropped: u64,
    pub(super) notes: Notes,
    /// Names of functions and types in use, and how often.
    pub(super) references: Vec<(String, u32)>,
    pub(super) syntax_errors: u64,
    pub(super) first_error_line: u32,
}

/// A dialect made ready for use.
pub(super) struct Compiled {
    dialect: &'static Dialect,
    language: Language,
    rules: Vec<Rule>,
    call_fields: Vec<(&'static str, Option<NonZeroU16>)>,
}

/// Holds a dialect and readies it at its first use.
pub(super) struct Ready(&'static Dialect, OnceLock<Compiled>);

impl Ready {
    pub(super) const fn new(dialect: &'static Dialect) -> Ready {
        Ready(dialect, OnceLock::new())
    }

    pub(super) fn get(&self) -> &Compiled {
        self.1.get_or_init(|| Compiled::new(self.0))
    }

    pub(super) fn language(&self) -> &'static str {
        self.0.language
    }
}

impl Compiled {
    fn new(dialect: &'static Dialect) -> Compiled {
        let language = (dialect.grammar)();
        let mut rules = vec![Rule::Through; language.node_kind_count()];
        let mut call_fields: Vec<(&'static str, Option<NonZeroU16>)> = Vec::new();
        // Several ids may share a name, so ids are looked up in names and not the reverse.
        for (id, slot) in rules.iter_mut().enumerate() {
            let id = u16::try_from(id).unwrap_or(u16::MAX);
            let kind = language.node_kind_for_id(id).unwrap_or_default();
            if !language.node_kind_is_named(id) {
                continue;
            }
            if let Some((_, rule)) = dialect.rules.iter().find(|(name, _)| *name == kind) {
                *slot = *rule;
                if let Rule::Call(field) = rule {
                    call_fields.push((field, language.field_id_for_name(field)));
                }
            }
        }
        Compiled {
            dialect,
            language,
            rules,
            call_fields,
        }
    }

    /// Its grammar.
    pub(super) fn grammar(&self) -> &Language {
        &self.language
    }

    fn rule(&self, kind: u16) -> Rule {
        self.rules
            .get(usize::from(kind))
            .copied()
            .unwrap_or(Rule::Through)
    }
}

/// Walks the tree of `source`.
pub(super) fn outline(compiled: &Compiled, source: &[u8], tree: &Tree) -> Outline {
    let mut walk = Walk {
        compiled,
        source,
        frames: Vec::new(),
        frame: Frame::default(),
        scopes: Vec::new(),
        prefix: String::new(),
        references: HashMap::new(),
        has_errors: tree.root_node().has_error(),
        outline: Outline::default(),
    };
    walk.run(tree);
    walk.finish()
}

/// What is known among the children of one node.
#[derive(Debug, Clone, Copy, Default)]
struct Frame {
    /// The comment that the next declaration may have as documentation: first and last byte, last row.
    comment: Option<(usize, usize, usize)>,
    /// Where the text of a wrapper around the declaration begins: byte and row.
    wrapper: Option<(usize, usize)>,
    exported: bool,
}

/// A declaration around the current node.
struct Scope {
    depth: usize,
    prefix_bytes: usize,
    kind: SymbolKind,
    access: Option<Visibility>,
}

struct Walk<'a> {
    compiled: &'a Compiled,
    source: &'a [u8],
    frames: Vec<Frame>,
    frame: Frame,
    scopes: Vec<Scope>,
    prefix: String,
    references: HashMap<&'a [u8], u32>,
    has_errors: bool,
    outline: Outline,
}

impl<'a> Walk<'a> {
    fn run(&mut self, tree: &Tree) {
        let mut cursor = tree.walk();
        loop {
            let node = cursor.node();
            let (descend, inner) = self.visit(node);
            if descend && cursor.goto_first_child() {
                self.frames.push(std::mem::replace(&mut self.frame, inner));
                continue;
            }
            self.leave_scopes();
            while !cursor.goto_next_sibling() {
                if !cursor.goto_parent() {
                    return;
                }
                self.frame = self.frames.pop().unwrap_or_default();
                self.leave_scopes();
            }
        }
    }

    /// Forgets the declarations that the walk has left.
    fn leave_scopes(&mut self) {
        while let Some(scope) = self.scopes.pop_if(|scope| scope.depth >= self.frames.len()) {
            self.prefix.truncate(scope.prefix_bytes);
        }
    }

    /// Notes what there is to note; says whether to look inside, and with what frame.
    fn visit(&mut self, node: Node<'_>) -> (bool, Frame) {
        if self.has_errors && (node.is_error() || node.is_missing()) {
            self.on_error(node);
        }
        if !node.is_named() {
            return (false, Frame::default());
        }
        let rule = self.compiled.rule(node.kind_id());
        let comment = match rule {
            Rule::Comment => {
                self.on_comment(node);
                return (false, Frame::default());
            }
            Rule::Attribute => {
                if let Some((_, _, last_row)) = &mut self.frame.comment {
                    *last_row = node.end_position().row;
                }
                return (true, Frame::default());
            }
            _ => self.frame.comment.take(),
        };
        let mut inner = Frame::default();
        match rule {
            Rule::Through => {}
            Rule::Opaque => return (false, inner),
            Rule::Comment | Rule::Attribute => {}
            Rule::Wrapper | Rule::Export => {
                let start = (node.start_byte(), node.start_position().row);
                inner.comment = comment;
                inner.wrapper = Some(self.frame.wrapper.unwrap_or(start));
                inner.exported = self.frame.exported || rule == Rule::Export;
                // An export may also be a list of names.
                if rule == Rule::Export {
                    self.ask_note(node);
                }
            }
            Rule::Symbol(kind) => self.on_symbol(node, kind, comment),
            Rule::Import | Rule::Special => self.ask_note(node),
            Rule::Call(field) => self.on_call(node, field),
            Rule::TypeName => self.refer(node.byte_range()),
            Rule::Access => {
                let text = self.source.get(node.byte_range()).unwrap_or_default();
                // The same words stand before a base class, and say nothing of members there.
                let of_members = node.next_sibling().is_some_and(|next| next.kind() == ":");
                if let Some(scope) = self.scopes.last_mut().filter(|_| of_members) {
                    scope.access = Some(match text {
                        b"public" => Visibility::Public,
                        b"protected" => Visibility::Restricted,
                        _ => Visibility::Private,
                    });
                }
            }
        }
        (true, inner)
    }

    fn on_error(&mut self, node: Node<'_>) {
        self.outline.syntax_errors += 1;
        if self.outline.syntax_errors == 1 {
            self.outline.first_error_line = line(node.start_position().row);
        }
    }

    fn on_comment(&mut self, node: Node<'_>) {
        let (start, end) = (node.start_byte(), node.end_byte().min(self.source.len()));
        let text = self
            .source
            .get(start..end)
            .unwrap_or_default()
            .trim_ascii_end();
        let row = node.start_position().row;
        let last_row = row + text.iter().filter(|byte| **byte == b'\n').count();
        let first = match self.frame.comment {
            Some((first, _, previous_row)) if previous_row + 1 >= row => first,
            // Behind code on the same line: about that code, not about what follows.
            _ if !self.begins_line(start) => return,
            _ => start,
        };
        self.frame.comment = Some((first, start + text.len(), last_row));
    }

    fn begins_line(&self, byte: usize) -> bool {
        let before = self.source.get(..byte).unwrap_or_default();
        before
            .iter()
            .rev()
            .take_while(|byte| **byte != b'\n')
            .all(u8::is_ascii_whitespace)
    }

    fn site<'t>(&self, node: Node<'t>, kind: SymbolKind) -> Site<'a, 't> {
        let scope = self.scopes.last();
        Site {
            source: self.source,
            node,
            kind,
            around: scope.map(|scope| scope.kind),
            access: scope.and_then(|scope| scope.access),
            exported: self.frame.exported,
        }
    }

    fn ask_note(&mut self, node: Node<'_>) {
        let site = self.site(node, SymbolKind::Module);
        (self.compiled.dialect.note)(&site, &mut self.outline.notes);
    }

    fn on_symbol(
        &mut self,
        node: Node<'_>,
        kind: SymbolKind,
        comment: Option<(usize, usize, usize)>,
    ) {
        let site = self.site(node, kind);
        let Some(declared) = (self.compiled.dialect.declare)(&site) else {
            return;
        };
        if declared.name.is_empty() {
            return;
        }
        let prefix_bytes = self.prefix.len();
        self.extend_prefix(&declared.qualifier);
        if !declared.is_scope_only {
            if self.outline.symbols.len() < SYMBOLS_MAX {
                let symbol = self.symbol(node, &declared, comment);
                self.outline.symbols.push(symbol);
            } else {
                self.outline.symbols_dropped += 1;
            }
        }
        self.extend_prefix(&declared.name);
        self.scopes.push(Scope {
            depth: self.frames.len(),
            prefix_bytes,
            kind: declared.kind,
            access: declared.inner_access,
        });
    }

    fn extend_prefix(&mut self, name: &str) {
        if name.is_empty() {
            return;
        }
        if !self.prefix.is_empty() {
            self.prefix.push_str(self.compiled.dialect.separator);
        }
        self.prefix.push_str(name);
    }

    fn symbol(
        &self,
        node: Node<'_>,
        declared: &Declared<'_>,
        comment: Option<(usize, usize, usize)>,
    ) -> Symbol {
        let (start, end) = (node.start_byte(), node.end_byte());
        let row = node.start_position().row;
        let text = self.source.get(start..end).unwrap_or_default();
        let (outer, outer_row) = self.frame.wrapper.unwrap_or((start, row));
        let signature_start = if outer_row == row || declared_by_template(self.source, outer) {
            outer
        } else {
            start
        };
        let signature_end = declared.body.map_or(end, |body| body.start_byte());
        let signature = self
            .source
            .get(signature_start..signature_end)
            .unwrap_or(text);
        let signature = prose::fold(signature, prose::SIGNATURE_BYTES_MAX);
        let signature =
            signature.trim_end_matches(|c: char| c.is_whitespace() || "{:=;,".contains(c));
        let is_doc = self.compiled.dialect.is_doc;
        let doc = declared.doc.clone().unwrap_or_else(|| {
            comment
                .filter(|(_, _, last_row)| last_row + 1 >= outer_row)
                .and_then(|(first, end, _)| self.source.get(first..end))
                .filter(|text| is_doc(text))
                .map(prose::first_line)
                .unwrap_or_default()
        });
        Symbol {
            name: declared.name.clone(),
            kind: declared.kind,
            visibility: declared.visibility,
            signature: signature.to_owned(),
            doc,
            range: LineRange {
                start: line(row),
                end: last_line(declared.last.unwrap_or(node)),
            },
            parent: self.prefix.clone(),
            digest: SliceDigest::of(text),
            rank: 0,
        }
    }

    fn on_call(&mut self, node: Node<'_>, field: &str) {
        let id = self
            .compiled
            .call_fields
            .iter()
            .find(|(name, _)| *name == field);
        let Some(field_id) = id.and_then(|(_, id)| *id) else {
            return;
        };
        if let Some(called) = node.child_by_field_id(field_id.get()) {
            self.refer(called.byte_range());
            // The import of JavaScript before it had one.
            if self.source.get(called.byte_range()) == Some(b"require") {
                self.ask_note(node);
            }
        }
    }

    /// Counts a use of the last name in this stretch of text.
    fn refer(&mut self, range: std::ops::Range<usize>) {
        let text = self.source.get(range).unwrap_or_default();
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
        let start = text
            .iter()
            .rposition(|byte| !is_name(byte))
            .map_or(0, |at| at + 1);
        let name = &text[start..];
        // Shorter names are variables more often than functions or types.
        if (3..=prose::NAME_BYTES_MAX).contains(&name.len()) {
            *self.references.entry(name).or_default() += 1;
        }
    }

    fn finish(self) -> Outline {
        let mut outline = self.outline;
        let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        outline.references = self
            .references
            .iter()
            .map(|(bytes, count)| (name(bytes), *count))
            .collect();
        // A map's own order must never reach a record.
        outline
            .references
            .sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        outline
    }
}

fn declared_by_template(source: &[u8], at: usize) -> bool {
    source
        .get(at..)
        .is_some_and(|text| text.starts_with(b"template"))
}

fn line(row: usize) -> u32 {
    u32::try_from(row + 1).unwrap_or(u32::MAX)
}

/// The last line that has a byte of `node`.
fn last_line(node: Node<'_>) -> u32 {
    let end = node.end_position();
    let beyond = end.column == 0 && end.row > node.start_position().row;
    line(end.row - usize::from(beyond))
}
