//! The verbs with which a client, a worker or an operator asks a node.

use anyhow::{Context, Result, bail};
use precentor_core::access::{Area, Grant, Role};
use precentor_core::bytes::Bytes;
use precentor_core::command::{CacheMode, Command};
use precentor_core::digest::Digest;
use precentor_core::ids::{
    FinishNumber, JobId, LogIndex, RequestId, Sequence, SessionId, WorkerIncarnation,
};
use precentor_core::job::{Account, Limits, Rate, Reach, Scope, WorkerSpec};
use precentor_core::principal::Principal;
use precentor_core::request::{Consistency, Poll, Query, Request};

use super::edits::{annotate, edited, resolve};
use super::fitting;
use super::members::change;
use crate::words::{Words, address, class, failure_class, items, token};
use crate::world::World;

/// Does what such a line says.
pub(super) fn client(world: &mut World, line: &str) -> Result<()> {
    let mut words = Words::new(line);
    let verb = words.need("a verb")?;
    if verb == "session" {
        world.session = Some(SessionId(words.number("s")?));
        return words.end();
    }
    let node = words.node()?;
    // The node is no part of what was asked: a resend has the same words.
    let asked = format!("{verb} {}", words.clone().rest()).trim().to_owned();
    let (verb, locally) = match verb {
        "locally" => (words.need("a verb")?, true),
        other => (other, false),
    };
    let request = match verb {
        "open" => propose(None, Sequence(0), Command::OpenSession),
        "submit" => {
            let (request, acknowledged) = named(world, &mut words)?;
            let items = items(&words.rest())?;
            propose(Some(request), acknowledged, Command::Submit { items })
        }
        "take" => {
            let (request, acknowledged) = named(world, &mut words)?;
            let mode = mode(&mut words)?;
            let items = items(&words.rest())?;
            propose(Some(request), acknowledged, Command::Ask { items, mode })
        }
        "invalidate" => {
            let reach = reach(&mut words)?;
            propose(None, Sequence(0), Command::Invalidate { reach })
        }
        "budget" => {
            let bytes_max = match words.has("any") {
                true => None,
                false => Some(words.number("")?),
            };
            propose(None, Sequence(0), Command::PutBudget { bytes_max })
        }
        "leave" => {
            let (request, acknowledged) = named(world, &mut words)?;
            let jobs = jobs(&mut words)?;
            propose(Some(request), acknowledged, Command::Leave { jobs })
        }
        "cancel" => {
            let jobs = jobs(&mut words)?;
            propose(None, Sequence(0), Command::Cancel { jobs })
        }
        "redrive" => {
            let (request, acknowledged) = named(world, &mut words)?;
            let dependents = words.has("dependents");
            let jobs = jobs(&mut words)?;
            let command = Command::Redrive { jobs, dependents };
            propose(Some(request), acknowledged, command)
        }
        "purge" => {
            let jobs = jobs(&mut words)?;
            propose(None, Sequence(0), Command::Purge { jobs })
        }
        "reprioritise" => {
            let class = class(words.need("a class")?)?;
            let jobs = jobs(&mut words)?;
            propose(None, Sequence(0), Command::Reprioritise { jobs, class })
        }
        "pause" => {
            let scope = scope(&mut words)?;
            let reason = words.rest();
            propose(None, Sequence(0), Command::Pause { scope, reason })
        }
        "resume" => {
            let scope = scope(&mut words)?;
            propose(None, Sequence(0), Command::Resume { scope })
        }
        "expel" => {
            let worker = words.worker()?;
            propose(None, Sequence(0), Command::Expel { worker })
        }
        "annotate" => {
            let (request, acknowledged) = named(world, &mut words)?;
            propose(Some(request), acknowledged, annotate(&mut words)?)
        }
        "resolve" => {
            let (request, acknowledged) = named(world, &mut words)?;
            propose(Some(request), acknowledged, resolve(&mut words)?)
        }
        "limit" => propose(None, Sequence(0), put_limits(&mut words)?),
        "needs" => propose(None, Sequence(0), fitting::put_needs(&mut words)?),
        "offer" => propose(None, Sequence(0), fitting::put_offer(&mut words)?),
        "keep" => {
            let sources = words.rest();
            let sources = sources
                .split_whitespace()
                .map(|text| text.as_bytes().into());
            let sources = sources.collect();
            propose(None, Sequence(0), Command::KeepSources { sources })
        }
        "room" => {
            let bytes_max = words.number("")?;
            propose(None, Sequence(0), Command::PutSourceBudget { bytes_max })
        }
        "roles" => propose(None, Sequence(0), put_roles(&mut words)?),
        "register" => propose(None, Sequence(0), register(&mut words)?),
        "poll" => {
            let worker = words.worker()?;
            let incarnation = incarnation(&mut words)?;
            let slots_free = match words.has("free") {
                true => u32::try_from(words.number("")?)?,
                false => 1,
            };
            let together_max = match words.has("together") {
                true => u32::try_from(words.number("")?)?,
                false => 1,
            };
            let mut held = Vec::new();
            if words.has("holding") {
                while let Some(word) = words.take() {
                    held.push(token(word)?);
                }
            }
            Request::Poll(Poll {
                worker,
                incarnation,
                slots_free,
                together_max,
                held,
            })
        }
        "complete" => {
            let (job, token) = (words.job()?, words.token()?);
            let body = words.rest().into_bytes();
            let result = Digest::of(&body);
            let body = Bytes::from(body);
            let command = Command::Complete {
                job,
                token,
                result,
                body,
            };
            propose(None, Sequence(0), command)
        }
        verb @ ("fail" | "fail_together") => {
            let (job, token) = (words.job()?, words.token()?);
            let class = failure_class(words.need("a failure's class")?)?;
            let (retry_after_ms, message) = (None, words.rest());
            let command = match verb {
                "fail" => Command::Fail {
                    job,
                    token,
                    class,
                    message,
                    retry_after_ms,
                },
                _ => Command::FailTogether {
                    job,
                    token,
                    class,
                    message,
                    retry_after_ms,
                },
            };
            propose(None, Sequence(0), command)
        }
        "release" => {
            let (job, token) = (words.job()?, words.token()?);
            propose(None, Sequence(0), Command::Release { job, token })
        }
        // What no client may propose, or not so.
        "propose" => match words.need("a command")? {
            "tick" => propose(None, Sequence(0), Command::Tick),
            "leave" => {
                let jobs = jobs(&mut words)?;
                propose(None, Sequence(0), Command::Leave { jobs })
            }
            other => bail!("{other:?} cannot be proposed"),
        },
        "ask" => match words.need("a question")? {
            "job" => stale(Query::Job(words.job()?)),
            "context" => stale(Query::Context(address(words.need("an address")?)?)),
            "letter" => stale(Query::DeadLetter(words.job()?)),
            "letters" => stale(Query::DeadLetters {
                after: words.job()?,
                count_max: u32::try_from(words.number("")?)?,
            }),
            "unfinished" => stale(Query::Unfinished {
                within: address(words.need("an address")?)?,
                after: match words.has("after") {
                    true => Some(address(words.need("an address")?)?),
                    false => None,
                },
                count_max: match words.clone().take() {
                    Some(_) => u32::try_from(words.number("")?)?,
                    None => u32::MAX,
                },
            }),
            "pauses" => stale(Query::Pauses),
            "limits" => stale(Query::Limits),
            "needs" => stale(Query::Needs),
            "worker" => stale(Query::Worker(words.worker()?)),
            "sources" => {
                let texts = words.rest();
                let digests = texts
                    .split_whitespace()
                    .map(|text| Digest::of(text.as_bytes()));
                stale(Query::Sources(digests.collect()))
            }
            "cached" => stale(Query::Cached(address(words.need("an address")?)?)),
            "cache" => stale(Query::Cache),
            "roles" => stale(Query::Roles {
                after: words.take().map(|name| Principal(name.to_owned())),
                count_max: 9,
            }),
            question @ ("edited" | "history" | "conflicts") => stale(edited(question, &mut words)?),
            "why" => stale(Query::Explain(words.job()?)),
            "feed" => Request::FinishedAfter {
                after: FinishNumber(words.number("f")?),
                count_max: 100,
            },
            "status" => Request::Status,
            "end" => {
                let after = match words.has("after") {
                    true => LogIndex(words.number("i")?),
                    false => LogIndex(0),
                };
                let jobs = jobs(&mut words)?;
                Request::Await { jobs, after }
            }
            "handover" => Request::HandOver {
                to: match words.clone().take() {
                    Some(_) => Some(words.node()?),
                    None => None,
                },
            },
            "recovery" => {
                let mut survivors = Vec::new();
                while words.clone().take().is_some() {
                    survivors.push(words.node()?);
                }
                Request::RecoverUnsafely { survivors }
            }
            other => bail!("{other:?} is no question"),
        },
        "read" => {
            let query = match words.need("job or context")? {
                "job" => Query::Job(words.job()?),
                "context" => Query::Context(address(words.need("an address")?)?),
                other => bail!("{other:?} cannot be read"),
            };
            Request::Read {
                query,
                consistency: Consistency::Linearizable,
            }
        }
        "member" => Request::ChangeMembership(change(world, &mut words)?),
        other => bail!("{other:?} is no verb"),
    };
    words.end()?;
    let request = match (locally, request) {
        (false, request) => request,
        (
            true,
            Request::Propose {
                request: Some(request),
                acknowledged,
                command,
            },
        ) => Request::QueueLocally {
            request,
            acknowledged,
            command,
        },
        (true, _) => bail!("only what has a request can be kept for its client"),
    };
    world.ask(node, asked, request)
}

