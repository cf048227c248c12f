//! The words of the interface: what requests and answers look like in JSON. Ids are
//! numbers, digests 64 hexadecimal digits, tokens `INDEX.POSITION`, times milliseconds.
//! The core's own types may change; these are a promise.

use std::fmt::Display;
use std::str::FromStr;

use precentor_core::address::Address;
use precentor_core::command::{Admission, Asked, CacheMode, Cached};
use precentor_core::context::ContextKind;
use precentor_core::digest::Digest;
use precentor_core::job::{Class, Dependency, Generator, JobSpec, Policy};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Problem;

mod jobs;

pub use self::jobs::{
    AttemptWords, DeadLetterWords, DeadLettersPage, ExplanationWords, FailureWord, FinishedWords,
    JobWords, JobsPage, StateWord, StateWords, end,
};

/// How urgent a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClassWord {
    /// Someone waits for it now.
    Urgent,
    /// The default.
    #[default]
    Normal,
    /// Wanted, not awaited.
    Background,
    /// Only when nothing else is to do.
    Idle,
}

impl From<ClassWord> for Class {
    fn from(word: ClassWord) -> Class {
        match word {
            ClassWord::Urgent => Class::Urgent,
            ClassWord::Normal => Class::Normal,
            ClassWord::Background => Class::Background,
            ClassWord::Idle => Class::Idle,
        }
    }
}

impl From<Class> for ClassWord {
    fn from(class: Class) -> ClassWord {
        match class {
            Class::Urgent => ClassWord::Urgent,
            Class::Normal => ClassWord::Normal,
            Class::Background => ClassWord::Background,
            Class::Idle => ClassWord::Idle,
        }
    }
}

/// What stands at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KindWord {
    /// A file, or a symbolic link.
    File,
    /// A folder within the project.
    Folder,
    /// The project as a whole.
    Project,
}

impl From<KindWord> for ContextKind {
    fn from(word: KindWord) -> ContextKind {
        match word {
            KindWord::File => ContextKind::File,
            KindWord::Folder => ContextKind::Folder,
            KindWord::Project => ContextKind::Project,
        }
    }
}

/// What a job does when a dependency of it ends without a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyWord {
    /// End too.
    Require,
    /// Run without it; the record lists the gap.
    #[default]
    Optional,
}

/// What produces a context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GeneratorWords {
    /// The engine's name, which a worker must offer.
    #[schema(example = "outline", max_length = 128)]
    pub engine: String,
    /// The engine's version.
    pub version: u32,
    /// The digest of the engine's parameters; none for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-fA-F]{64}$")]
    pub parameters: Option<String>,
}

/// A context that must be there first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DependencyWords {
    /// Its address.
    #[schema(example = "ucxl://project/src/main.rs", pattern = "^ucxl://.")]
    pub address: String,
    /// What if it ends without a result.
    #[serde(default)]
    pub policy: PolicyWord,
}

/// A request for one context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemWords {
    /// The context asked for.
    #[schema(example = "ucxl://project/src/main.rs", pattern = "^ucxl://.")]
    pub address: String,
    /// What stands at the address.
    pub kind: KindWord,
    /// The digest of what the context describes: BLAKE3 of a file's content, or the
    /// Merkle digest of a folder's children.
    #[schema(pattern = "^[0-9a-fA-F]{64}$")]
    pub subject: String,
    /// What is to generate it.
    pub generator: GeneratorWords,
    /// How urgent it is.
    #[serde(default)]
    pub class: ClassWord,
    /// On whose account it runs.
    #[serde(default = "default_tenant")]
    #[schema(max_length = 128)]
    pub tenant: String,
    /// What must be there first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<DependencyWords>,
    /// Not to start before this much of the cluster's time after it was accepted.
    #[serde(default)]
    pub delay_ms: u64,
}

fn default_tenant() -> String {
    "default".to_owned()
}

/// What requests take from the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum ModeWords {
    /// What was made of this very input by this very generator; otherwise it is made.
    #[default]
    Fresh,
    /// Something older too, at once, and what is fresh is made meanwhile.
    StaleOk {
        /// Not older than this since it was published.
        max_age_ms: u64,
    },
    /// What is there or nothing: no job is made.
    CachedOnly,
    /// It is made anew. A job for it that is not over may answer, none that is.
    Refresh,
}

impl From<ModeWords> for CacheMode {
    fn from(words: ModeWords) -> CacheMode {
        match words {
            ModeWords::Fresh => CacheMode::Fresh,
            ModeWords::StaleOk { max_age_ms } => CacheMode::StaleOk { max_age_ms },
            ModeWords::CachedOnly => CacheMode::CachedOnly,
            ModeWords::Refresh => CacheMode::Refresh,
        }
    }
}

