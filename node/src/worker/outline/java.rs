//! Java.

use precentor_core::context::{SymbolKind, Visibility};

use super::prose;
use super::tree::{Declared, Dialect, Notes, Ready, Rule, Site};

/// The dialect.
pub(super) static JAVA: Ready = Ready::new(&Dialect {
    language: "java",
    grammar: || tree_sitter_java::LANGUAGE.into(),
    separator: ".",
    rules: &[
        ("line_comment", Rule::Comment),
        ("block_comment", Rule::Comment),
        ("class_declaration", Rule::Symbol(SymbolKind::Class)),
        ("record_declaration", Rule::Symbol(SymbolKind::Class)),
        ("interface_declaration", Rule::Symbol(SymbolKind::Interface)),
        (
            "annotation_type_declaration",
            Rule::Symbol(SymbolKind::Interface),
        ),
        ("enum_declaration", Rule::Symbol(SymbolKind::Enum)),
        ("method_declaration", Rule::Symbol(SymbolKind::Method)),
        ("constructor_declaration", Rule::Symbol(SymbolKind::Method)),
        (
            "compact_constructor_declaration",
            Rule::Symbol(SymbolKind::Method),
        ),
        ("field_declaration", Rule::Symbol(SymbolKind::Constant)),
        ("constant_declaration", Rule::Symbol(SymbolKind::Constant)),
        ("import_declaration", Rule::Import),
        ("method_invocation", Rule::Call("name")),
        ("type_identifier", Rule::TypeName),
    ],
    declare,
    note,
    is_doc: |comment| comment.starts_with(b"/**"),
});

fn declare<'t>(site: &Site<'_, 't>) -> Option<Declared<'t>> {
    let mut cursor = site.node.walk();
    let modifiers = site
        .node
        .children(&mut cursor)
        .next()
        .filter(|child| child.kind() == "modifiers");
    let modifiers = modifiers.map(|node| site.text(node)).unwrap_or_default();
    let has = |word: &str| {
        modifiers
            .split(|byte| !byte.is_ascii_alphabetic())
            .any(|found| found == word.as_bytes())
    };
    let visibility = match () {
        () if site.is_local() || has("private") => Visibility::Private,
        () if has("public") => Visibility::Public,
        () if has("protected") => Visibility::Restricted,
        () => site.access.unwrap_or(Visibility::Restricted),
    };
    let name = match site.kind {
        SymbolKind::Constant => {
            let is_constant =
                site.node.kind() == "constant_declaration" || (has("static") && has("final"));
            let declarator = site.field("declarator").filter(|_| is_constant)?;
            site.text(declarator.child_by_field_name("name")?)
        }
        _ => site.field_text("name")?,
    };
    let mut declared = Declared::new(name, site.kind, visibility).body(site.field("body"));
    if site.kind == SymbolKind::Interface {
        declared.inner_access = Some(Visibility::Public);
    }
    Some(declared)
}

fn note(site: &Site<'_, '_>, notes: &mut Notes) {
    let text = site
        .text(site.node)
        .strip_prefix(b"import")
        .unwrap_or_default();
    let target = text
        .trim_ascii()
        .strip_suffix(b";")
        .unwrap_or(text)
        .trim_ascii();
    let name = target
        .rsplit(|byte| *byte == b'.')
        .next()
        .unwrap_or_default();
    notes.used.push(prose::name(name));
    notes.imports.push((prose::name(target), site.line()));
}