/// `q2 [ack q1]`: a request of the open session, and what of it is acknowledged.
fn named(world: &World, words: &mut Words<'_>) -> Result<(RequestId, Sequence)> {
    let session = world
        .session
        .context("no session is open: `open` one first")?;
    let sequence = Sequence(words.number("q")?);
    let acknowledged = match words.has("ack") {
        true => Sequence(words.number("q")?),
        false => Sequence(0),
    };
    Ok((RequestId { session, sequence }, acknowledged))
}

/// Jobs to the end of the line.
fn jobs(words: &mut Words<'_>) -> Result<Vec<JobId>> {
    let mut jobs = Vec::new();
    while words.clone().take().is_some() {
        jobs.push(words.job()?);
    }
    Ok(jobs)
}

/// `cluster`, `engine outline`, `tenant team` or `worker w1`.
fn scope(words: &mut Words<'_>) -> Result<Scope> {
    match words.need("cluster, engine, tenant or worker")? {
        "cluster" => Ok(Scope::Cluster),
        "engine" => Ok(Scope::Engine(words.take().unwrap_or_default().to_owned())),
        "tenant" => Ok(Scope::Tenant(words.take().unwrap_or_default().to_owned())),
        "worker" => Ok(Scope::Worker(words.worker()?)),
        other => bail!("{other:?} is nothing that can be paused"),
    }
}

