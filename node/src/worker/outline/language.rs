//! Tells a file's language by its name, and for a few by its first bytes.

use super::tree::Ready;
use super::{c, go, java, javascript, python, rust};

/// How a text is read.
#[derive(Clone, Copy)]
pub(super) enum Reader {
    /// By a grammar.
    Tree(&'static Ready),
    /// Headings.
    Markdown,
    /// Sections and keys, one a line.
    Sections,
    /// The keys of the outermost object.
    Json,
    /// The keys at the left edge.
    Yaml,
    /// A program without a grammar here: its first comment.
    Script,
    /// The first lines.
    Plain,
}

/// A language and its reader.
#[derive(Clone, Copy)]
pub(super) struct Language {
    pub(super) name: &'static str,
    pub(super) reader: Reader,
}

/// Names that say it all.
const BY_NAME: &[(&str, &str, Reader)] = &[
    ("Makefile", "makefile", Reader::Script),
    ("makefile", "makefile", Reader::Script),
    ("GNUmakefile", "makefile", Reader::Script),
    ("Dockerfile", "dockerfile", Reader::Script),
    ("CMakeLists.txt", "cmake", Reader::Script),
    ("Cargo.lock", "toml", Reader::Sections),
    ("Gemfile", "ruby", Reader::Script),
    ("Rakefile", "ruby", Reader::Script),
    ("Jenkinsfile", "groovy", Reader::Script),
    ("go.mod", "gomod", Reader::Script),
    (".gitignore", "gitignore", Reader::Script),
    (".gitattributes", "gitattributes", Reader::Script),
    (".editorconfig", "ini", Reader::Sections),
];

/// By what follows the last dot, in lower case.
const BY_EXTENSION: &[(&str, &str, Reader)] = &[
    ("rs", "rust", Reader::Tree(&rust::RUST)),
    ("py", "python", Reader::Tree(&python::PYTHON)),
    ("pyi", "python", Reader::Tree(&python::PYTHON)),
    ("pyw", "python", Reader::Tree(&python::PYTHON)),
    ("go", "go", Reader::Tree(&go::GO)),
    ("js", "javascript", Reader::Tree(&javascript::JAVASCRIPT)),
    ("jsx", "javascript", Reader::Tree(&javascript::JAVASCRIPT)),
    ("mjs", "javascript", Reader::Tree(&javascript::JAVASCRIPT)),
    ("cjs", "javascript", Reader::Tree(&javascript::JAVASCRIPT)),
    ("ts", "typescript", Reader::Tree(&javascript::TYPESCRIPT)),
    ("mts", "typescript", Reader::Tree(&javascript::TYPESCRIPT)),
    ("cts", "typescript", Reader::Tree(&javascript::TYPESCRIPT)),
    ("tsx", "tsx", Reader::Tree(&javascript::TSX)),
    ("java", "java", Reader::Tree(&java::JAVA)),
    ("c", "c", Reader::Tree(&c::C)),
    ("h", "c", Reader::Tree(&c::C)),
    ("cc", "cpp", Reader::Tree(&c::CPP)),
    ("cpp", "cpp", Reader::Tree(&c::CPP)),
    ("cxx", "cpp", Reader::Tree(&c::CPP)),
    ("c++", "cpp", Reader::Tree(&c::CPP)),
    ("hh", "cpp", Reader::Tree(&c::CPP)),
    ("hpp", "cpp", Reader::Tree(&c::CPP)),
    ("hxx", "cpp", Reader::Tree(&c::CPP)),
    ("ipp", "cpp", Reader::Tree(&c::CPP)),
    ("md", "markdown", Reader::Markdown),
    ("markdown", "markdown", Reader::Markdown),
    ("mdx", "markdown", Reader::Markdown),
    ("toml", "toml", Reader::Sections),
    ("ini", "ini", Reader::Sections),
    ("cfg", "ini", Reader::Sections),
    ("conf", "ini", Reader::Sections),
    ("properties", "ini", Reader::Sections),
    ("json", "json", Reader::Json),
    ("json5", "json", Reader::Json),
    ("jsonc", "json", Reader::Json),
    ("webmanifest", "json", Reader::Json),
    ("yaml", "yaml", Reader::Yaml),
    ("yml", "yaml", Reader::Yaml),
    ("sh", "shell", Reader::Script),
    ("bash", "shell", Reader::Script),
    ("zsh", "shell", Reader::Script),
    ("rb", "ruby", Reader::Script),
    ("pl", "perl", Reader::Script),
    ("pm", "perl", Reader::Script),
    ("php", "php", Reader::Script),
    ("swift", "swift", Reader::Script),
    ("kt", "kotlin", Reader::Script),
    ("kts", "kotlin", Reader::Script),
    ("scala", "scala", Reader::Script),
    ("cs", "csharp", Reader::Script),
    ("lua", "lua", Reader::Script),
    ("ex", "elixir", Reader::Script),
    ("exs", "elixir", Reader::Script),
    ("hs", "haskell", Reader::Script),
    ("zig", "zig", Reader::Script),
    ("r", "r", Reader::Script),
    ("sql", "sql", Reader::Script),
    ("proto", "protobuf", Reader::Script),
    ("gradle", "gradle", Reader::Script),
    ("cmake", "cmake", Reader::Script),
    ("mk", "makefile", Reader::Script),
    ("html", "html", Reader::Plain),
    ("xml", "xml", Reader::Plain),
    ("css", "css", Reader::Script),
    ("scss", "scss", Reader::Script),
    ("rst", "restructuredtext", Reader::Plain),
    ("csv", "csv", Reader::Plain),
    ("svg", "svg", Reader::Plain),
];

/// The language of the file called `name` that begins with `head`.
pub(super) fn identify(name: &[u8], head: &[u8]) -> Language {
    let text = String::from_utf8_lossy(name);
    let found = |(_, name, reader): &(&str, &'static str, Reader)| Language {
        name,
        reader: *reader,
    };
    if let Some(row) = BY_NAME.iter().find(|(known, ..)| *known == text) {
        return found(row);
    }
    let extension = match text.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => extension.to_ascii_lowercase(),
        _ => String::new(),
    };
    // `.h` is what C and C++ share.
    if extension == "h" && looks_like_cpp(head) {
        return Language {
            name: "cpp",
            reader: Reader::Tree(&c::CPP),
        };
    }
    if let Some(row) = BY_EXTENSION.iter().find(|(known, ..)| *known == extension) {
        return found(row);
    }
    by_first_line(head).unwrap_or(Language {
        name: "text",
        reader: Reader::Plain,
    })
}

fn looks_like_cpp(head: &[u8]) -> bool {
    head[..head.len().min(32 * 1024)]
        .split(|byte| *byte == b'\n')
        .any(|line| {
            let line = line.trim_ascii_start();
            [
                &b"class "[..],
                b"namespace ",
                b"template",
                b"using ",
                b"public:",
                b"private:",
            ]
            .iter()
            .any(|word| line.starts_with(word))
        })
}

/// By the interpreter that a script asks for.
fn by_first_line(head: &[u8]) -> Option<Language> {
    let line = head
        .split(|byte| *byte == b'\n')
        .next()
        .filter(|line| line.starts_with(b"#!"))?;
    let line = String::from_utf8_lossy(line);
    let (name, reader) = match () {
        () if line.contains("python") => ("python", Reader::Tree(&python::PYTHON)),
        () if line.contains("node") => ("javascript", Reader::Tree(&javascript::JAVASCRIPT)),
        () if line.contains("sh") => ("shell", Reader::Script),
        () => ("script", Reader::Script),
    };
    Some(Language { name, reader })
}
