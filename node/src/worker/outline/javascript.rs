//! JavaScript, TypeScript, and both with JSX.

use precentor_core::context::{SymbolKind, Visibility};
use tree_sitter::Node;

use super::prose;
use super::tree::{Declared, Dialect, Notes, Ready, Rule, Site};

/// JavaScript, with or without JSX.
pub(super) static JAVASCRIPT: Ready = Ready::new(&Dialect {
    language: "javascript",
    grammar: || tree_sitter_javascript::LANGUAGE.into(),
    separator: ".",
    rules: RULES,
    declare,
    note,
    is_doc: |_| true,
});

/// TypeScript.
pub(super) static TYPESCRIPT: Ready = Ready::new(&Dialect {
    language: "typescript",
    grammar: || tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into(),
    separator: ".",
    rules: RULES,
    declare,
    note,
    is_doc: |_| true,
});

/// TypeScript with JSX.
pub(super) static TSX: Ready = Ready::new(&Dialect {
    language: "tsx",
    grammar: || tree_sitter_typescript::LANGUAGE_TSX.into(),
    separator: ".",
    rules: RULES,
    declare,
    note,
    is_doc: |_| true,
});

/// What a grammar does not have is never met.
const RULES: &[(&str, Rule)] = &[
    ("comment", Rule::Comment),
    ("decorator", Rule::Attribute),
    ("export_statement", Rule::Export),
    ("ambient_declaration", Rule::Wrapper),
    ("lexical_declaration", Rule::Wrapper),
    ("variable_declaration", Rule::Wrapper),
    ("expression_statement", Rule::Wrapper),
    ("function_declaration", Rule::Symbol(SymbolKind::Function)),
    (
        "generator_function_declaration",
        Rule::Symbol(SymbolKind::Function),
    ),
    ("function_signature", Rule::Symbol(SymbolKind::Function)),
    ("class_declaration", Rule::Symbol(SymbolKind::Class)),
    (
        "abstract_class_declaration",
        Rule::Symbol(SymbolKind::Class),
    ),
    ("method_definition", Rule::Symbol(SymbolKind::Method)),
    ("method_signature", Rule::Symbol(SymbolKind::Method)),
    (
        "abstract_method_signature",
        Rule::Symbol(SymbolKind::Method),
    ),
    ("field_definition", Rule::Symbol(SymbolKind::Method)),
    ("public_field_definition", Rule::Symbol(SymbolKind::Method)),
    ("variable_declarator", Rule::Symbol(SymbolKind::Constant)),
    ("assignment_expression", Rule::Symbol(SymbolKind::Function)),
    ("interface_declaration", Rule::Symbol(SymbolKind::Interface)),
    ("type_alias_declaration", Rule::Symbol(SymbolKind::Type)),
    ("enum_declaration", Rule::Symbol(SymbolKind::Enum)),
    ("internal_module", Rule::Symbol(SymbolKind::Module)),
    ("module", Rule::Symbol(SymbolKind::Module)),
    ("import_statement", Rule::Import),
    ("call_expression", Rule::Call("function")),
    ("new_expression", Rule::Call("constructor")),
    ("type_identifier", Rule::TypeName),
];

fn declare<'t>(site: &Site<'_, 't>) -> Option<Declared<'t>> {
    match site.node.kind() {
        "variable_declarator" => declare_variable(site),
        "assignment_expression" => declare_assigned(site),
        "field_definition" | "public_field_definition" => {
            let value = function_value(site.field("value")?)?;
            let name = site.field("name").or_else(|| site.field("property"))?;
            let declared = Declared::new(
                site.text(name),
                SymbolKind::Method,
                member_visibility(site, name),
            );
            Some(declared.body(value.child_by_field_name("body")))
        }
        "method_definition" | "method_signature" | "abstract_method_signature" => {
            let name = site.field("name")?;
            // A method of an object literal within a function is a detail of that function.
            let declared = Declared::new(
                site.text(name),
                SymbolKind::Method,
                member_visibility(site, name),
            );
            Some(declared.body(site.field("body")))
        }
        _ => {
            let visibility = top_visibility(site);
            let name = prose::unquote(site.field_text("name")?);
            let mut declared = Declared::new(name, site.kind, visibility).body(site.field("body"));
            if site.kind == SymbolKind::Module {
                declared.inner_access = Some(Visibility::Private);
            }
            Some(declared)
        }
    }
}