/// `fresh`, `stale 500`, `cached`, `refresh` or `alone`.
fn mode(words: &mut Words<'_>) -> Result<CacheMode> {
    match words.need("fresh, stale, cached, refresh or alone")? {
        "fresh" => Ok(CacheMode::Fresh),
        "stale" => Ok(CacheMode::StaleOk {
            max_age_ms: words.number("")?,
        }),
        "cached" => Ok(CacheMode::CachedOnly),
        "refresh" => Ok(CacheMode::Refresh),
        "alone" => Ok(CacheMode::NoCache),
        other => bail!("{other:?} is no way to use the cache"),
    }
}

/// `address PATH`, `prefix PATH` or `engine outline [version 2]`.
fn reach(words: &mut Words<'_>) -> Result<Reach> {
    match words.need("address, prefix or engine")? {
        "address" => Ok(Reach::Address(address(words.need("an address")?)?)),
        "prefix" => Ok(Reach::Prefix(address(words.need("an address")?)?)),
        "engine" => Ok(Reach::Generator {
            engine: words.take().unwrap_or_default().to_owned(),
            version: match words.has("version") {
                true => Some(u32::try_from(words.number("")?)?),
                false => None,
            },
        }),
        other => bail!("{other:?} is nothing that can be made invalid"),
    }
}