/// A batch of requests: all of them are accepted, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchWords {
    /// The requests, dependencies before dependents or not.
    #[schema(min_items = 1, max_items = 1000)]
    pub items: Vec<ItemWords>,
    /// What may answer them from the cache.
    #[serde(default)]
    pub cache: ModeWords,
    /// Of a request with an `Idempotency-Key`: the client has the answers to all
    /// requests of its session below this sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<u64>,
}

impl BatchWords {
    /// The requests as the cluster takes them.
    pub fn specs(&self) -> Result<Vec<JobSpec>, Problem> {
        let items = self.items.iter().enumerate();
        items
            .map(|(number, item)| {
                spec(item).map_err(|what| Problem::invalid(format!("items[{number}]: {what}")))
            })
            .collect()
    }
}

fn spec(item: &ItemWords) -> Result<JobSpec, String> {
    let dependency = |words: &DependencyWords| {
        Ok::<_, String>(Dependency {
            address: parse::<AddressText>("dependencies.address", &words.address)?.0,
            policy: match words.policy {
                PolicyWord::Require => Policy::Require,
                PolicyWord::Optional => Policy::Optional,
            },
        })
    };
    let parameters = item.generator.parameters.as_deref();
    Ok(JobSpec {
        address: parse::<AddressText>("address", &item.address)?.0,
        kind: item.kind.into(),
        subject: parse("subject", &item.subject)?,
        generator: Generator {
            engine: item.generator.engine.clone(),
            version: item.generator.version,
            parameters: match parameters {
                Some(text) => parse("generator.parameters", text)?,
                None => Digest::ZERO,
            },
        },
        class: item.class.into(),
        tenant: item.tenant.clone(),
        dependencies: item
            .dependencies
            .iter()
            .map(dependency)
            .collect::<Result<_, _>>()?,
        delay_ms: item.delay_ms,
    })
}

struct AddressText(Address);

impl FromStr for AddressText {
    type Err = precentor_core::address::AddressError;

    fn from_str(text: &str) -> Result<AddressText, Self::Err> {
        Address::parse(text).map(AddressText)
    }
}

fn parse<T: FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{what}: {error}"))
}

/// An address in a query.
pub fn address(text: &str) -> Result<Address, Problem> {
    Address::parse(text).map_err(Problem::invalid)
}

/// How a request was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdmissionWord {
    /// A new job.
    Created,
    /// The same job was live already.
    Attached,
    /// The result was there.
    FromCache,
    /// An older input is running: this one is next.
    Parked,
    /// The very same failed for good before: nothing is run, and the job is dead.
    FailedBefore,
    /// Something older answers now, and a job makes what is fresh.
    Stale,
    /// It was not there, or is invalid. No job was made.
    NotCached,
}

impl From<Admission> for AdmissionWord {
    fn from(admission: Admission) -> AdmissionWord {
        match admission {
            Admission::Created => AdmissionWord::Created,
            Admission::Attached => AdmissionWord::Attached,
            Admission::FromCache => AdmissionWord::FromCache,
            Admission::Parked => AdmissionWord::Parked,
            Admission::FailedBefore => AdmissionWord::FailedBefore,
        }
    }
}

/// What became of one request of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AcceptedWords {
    /// The job that answers for it; none if none was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
    /// How it was admitted.
    pub how: AdmissionWord,
    /// What the cache answers, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached: Option<CachedWords>,
    /// How that job ended, if it was waited for and has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<StateWords>,
}

/// A published result that answers a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CachedWords {
    /// The digest of its body.
    pub result: String,
    /// The job that published it.
    pub by: u64,
    /// How long ago, in the cluster's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
}

impl From<Cached> for CachedWords {
    fn from(cached: Cached) -> CachedWords {
        CachedWords {
            result: cached.result.to_string(),
            by: cached.by.0,
            age_ms: cached.age_ms,
        }
    }
}

impl From<Asked> for AcceptedWords {
    fn from(asked: Asked) -> AcceptedWords {
        let (job, how, cached) = match asked {
            Asked::Job(submitted) => (Some(submitted.job), submitted.how.into(), None),
            Asked::Stale { cached, refresh } => {
                (Some(refresh.job), AdmissionWord::Stale, Some(cached))
            }
            Asked::Cached(cached) => (None, AdmissionWord::FromCache, Some(cached)),
            Asked::NotCached => (None, AdmissionWord::NotCached, None),
        };
        AcceptedWords {
            job: job.map(|job| job.0),
            how,
            cached: cached.map(CachedWords::from),
            end: None,
        }
    }
}

/// An accepted batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchAnswer {
    /// The log index at which it was accepted.
    pub index: u64,
    /// What became of each request, in order.
    pub items: Vec<AcceptedWords>,
}
