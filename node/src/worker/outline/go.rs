//! Go.

use precentor_core::context::{SymbolKind, Visibility};

use super::prose;
use super::tree::{Declared, Dialect, Notes, Ready, Rule, Site};

/// The dialect.
pub(super) static GO: Ready = Ready::new(&Dialect {
    language: "go",
    grammar: || tree_sitter_go::LANGUAGE.into(),
    separator: ".",
    rules: &[
        ("comment", Rule::Comment),
        ("type_declaration", Rule::Wrapper),
        ("const_declaration", Rule::Wrapper),
        ("var_declaration", Rule::Wrapper),
        ("function_declaration", Rule::Symbol(SymbolKind::Function)),
        ("method_declaration", Rule::Symbol(SymbolKind::Method)),
        ("method_elem", Rule::Symbol(SymbolKind::Method)),
        ("type_spec", Rule::Symbol(SymbolKind::Type)),
        ("type_alias", Rule::Symbol(SymbolKind::Type)),
        ("const_spec", Rule::Symbol(SymbolKind::Constant)),
        ("var_spec", Rule::Symbol(SymbolKind::Constant)),
        ("import_spec", Rule::Import),
        ("call_expression", Rule::Call("function")),
        ("type_identifier", Rule::TypeName),
    ],
    declare,
    note,
    is_doc: |_| true,
});

fn declare<'t>(site: &Site<'_, 't>) -> Option<Declared<'t>> {
    let name = site.field_text("name")?;
    let first = String::from_utf8_lossy(name).chars().next()?;
    let visibility = match first.is_uppercase() && !site.is_local() {
        true => Visibility::Public,
        false => Visibility::Private,
    };
    let mut declared = Declared::new(name, site.kind, visibility).body(site.field("body"));
    match site.kind {
        SymbolKind::Constant if site.is_local() || name == b"_" => return None,
        SymbolKind::Method => {
            if let Some(receiver) = site.field_text("receiver") {
                declared.qualifier = prose::name(receiver_type(receiver));
            }
        }
        SymbolKind::Type => {
            let described = site.field("type")?;
            declared.kind = match described.kind() {
                "struct_type" => SymbolKind::Struct,
                "interface_type" => SymbolKind::Interface,
                _ => SymbolKind::Type,
            };
            if declared.kind != SymbolKind::Type {
                // `struct` and `interface` stay in the signature, what is in braces does not.
                let mut cursor = described.walk();
                declared.body = described
                    .children(&mut cursor)
                    .find(|child| matches!(child.kind(), "field_declaration_list" | "{"));
            }
        }
        _ => {}
    }
    Some(declared)
}

/// `Buffer` of `(b *Buffer[T])`.
fn receiver_type(receiver: &[u8]) -> &[u8] {
    let end = receiver
        .iter()
        .position(|byte| b"[)".contains(byte))
        .unwrap_or(receiver.len());
    let text = receiver[..end].trim_ascii();
    let start = text
        .iter()
        .rposition(|byte| b" *(".contains(byte))
        .map_or(0, |at| at + 1);
    &text[start..]
}

fn note(site: &Site<'_, '_>, notes: &mut Notes) {
    if let Some(path) = site.field_text("path") {
        notes
            .imports
            .push((prose::name(prose::unquote(path)), site.line()));
    }
}
