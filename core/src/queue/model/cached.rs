//! The model of what comes from the cache. It keeps every invalidation for ever, and
//! asks all of them each time; what depends on what it finds by looking at every job.

use super::super::tests::generator;
use super::against::{Pair, items_of};
use super::steps::{Item, SESSIONS};
use super::*;
use crate::command;

/// A request that says what may come from the cache, and what operators do to that.
#[derive(Clone, Debug)]
pub(super) enum Caching {
    Ask(Vec<Item>, usize, CacheMode),
    /// One name, the whole project, or an engine in one version or all.
    Invalidate(usize),
    Budget(Option<u64>),
    /// Names, and whether the job is the one that published there.
    Evict(Vec<(usize, bool)>),
}

/// How the cache is used.
#[derive(Clone, Debug, Default)]
pub(super) struct Cached {
    invalidations: Vec<(LogIndex, Reach)>,
    /// What was published last where it was evicted: accept number and job.
    gone: BTreeMap<usize, (u64, u64)>,
    bytes_max: Option<u64>,
}

/// What is invalidated at times.
pub(super) fn reaches() -> Vec<Reach> {
    let engine = generator().engine;
    let names = NAMES.iter().map(|name| Reach::Address(address(name)));
    let project = address("a").parent().unwrap();
    let more = [
        Reach::Prefix(address("b")),
        Reach::Prefix(project),
        Reach::Generator {
            engine: engine.clone(),
            version: None,
        },
        Reach::Generator {
            engine: engine.clone(),
            version: Some(1),
        },
        Reach::Generator {
            engine,
            version: Some(2),
        },
    ];
    names.chain(more).collect()
}

impl Model {
    fn covered_after(&self, name: usize, began: LogIndex) -> bool {
        let later = self.cached.invalidations.iter();
        later
            .filter(|(index, _)| *index > began)
            .any(|(_, reach)| match reach {
                Reach::Address(own) => *own == address(NAMES[name]),
                Reach::Prefix(own) => own.contains(&address(NAMES[name])),
                Reach::Generator { version, .. } => *version != Some(2),
            })
    }

    /// What is published and valid.
    pub(super) fn valid(&self, name: usize) -> Option<&Shown> {
        let shown = self.shown.get(&name)?;
        (!self.covered_after(name, shown.began)).then_some(shown)
    }

    pub(super) fn hit(&self, name: usize, input: u8) -> Option<&Shown> {
        self.valid(name).filter(|shown| shown.input == input)
    }

    /// Is an unfinished job for an input, and would what it makes be valid?
    pub(super) fn may_answer(&self, id: u64, input: u8) -> bool {
        let task = &self.tasks[&id];
        let outdated = |token: Token| self.covered_after(task.name, token.index);
        task.input == input && !task.token.is_some_and(outdated)
    }

    /// The accept number and the job of the newest input that was published.
    pub(super) fn newest(&self, name: usize) -> Option<(u64, u64)> {
        let shown = self.shown.get(&name);
        let shown = shown.map(|shown| (shown.accept, shown.job));
        shown.or(self.cached.gone.get(&name).copied())
    }

    fn of_shown(&self, shown: &Shown) -> command::Cached {
        command::Cached {
            result: body_digest(),
            by: JobId(shown.job),
            age_ms: Some(self.now - shown.at),
        }
    }

    fn ask(
        &mut self,
        mut items: Vec<(JobSpec, usize, u8)>,
        session: u64,
        mode: CacheMode,
    ) -> Result<Vec<Asked>, ()> {
        if let CacheMode::CachedOnly = mode {
            if items.iter().any(|item| item.0.delay_ms > 0) {
                return Err(());
            }
            let found = items.iter().map(|(_, name, input)| {
                let shown = self.hit(*name, *input);
                shown.map_or(Asked::NotCached, |shown| {
                    Asked::Cached(self.of_shown(shown))
                })
            });
            return Ok(found.collect());
        }
        let older = |(_, name, input): &(JobSpec, usize, u8)| {
            let CacheMode::StaleOk { max_age_ms } = mode else {
                return None;
            };
            let shown = self.valid(*name).filter(|shown| shown.input != *input)?;
            let young = self.now - shown.at <= max_age_ms;
            young.then(|| self.of_shown(shown))
        };
        let older: Vec<Option<command::Cached>> = items.iter().map(older).collect();
        for (item, older) in items.iter_mut().zip(&older) {
            if older.is_some() && matches!(item.0.class, Class::Urgent | Class::Normal) {
                item.0.class = Class::Background;
            }
        }
        let submitted = self.submit(&items, session, mode != CacheMode::Refresh)?;
        let asked = submitted.into_iter().zip(older);
        Ok(asked
            .map(|(refresh, older)| match older {
                Some(cached) => Asked::Stale { cached, refresh },
                None => Asked::Job(refresh),
            })
            .collect())
    }

