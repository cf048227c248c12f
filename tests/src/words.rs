//! The words of scripts: nodes, spans, addresses, digests, and items of a
//! submit. Every error names the word that was not understood.

use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use precentor_core::address::Address;
use precentor_core::context::ContextKind;
use precentor_core::digest::Digest;
use precentor_core::ids::{JobId, LogIndex, NodeId, Token, WorkerId};
use precentor_core::job::{Class, Dependency, FailureClass, Generator, JobSpec, Policy};
use precentor_core::time::Span;

/// A command line, read word by word.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    words: Vec<&'a str>,
    at: usize,
}

impl<'a> Words<'a> {
    /// The words of a line.
    #[must_use]
    pub fn new(line: &'a str) -> Words<'a> {
        Words {
            words: line.split_whitespace().collect(),
            at: 0,
        }
    }

    /// The next word, if there is one.
    pub fn take(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.at).copied();
        self.at += usize::from(word.is_some());
        word
    }

    /// The next word, which must be there.
    pub fn need(&mut self, what: &str) -> Result<&'a str> {
        self.take().with_context(|| format!("{what} is missing"))
    }

    /// Whether the next word is this one; takes it if so.
    pub fn has(&mut self, word: &str) -> bool {
        let found = self.words.get(self.at) == Some(&word);
        self.at += usize::from(found);
        found
    }

    /// What is left, in one piece.
    pub fn rest(&mut self) -> String {
        let rest = self.words[self.at..].join(" ");
        self.at = self.words.len();
        rest
    }

    /// Nothing may be left.
    pub fn end(&mut self) -> Result<()> {
        match self.take() {
            None => Ok(()),
            Some(word) => bail!("{word:?} is one word too many"),
        }
    }

    /// The next word, after a letter or two, as a number.
    pub fn number(&mut self, prefix: &str) -> Result<u64> {
        number(self.need(prefix)?, prefix)
    }

    /// A node such as `n1`.
    pub fn node(&mut self) -> Result<NodeId> {
        Ok(NodeId(self.number("n")?))
    }

    /// A worker such as `w1`.
    pub fn worker(&mut self) -> Result<WorkerId> {
        Ok(WorkerId(self.number("w")?))
    }

    /// A job such as `j1`.
    pub fn job(&mut self) -> Result<JobId> {
        Ok(JobId(self.number("j")?))
    }

    /// A link such as `n1->n2`.
    pub fn link(&mut self) -> Result<(NodeId, NodeId)> {
        let word = self.need("a link such as n1->n2")?;
        link(word)?.ok_or_else(|| anyhow!("{word:?} is no link such as n1->n2"))
    }

    /// A link, if the next word is one.
    pub fn maybe_link(&mut self) -> Result<Option<(NodeId, NodeId)>> {
        let Some(word) = self.words.get(self.at) else {
            return Ok(None);
        };
        let found = link(word)?;
        self.at += usize::from(found.is_some());
        Ok(found)
    }

    /// A span such as `20ms` or `5s`.
    pub fn span(&mut self) -> Result<Span> {
        let word = self.need("a span such as 20ms")?;
        let (digits, unit_us) = if let Some(digits) = word.strip_suffix("us") {
            (digits, 1)
        } else if let Some(digits) = word.strip_suffix("ms") {
            (digits, 1_000)
        } else if let Some(digits) = word.strip_suffix('s') {
            (digits, 1_000_000)
        } else {
            bail!("{word:?} is no span such as 20ms or 5s");
        };
        let count: u64 = digits
            .parse()
            .with_context(|| format!("{word:?} is no span"))?;
        Ok(Span(count * unit_us))
    }

    /// A token such as `5.0`.
    pub fn token(&mut self) -> Result<Token> {
        token(self.need("a token such as 5.0")?)
    }
}

fn link(word: &str) -> Result<Option<(NodeId, NodeId)>> {
    let Some((from, to)) = word.split_once("->") else {
        return Ok(None);
    };
    Ok(Some((NodeId(number(from, "n")?), NodeId(number(to, "n")?))))
}

fn number(word: &str, prefix: &str) -> Result<u64> {
    word.strip_prefix(prefix)
        .and_then(|digits| digits.parse().ok())
        .with_context(|| format!("{word:?} is not {prefix:?} and a number"))
}

/// A token such as `5.0`.
pub fn token(word: &str) -> Result<Token> {
    let parts = word.split_once('.');
    let parsed = parts.and_then(|(index, position)| {
        Some(Token {
            index: LogIndex(index.parse().ok()?),
            position: position.parse().ok()?,
        })
    });
    parsed.with_context(|| format!("{word:?} is no token such as 5.0"))
}

/// An address of the scripts' only project.
pub fn address(path: &str) -> Result<Address> {
    Address::from_str(&format!("ucxl://p/{path}")).map_err(|error| anyhow!("{error}"))
}

/// A class of failure.
pub fn failure_class(word: &str) -> Result<FailureClass> {
    Ok(match word {
        "retryable" => FailureClass::Retryable,
        "permanent" => FailureClass::Permanent,
        "busy" => FailureClass::Busy,
        "drained" => FailureClass::Drained,
        other => bail!("{other:?} is no failure: retryable, permanent, busy, drained"),
    })
}

/// The items of a submit: `PATH[@INPUT] [needs PATH] [wants PATH] [class C]
/// [tenant T] [delay SPAN] [engine E] [times N]`, with a `+` between items. So many
/// times are the addresses PATH1, PATH2 and so on.
pub fn items(text: &str) -> Result<Vec<JobSpec>> {
    let items: Result<Vec<_>> = text.split(" + ").map(item).collect();
    Ok(items?.into_iter().flatten().collect())
}

fn item(text: &str) -> Result<Vec<JobSpec>> {
    let mut words = Words::new(text);
    let word = words.need("an address")?;
    let (path, input) = word.split_once('@').unwrap_or((word, "1"));
    let mut spec = JobSpec {
        address: address(path)?,
        kind: ContextKind::File,
        subject: Digest::of(input.as_bytes()),
        generator: Generator {
            engine: "outline".into(),
            version: 1,
            parameters: Digest::ZERO,
        },
        class: Class::Normal,
        tenant: "default".into(),
        dependencies: Vec::new(),
        delay_ms: 0,
    };
    let mut times = None;
    while let Some(word) = words.take() {
        match word {
            "needs" | "wants" => spec.dependencies.push(Dependency {
                address: address(words.need("an address")?)?,
                policy: match word {
                    "needs" => Policy::Require,
                    _ => Policy::Optional,
                },
            }),
            "class" => spec.class = class(words.need("a class")?)?,
            "tenant" => spec.tenant = words.need("a tenant")?.to_owned(),
            "times" => times = Some(words.number("")?),
            "delay" => spec.delay_ms = words.span()?.as_ms(),
            "engine" => spec.generator.engine = words.need("an engine")?.to_owned(),
            other => bail!("{other:?} is not known in an item of a submit"),
        }
    }
    let Some(times) = times else {
        return Ok(vec![spec]);
    };
    let numbered = (1..=times).map(|number| {
        Ok(JobSpec {
            address: address(&format!("{path}{number}"))?,
            ..spec.clone()
        })
    });
    numbered.collect()
}

/// How urgent something is.
pub fn class(word: &str) -> Result<Class> {
    match word {
        "urgent" => Ok(Class::Urgent),
        "normal" => Ok(Class::Normal),
        "background" => Ok(Class::Background),
        "idle" => Ok(Class::Idle),
        other => bail!("{other:?} is no class"),
    }
}