/// `tenant team running 3 rate 60 burst 5 queued 100 weight 2`, or as little of it as is
/// to be limited.
fn put_limits(words: &mut Words<'_>) -> Result<Command> {
    let kind = words.need("tenant, engine or project")?;
    let name = words.take().unwrap_or_default().to_owned();
    let account = match kind {
        "tenant" => Account::Tenant(name),
        "engine" => Account::Engine(name),
        "project" => Account::Project(name),
        other => bail!("{other:?} is nothing that can be limited"),
    };
    let mut limits = Limits::default();
    while words.clone().take().is_some() {
        match words.need("a limit")? {
            "running" => limits.running_max = Some(u32::try_from(words.number("")?)?),
            "rate" => {
                let per_minute = u32::try_from(words.number("")?)?;
                let burst = match words.has("burst") {
                    true => u32::try_from(words.number("")?)?,
                    false => 1,
                };
                limits.rate = Some(Rate { per_minute, burst });
            }
            "queued" => limits.queued_max = Some(words.number("")?),
            "weight" => limits.weight = Some(u32::try_from(words.number("")?)?),
            other => bail!("{other:?} is no limit"),
        }
    }
    Ok(Command::PutLimits { account, limits })
}

/// `bob agent within a class normal + viewer at b`, or nothing but a name.
fn put_roles(words: &mut Words<'_>) -> Result<Command> {
    let principal = Principal(words.need("a name")?.to_owned());
    let mut grants = Vec::new();
    while let Some(word) = words.take() {
        let role = Role::ALL.into_iter().find(|role| role.to_string() == word);
        let mut grant = Grant::everywhere(role.with_context(|| format!("{word:?} is no role"))?);
        while let Some(word) = words.take() {
            match word {
                "within" => grant.area = Area::Within(address(words.need("an address")?)?),
                "at" => grant.area = Area::At(address(words.need("an address")?)?),
                "class" => grant.class = class(words.need("a class")?)?,
                "+" => break,
                other => bail!("{other:?} is nothing that a grant has"),
            }
        }
        grants.push(grant);
    }
    Ok(Command::PutRoles { principal, grants })
}

fn stale(query: Query) -> Request {
    Request::Read {
        query,
        consistency: Consistency::Stale,
    }
}

fn propose(request: Option<RequestId>, acknowledged: Sequence, command: Command) -> Request {
    Request::Propose {
        request,
        acknowledged,
        command,
    }
}

pub(super) fn incarnation(words: &mut Words<'_>) -> Result<WorkerIncarnation> {
    Ok(WorkerIncarnation(match words.has("inc") {
        true => words.number("")?,
        false => 1,
    }))
}

fn register(words: &mut Words<'_>) -> Result<Command> {
    let worker = words.worker()?;
    let incarnation = incarnation(words)?;
    let slots = match words.has("slots") {
        true => u32::try_from(words.number("")?)?,
        false => 1,
    };
    let engines = match words.has("engines") {
        true => words.need("engines, with commas")?.split(','),
        false => "outline".split(','),
    };
    Ok(Command::Register {
        worker: WorkerSpec {
            worker,
            incarnation,
            slots,
            engines: engines.map(str::to_owned).collect(),
        },
    })
}
