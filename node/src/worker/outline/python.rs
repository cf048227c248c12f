//! Python.

use precentor_core::context::{SymbolKind, Visibility};
use tree_sitter::Node;

use super::prose;
use super::tree::{Declared, Dialect, Notes, Ready, Rule, Site};

/// The dialect.
pub(super) static PYTHON: Ready = Ready::new(&Dialect {
    language: "python",
    grammar: || tree_sitter_python::LANGUAGE.into(),
    separator: ".",
    rules: &[
        ("comment", Rule::Comment),
        ("decorator", Rule::Attribute),
        ("decorated_definition", Rule::Wrapper),
        ("class_definition", Rule::Symbol(SymbolKind::Class)),
        ("function_definition", Rule::Symbol(SymbolKind::Function)),
        ("assignment", Rule::Symbol(SymbolKind::Constant)),
        ("type_alias_statement", Rule::Symbol(SymbolKind::Type)),
        ("import_statement", Rule::Import),
        ("import_from_statement", Rule::Import),
        ("module", Rule::Special),
        ("if_statement", Rule::Special),
        ("call", Rule::Call("function")),
        ("type", Rule::TypeName),
    ],
    declare,
    note,
    is_doc: |_| true,
});

fn declare<'t>(site: &Site<'_, 't>) -> Option<Declared<'t>> {
    let visibility = |name: &[u8]| match name {
        _ if site.is_local() => Visibility::Private,
        [b'_', b'_', .., b'_', b'_'] => Visibility::Public,
        [b'_', ..] => Visibility::Private,
        _ => Visibility::Public,
    };
    match site.kind {
        SymbolKind::Constant => {
            let left = site
                .field("left")
                .filter(|left| left.kind() == "identifier")?;
            let name = site.text(left);
            let is_constant =
                name.iter().any(u8::is_ascii_uppercase) && !name.iter().any(u8::is_ascii_lowercase);
            if site.is_local() || !is_constant {
                return None;
            }
            Some(Declared::new(name, site.kind, visibility(name)))
        }
        SymbolKind::Type => {
            let name = site.field_text("left")?;
            Some(Declared::new(name, site.kind, visibility(name)))
        }
        kind => {
            let name = site.field_text("name")?;
            let kind = match kind {
                SymbolKind::Function if site.is_member() => SymbolKind::Method,
                kind => kind,
            };
            let body = site.field("body");
            let mut declared = Declared::new(name, kind, visibility(name)).body(body);
            declared.last = body.map(last_of);
            declared.doc = Some(
                body.and_then(|body| docstring(site, body))
                    .map(prose::first_line)
                    .unwrap_or_default(),
            );
            Some(declared)
        }
    }
}

/// The last node of a body that is no comment: a block of the grammar takes in
/// the comments after it, Python's own parser does not.
fn last_of(body: Node<'_>) -> Node<'_> {
    /// Deeper than any real last statement.
    const DEPTH_MAX: usize = 200;
    let mut cursor = body.walk();
    for _ in 0..DEPTH_MAX {
        if !cursor.goto_last_child() {
            break;
        }
        while cursor.node().kind() == "comment" && cursor.goto_previous_sibling() {}
    }
    cursor.node()
}

/// The text of the string that a body begins with.
fn docstring<'s>(site: &Site<'s, '_>, body: Node<'_>) -> Option<&'s [u8]> {
    let mut cursor = body.walk();
    let first = body
        .named_children(&mut cursor)
        .take(32)
        .find(|child| child.kind() != "comment")?;
    let string = match first.kind() {
        "expression_statement" => first.named_child(0)?,
        _ => first,
    };
    (string.kind() == "string").then(|| prose::unquote(site.text(string)))
}

fn note(site: &Site<'_, '_>, notes: &mut Notes) {
    let node = site.node;
    match node.kind() {
        "module" => {
            if let Some(text) = docstring(site, node) {
                notes.module_doc = String::from_utf8_lossy(text).into_owned();
            }
            list_exports(site, notes);
        }
        "if_statement" => {
            let condition = site.field_text("condition").unwrap_or_default();
            if condition.len() < 40 && condition.starts_with(b"__name__") {
                notes
                    .entry_points
                    .push(("__main__".to_owned(), site.line()));
            }
        }
        "import_from_statement" => {
            let target = site.field_text("module_name").unwrap_or_default();
            notes.imports.push((prose::name(target), site.line()));
            let mut cursor = node.walk();
            for name in node.children_by_field_name("name", &mut cursor) {
                notes.used.push(prose::name(original_name(site, name)));
            }
        }
        _ => {
            let mut cursor = node.walk();
            for name in node.children_by_field_name("name", &mut cursor) {
                notes
                    .imports
                    .push((prose::name(original_name(site, name)), site.line()));
            }
        }
    }
}

/// `a` of `a as b`.
fn original_name<'s>(site: &Site<'s, '_>, name: Node<'_>) -> &'s [u8] {
    site.text(name.child_by_field_name("name").unwrap_or(name))
}

/// The strings of `__all__ = […]` at the top of the module.
fn list_exports(site: &Site<'_, '_>, notes: &mut Notes) {
    let mut cursor = site.node.walk();
    for statement in site.node.named_children(&mut cursor) {
        let assignment = match statement.kind() {
            "expression_statement" => statement.named_child(0),
            _ => None,
        };
        let Some(assignment) = assignment else {
            continue;
        };
        let is_all = assignment
            .child_by_field_name("left")
            .is_some_and(|left| site.text(left) == b"__all__");
        let Some(list) = assignment.child_by_field_name("right").filter(|_| is_all) else {
            continue;
        };
        let mut items = list.walk();
        let strings = list
            .named_children(&mut items)
            .filter(|item| item.kind() == "string");
        notes
            .exports
            .extend(strings.map(|item| prose::name(prose::unquote(site.text(item)))));
    }
}
