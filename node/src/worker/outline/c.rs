//! C and C++.

use precentor_core::context::{SymbolKind, Visibility};
use tree_sitter::Node;

use super::prose;
use super::tree::{Declared, Dialect, Notes, Ready, Rule, Site};

/// C.
pub(super) static C: Ready = Ready::new(&Dialect {
    language: "c",
    grammar: || tree_sitter_c::LANGUAGE.into(),
    separator: "::",
    rules: RULES,
    declare,
    note,
    is_doc: |_| true,
});

/// C++.
pub(super) static CPP: Ready = Ready::new(&Dialect {
    language: "cpp",
    grammar: || tree_sitter_cpp::LANGUAGE.into(),
    separator: "::",
    rules: RULES,
    declare,
    note,
    is_doc: |_| true,
});

/// What a grammar does not have is never met.
const RULES: &[(&str, Rule)] = &[
    ("comment", Rule::Comment),
    ("template_declaration", Rule::Wrapper),
    ("template_parameter_list", Rule::Attribute),
    ("requires_clause", Rule::Attribute),
    ("function_definition", Rule::Symbol(SymbolKind::Function)),
    ("declaration", Rule::Symbol(SymbolKind::Function)),
    ("field_declaration", Rule::Symbol(SymbolKind::Function)),
    ("struct_specifier", Rule::Symbol(SymbolKind::Struct)),
    ("union_specifier", Rule::Symbol(SymbolKind::Struct)),
    ("class_specifier", Rule::Symbol(SymbolKind::Class)),
    ("enum_specifier", Rule::Symbol(SymbolKind::Enum)),
    ("type_definition", Rule::Symbol(SymbolKind::Type)),
    ("alias_declaration", Rule::Symbol(SymbolKind::Type)),
    ("concept_definition", Rule::Symbol(SymbolKind::Type)),
    ("namespace_definition", Rule::Symbol(SymbolKind::Module)),
    ("preproc_def", Rule::Symbol(SymbolKind::Macro)),
    ("preproc_function_def", Rule::Symbol(SymbolKind::Macro)),
    ("preproc_include", Rule::Import),
    ("access_specifier", Rule::Access),
    ("call_expression", Rule::Call("function")),
    ("type_identifier", Rule::TypeName),
];

fn declare<'t>(site: &Site<'_, 't>) -> Option<Declared<'t>> {
    match site.kind {
        SymbolKind::Function => declare_function(site),
        SymbolKind::Macro => {
            // Without a value it is a guard or a switch.
            site.field("value")?;
            let name = site.field_text("name")?;
            Some(Declared::new(name, site.kind, visibility(site, false)).body(macro_body(site)))
        }
        SymbolKind::Type => {
            let name = match site.node.kind() {
                "type_definition" => declared_name(site.field("declarator")?)?,
                _ => site.field("name")?,
            };
            // The body of `typedef struct { … } Name` says nothing in a signature.
            let body = site
                .field("type")
                .and_then(|described| described.child_by_field_name("body"));
            Some(Declared::new(site.text(name), site.kind, visibility(site, false)).body(body))
        }
        SymbolKind::Module => {
            let name = site.field_text("name")?;
            Some(Declared::new(name, site.kind, Visibility::Public).body(site.field("body")))
        }
        kind => {
            // Without a body it is a use, or a promise of a type that is declared elsewhere.
            let body = site.field("body")?;
            let mut declared =
                Declared::new(site.field_text("name")?, kind, visibility(site, false))
                    .body(Some(body));
            declared.inner_access = Some(match kind {
                SymbolKind::Class => Visibility::Private,
                _ => Visibility::Public,
            });
            Some(declared)
        }
    }
}

/// A macro's signature is its name and parameters, not what it expands to.
fn macro_body<'t>(site: &Site<'_, 't>) -> Option<Node<'t>> {
    site.field("parameters").and_then(|_| site.field("value"))
}

fn declare_function<'t>(site: &Site<'_, 't>) -> Option<Declared<'t>> {
    let is_definition = site.node.kind() == "function_definition";
    // Within a function, `T name(args)` is a variable.
    if !is_definition && site.is_local() {
        return None;
    }
    let (name, called) = function_name(site.field("declarator")?)?;
    let text = site.text(name);
    let mut parts = text.rsplitn(2, |byte| *byte == b':');
    let own = parts.next().unwrap_or(text);
    let qualifier = parts
        .next()
        .and_then(|text| text.strip_suffix(b":"))
        .unwrap_or_default();
    let (own, qualifier) = if called {
        (own, qualifier)
    } else {
        (text, &[][..])
    };
    let is_static = site.text(site.node).starts_with(b"static ") && !site.is_member();
    let kind = match site.is_member() || !qualifier.is_empty() {
        true => SymbolKind::Method,
        false => SymbolKind::Function,
    };
    let mut declared =
        Declared::new(own, kind, visibility(site, is_static)).body(site.field("body"));
    declared.qualifier = prose::name(qualifier);
    Some(declared)
}

fn visibility(site: &Site<'_, '_>, is_static: bool) -> Visibility {
    match site.access {
        _ if is_static || site.is_local() => Visibility::Private,
        Some(access) => access,
        None => Visibility::Public,
    }
}

/// The name in a declarator that declares a function; and whether the name may
/// be split at its colons (an operator's may not).
fn function_name(declarator: Node<'_>) -> Option<(Node<'_>, bool)> {
    let mut node = declarator;
    let mut is_function = false;
    // Deeper than any declaration that a person would write.
    for _ in 0..32 {
        match node.kind() {
            "function_declarator" => is_function = true,
            "identifier"
            | "field_identifier"
            | "qualified_identifier"
            | "destructor_name"
            | "type_identifier"
            | "template_function" => {
                return is_function.then_some((node, true));
            }
            "operator_name" => return is_function.then_some((node, false)),
            "operator_cast" => return Some((node, false)),
            _ => {}
        }
        node = node
            .child_by_field_name("declarator")
            .or_else(|| inner_declarator(node))?;
        // A pointer to a function is a variable.
        if is_function && node.kind() == "parenthesized_declarator" {
            return None;
        }
    }
    None
}

/// References and attributes hold their declarator without naming the field.
fn inner_declarator(node: Node<'_>) -> Option<Node<'_>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor)
        .take(8)
        .find(|child| child.kind().ends_with("declarator"))
}

/// The name that any declarator declares.
fn declared_name(declarator: Node<'_>) -> Option<Node<'_>> {
    let mut node = declarator;
    for _ in 0..32 {
        if node.kind().ends_with("identifier") {
            return Some(node);
        }
        node = node.child_by_field_name("declarator").or_else(|| {
            let mut cursor = node.walk();
            let mut children = node.named_children(&mut cursor).take(8);
            children.find(|child| {
                child.kind().ends_with("declarator") || child.kind().ends_with("identifier")
            })
        })?;
    }
    None
}

fn note(site: &Site<'_, '_>, notes: &mut Notes) {
    if let Some(path) = site.field_text("path") {
        notes
            .imports
            .push((prose::name(prose::unquote(path)), site.line()));
    }
}