fn declare_variable<'t>(site: &Site<'_, 't>) -> Option<Declared<'t>> {
    let name = site
        .field("name")
        .filter(|name| name.kind() == "identifier")?;
    let visibility = top_visibility(site);
    let value = site.field("value")?;
    if let Some(function) = function_value(value) {
        let declared = Declared::new(site.text(name), SymbolKind::Function, visibility);
        return Some(declared.body(function.child_by_field_name("body")));
    }
    if value.kind() == "class" {
        let declared = Declared::new(site.text(name), SymbolKind::Class, visibility);
        return Some(declared.body(value.child_by_field_name("body")));
    }
    let is_constant = site
        .node
        .parent()
        .is_some_and(|parent| site.text(parent).starts_with(b"const"));
    if site.is_local() || !is_constant || value.kind() == "call_expression" && !site.exported {
        return None;
    }
    // The value of an object or array says little and takes much room.
    let is_long = value.end_byte() - value.start_byte() > 60;
    Some(
        Declared::new(site.text(name), SymbolKind::Constant, visibility)
            .body(is_long.then_some(value)),
    )
}

/// `exports.name = function …`, `Type.prototype.name = function …`.
fn declare_assigned<'t>(site: &Site<'_, 't>) -> Option<Declared<'t>> {
    let value = function_value(site.field("right")?)?;
    let left = site
        .field("left")
        .filter(|left| left.kind() == "member_expression")?;
    let name = left.child_by_field_name("property")?;
    let object = site.text(left.child_by_field_name("object")?);
    let (kind, qualifier) = match object {
        b"exports" | b"module.exports" => (SymbolKind::Function, &[][..]),
        b"module" => return None,
        _ => match object.strip_suffix(b".prototype") {
            Some(owner) => (SymbolKind::Method, owner),
            None if site.is_local() => return None,
            None => (SymbolKind::Function, object),
        },
    };
    let mut declared = Declared::new(site.text(name), kind, Visibility::Public)
        .body(value.child_by_field_name("body"));
    declared.qualifier = prose::name(qualifier);
    Some(declared)
}

fn function_value(value: Node<'_>) -> Option<Node<'_>> {
    let is_function = matches!(
        value.kind(),
        "arrow_function" | "function_expression" | "generator_function" | "function"
    );
    is_function.then_some(value)
}

fn top_visibility(site: &Site<'_, '_>) -> Visibility {
    match site.exported {
        true if !site.is_local() => Visibility::Public,
        _ => Visibility::Private,
    }
}

fn member_visibility(site: &Site<'_, '_>, name: Node<'_>) -> Visibility {
    if site.is_local() || name.kind() == "private_property_identifier" {
        return Visibility::Private;
    }
    let mut cursor = site.node.walk();
    let modifier = site
        .node
        .children(&mut cursor)
        .take(4)
        .find(|child| child.kind() == "accessibility_modifier");
    match modifier.map(|modifier| site.text(modifier)) {
        Some(b"private") => Visibility::Private,
        Some(b"protected") => Visibility::Restricted,
        _ => Visibility::Public,
    }
}

fn note(site: &Site<'_, '_>, notes: &mut Notes) {
    if site.node.kind() == "call_expression" {
        let argument = site
            .field("arguments")
            .and_then(|arguments| arguments.named_child(0));
        if let Some(path) = argument.filter(|argument| argument.kind() == "string") {
            notes
                .imports
                .push((prose::name(prose::unquote(site.text(path))), site.line()));
        }
        return;
    }
    if let Some(source) = site.field_text("source") {
        notes
            .imports
            .push((prose::name(prose::unquote(source)), site.line()));
    }
    let mut cursor = site.node.walk();
    for child in site.node.named_children(&mut cursor) {
        match child.kind() {
            "export_clause" => {
                let mut specifiers = child.walk();
                for specifier in child.named_children(&mut specifiers) {
                    let name = specifier
                        .child_by_field_name("alias")
                        .or(specifier.child_by_field_name("name"));
                    notes
                        .exports
                        .extend(name.map(|name| prose::name(site.text(name))));
                }
            }
            "import_clause" => used_names(site, child, notes),
            _ => {}
        }
    }
}

/// The names in `import Default, { a, b as c } from …`, as their module calls them.
fn used_names(site: &Site<'_, '_>, clause: Node<'_>, notes: &mut Notes) {
    let mut cursor = clause.walk();
    for child in clause.named_children(&mut cursor) {
        match child.kind() {
            "identifier" => notes.used.push(prose::name(site.text(child))),
            "named_imports" => {
                let mut specifiers = child.walk();
                let names = child
                    .named_children(&mut specifiers)
                    .filter_map(|specifier| specifier.child_by_field_name("name"));
                notes
                    .used
                    .extend(names.map(|name| prose::name(site.text(name))));
            }
            _ => {}
        }
    }
}