    fn evict(&mut self, name: usize, is_its_job: bool) -> Evicting {
        let Some(shown) = self.shown.get(&name).filter(|_| is_its_job) else {
            return Evicting::Gone;
        };
        let names_it = |id: &u64, task: &Task| {
            let kept = !task.is_over() || self.letters.get(id) == Some(&None);
            kept && task.wants.iter().any(|(want, _)| *want == name)
        };
        if self.tasks.iter().any(|(id, task)| names_it(id, task)) {
            return Evicting::Needed;
        }
        let most = self.cached.bytes_max;
        if most.is_none_or(|most| self.shown.len() as u64 <= most) {
            return Evicting::WithinBudget;
        }
        let gone = (shown.accept, shown.job);
        self.cached.gone.insert(name, gone);
        self.shown.remove(&name);
        Evicting::Evicted { bytes: 1 }
    }
}

impl Pair {
    pub(super) fn take_caching(&mut self, step: Caching) {
        match step {
            Caching::Ask(items, session, mode) => {
                let items = items_of(items);
                let specs = items.iter().map(|item| item.0.clone()).collect();
                let outcome = self.ask(session, Command::Ask { items: specs, mode });
                match self.model.ask(items, SESSIONS[session], mode) {
                    Ok(answers) => assert_eq!(outcome, Outcome::Asked(answers), "{mode}"),
                    Err(()) => assert!(
                        matches!(outcome, Outcome::Rejected(_)),
                        "the model refuses, the queue says {outcome:?}"
                    ),
                }
            }
            Caching::Invalidate(number) => {
                let reach = reaches()[number].clone();
                let outcome = self.world.apply(Command::Invalidate {
                    reach: reach.clone(),
                });
                let published = match &reach {
                    Reach::Address(_) => Some(self.model.shown.contains_key(&number)),
                    _ => None,
                };
                assert_eq!(outcome, Outcome::Invalidated { published });
                let index = LogIndex(self.world.index);
                self.model.cached.invalidations.push((index, reach));
            }
            Caching::Budget(bytes_max) => {
                let outcome = self.world.apply(Command::PutBudget { bytes_max });
                let before = std::mem::replace(&mut self.model.cached.bytes_max, bytes_max);
                assert_eq!(outcome, Outcome::BudgetPut { before });
            }
            Caching::Evict(names) => {
                let evictions = names.iter().map(|(name, is_its_job)| {
                    let shown = self.model.shown.get(name);
                    let job = shown.map_or(1, |shown| shown.job);
                    Eviction {
                        address: address(NAMES[*name]),
                        job: JobId(job + u64::from(!is_its_job)),
                    }
                });
                let evictions = evictions.collect();
                let outcome = self.world.apply(Command::Evict { evictions });
                let gone = names.iter();
                let gone = gone.map(|(name, is_its_job)| self.model.evict(*name, *is_its_job));
                assert_eq!(outcome, Outcome::Evicted(gone.collect()));
            }
        }
    }

    /// What is valid, and what all takes.
    pub(super) fn compare_cache(&self) {
        for (name, text) in NAMES.iter().enumerate() {
            let view = self.world.queue.cached_view(&address(text));
            let shown = self.model.shown.get(&name);
            assert_eq!(
                view.map(|view| (view.invalid, view.age_ms)),
                shown.map(|shown| {
                    let invalid = self.model.valid(name).is_none();
                    (invalid, Some(self.model.now - shown.at))
                }),
                "what is known of {text}"
            );
        }
        let bytes = self.world.queue.cache_view().bytes;
        assert_eq!(bytes, self.model.shown.len() as u64);
    }
}
