//! Rust.

use precentor_core::context::{SymbolKind, Visibility};

use super::prose;
use super::tree::{Declared, Dialect, Notes, Ready, Rule, Site};

/// The dialect.
pub(super) static RUST: Ready = Ready::new(&Dialect {
    language: "rust",
    grammar: || tree_sitter_rust::LANGUAGE.into(),
    separator: "::",
    rules: &[
        ("line_comment", Rule::Comment),
        ("block_comment", Rule::Comment),
        ("attribute_item", Rule::Attribute),
        ("string_literal", Rule::Opaque),
        ("raw_string_literal", Rule::Opaque),
        ("function_item", Rule::Symbol(SymbolKind::Function)),
        (
            "function_signature_item",
            Rule::Symbol(SymbolKind::Function),
        ),
        ("struct_item", Rule::Symbol(SymbolKind::Struct)),
        ("union_item", Rule::Symbol(SymbolKind::Struct)),
        ("enum_item", Rule::Symbol(SymbolKind::Enum)),
        ("trait_item", Rule::Symbol(SymbolKind::Trait)),
        ("type_item", Rule::Symbol(SymbolKind::Type)),
        ("associated_type", Rule::Symbol(SymbolKind::Type)),
        ("const_item", Rule::Symbol(SymbolKind::Constant)),
        ("static_item", Rule::Symbol(SymbolKind::Constant)),
        ("macro_definition", Rule::Symbol(SymbolKind::Macro)),
        ("mod_item", Rule::Symbol(SymbolKind::Module)),
        // An impl is a type's name around its members.
        ("impl_item", Rule::Symbol(SymbolKind::Struct)),
        ("use_declaration", Rule::Import),
        ("extern_crate_declaration", Rule::Import),
        ("call_expression", Rule::Call("function")),
        ("macro_invocation", Rule::Call("macro")),
        ("generic_function", Rule::Call("function")),
        ("type_identifier", Rule::TypeName),
    ],
    declare,
    note,
    is_doc: |comment| comment.starts_with(b"///") || comment.starts_with(b"/**"),
});

fn declare<'t>(site: &Site<'_, 't>) -> Option<Declared<'t>> {
    let node = site.node;
    if node.kind() == "impl_item" {
        let mut scope = Declared::new(
            base_type(site.field_text("type")?),
            site.kind,
            Visibility::Private,
        );
        scope.is_scope_only = true;
        // The members of a trait's implementation are as public as the trait.
        scope.inner_access = site.field("trait").map(|_| Visibility::Public);
        return Some(scope);
    }
    let visibility = match visibility_of(site) {
        _ if site.is_local() => Visibility::Private,
        Some(written) => written,
        None => site.access.unwrap_or(Visibility::Private),
    };
    let kind = match site.kind {
        SymbolKind::Function if site.is_member() => SymbolKind::Method,
        kind => kind,
    };
    if kind == SymbolKind::Constant && site.is_local() {
        return None;
    }
    let mut declared =
        Declared::new(site.field_text("name")?, kind, visibility).body(site.field("body"));
    match kind {
        SymbolKind::Macro => {
            let mut cursor = node.walk();
            declared.body = node
                .children(&mut cursor)
                .find(|child| child.kind() == "macro_rule");
        }
        SymbolKind::Trait => declared.inner_access = Some(visibility),
        // A tuple struct is its fields.
        SymbolKind::Struct
            if declared
                .body
                .is_some_and(|body| body.kind() != "field_declaration_list") =>
        {
            declared.body = None;
        }
        _ => {}
    }
    Some(declared)
}

fn visibility_of(site: &Site<'_, '_>) -> Option<Visibility> {
    let mut cursor = site.node.walk();
    let modifier = site
        .node
        .children(&mut cursor)
        .take(4)
        .find(|child| child.kind() == "visibility_modifier")?;
    Some(if site.text(modifier) == b"pub" {
        Visibility::Public
    } else {
        Visibility::Restricted
    })
}

/// `Vec` of `Vec<T>`, `Error` of `fmt::Error`, `T` of `&mut T`.
fn base_type(text: &[u8]) -> &[u8] {
    let end = text
        .iter()
        .position(|byte| *byte == b'<')
        .unwrap_or(text.len());
    let text = text[..end].trim_ascii();
    let start = text
        .iter()
        .rposition(|byte| b":& ".contains(byte))
        .map_or(0, |at| at + 1);
    &text[start..]
}

fn note(site: &Site<'_, '_>, notes: &mut Notes) {
    let target = site
        .field_text("argument")
        .or_else(|| site.field_text("name"));
    if let Some(target) = target {
        notes
            .imports
            .push((prose::fold(target, prose::SIGNATURE_BYTES_MAX), site.line()));
    }
}
