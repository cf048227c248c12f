//! Random commands for the queue and its model.

use proptest::prelude::*;

use super::super::tests::spec;
use super::cached::{Caching, reaches};
use super::edited::{EditStep, edit_steps};
use super::fitted::{Fitting, fitting};
use super::kept::{Keeping, keeping};
use super::*;

/// Name, input, class, needs (name, required) and delay of an item.
pub(super) type Item = (usize, u8, Class, Vec<(usize, bool)>, u64);

/// A random step. Numbers are reduced to what exists.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Submit(Vec<Item>, usize),
    Claim(usize, u64),
    ClaimFirst(u64),
    ClaimTogether(Vec<(usize, bool)>, u64),
    FailTogether(usize, FailureClass),
    Complete(usize, usize),
    Fail(usize, FailureClass),
    Release(usize),
    Expire(usize, usize),
    Register(u64, u64),
    Wait(u64),
    Leave(Vec<usize>, usize),
    Cancel(Vec<usize>),
    Redrive(Vec<usize>, bool, usize),
    Purge(Vec<usize>),
    Reprioritise(Vec<usize>, Class),
    Pause(usize),
    Resume(usize),
    Expel(u64),
    Limit(usize, Limits),
    Caching(Caching),
    Fitting(Fitting),
    Keeping(Keeping),
    Edited(EditStep),
}

/// What is paused at times. All jobs are of one tenant and engine.
pub(super) fn scopes() -> [Scope; 6] {
    let origin = spec("a", 1);
    [
        Scope::Cluster,
        Scope::Engine(origin.generator.engine),
        Scope::Tenant(origin.tenant),
        Scope::Engine("another".into()),
        Scope::Worker(WorkerId(1)),
        Scope::Worker(WorkerId(2)),
    ]
}

/// The sessions that submit and leave, in the order of their entries.
pub(super) const SESSIONS: [u64; 3] = [3, 4, 5];

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let class = prop::sample::select(Class::ALL.to_vec());
    let any_class = class.clone();
    let edges = prop::collection::vec((0..4usize, any::<bool>()), 0..3);
    let delay = prop_oneof![4 => Just(0u64), 1 => 1..2_000u64];
    let item = (0..4usize, 1..4u8, class, edges, delay);
    let caching = caching(item.clone()).prop_map(Step::Caching);
    let failure = prop::sample::select(vec![
        FailureClass::Retryable,
        FailureClass::Permanent,
        FailureClass::Busy,
        FailureClass::WorkerLost,
        FailureClass::Drained,
    ]);
    let step = prop_oneof![
        6 => (prop::collection::vec(item, 1..4), 0..3usize)
            .prop_map(|(items, session)| Step::Submit(items, session)),
        1 => (any::<usize>(), 1..4u64).prop_map(|(job, worker)| Step::Claim(job, worker)),
        5 => (1..4u64).prop_map(Step::ClaimFirst),
        6 => (prop::collection::vec((any::<usize>(), prop::bool::weighted(0.2)), 2..4), 1..3u64)
            .prop_map(|(jobs, worker)| Step::ClaimTogether(jobs, worker)),
        3 => (any::<usize>(), failure.clone()).prop_map(|(job, class)| Step::FailTogether(job, class)),
        4 => (any::<usize>(), 0..4usize).prop_map(|(job, token)| Step::Complete(job, token)),
        2 => (any::<usize>(), failure).prop_map(|(job, class)| Step::Fail(job, class)),
        1 => any::<usize>().prop_map(Step::Release),
        2 => (any::<usize>(), 0..3usize).prop_map(|(job, token)| Step::Expire(job, token)),
        1 => (1..4u64, 1..4u64).prop_map(|(worker, life)| Step::Register(worker, life)),
        2 => (0..3_000u64).prop_map(Step::Wait),
        3 => (prop::collection::vec(any::<usize>(), 1..4), 0..3usize)
            .prop_map(|(jobs, session)| Step::Leave(jobs, session)),
        1 => prop::collection::vec(any::<usize>(), 1..3).prop_map(Step::Cancel),
        3 => (prop::collection::vec(any::<usize>(), 1..5), any::<bool>(), 0..3usize)
            .prop_map(|(jobs, dependents, session)| Step::Redrive(jobs, dependents, session)),
        1 => prop::collection::vec(any::<usize>(), 1..3).prop_map(Step::Purge),
        1 => (prop::collection::vec(any::<usize>(), 1..4), any_class)
            .prop_map(|(jobs, class)| Step::Reprioritise(jobs, class)),
        1 => (0..6usize).prop_map(Step::Pause),
        2 => (0..6usize).prop_map(Step::Resume),
        1 => (1..4u64).prop_map(Step::Expel),
        4 => edit_steps().prop_map(Step::Edited),
        2 => (0..4usize, limits()).prop_map(|(account, limits)| Step::Limit(account, limits)),
        6 => caching,
        2 => fitting().prop_map(Step::Fitting),
        4 => keeping().prop_map(Step::Keeping),
    ];
    prop::collection::vec(step, 1..60)
}

fn caching(item: impl Strategy<Value = Item>) -> impl Strategy<Value = Caching> {
    let mode = prop_oneof![
        1 => Just(CacheMode::Fresh),
        2 => (1..4_000u64).prop_map(|max_age_ms| CacheMode::StaleOk { max_age_ms }),
        2 => Just(CacheMode::CachedOnly),
        3 => Just(CacheMode::Refresh),
    ];
    let names = prop::collection::vec((0..4usize, prop::bool::weighted(0.9)), 1..5);
    prop_oneof![
        6 => (prop::collection::vec(item, 1..4), 0..3usize, mode)
            .prop_map(|(items, session, mode)| Caching::Ask(items, session, mode)),
        3 => (0..reaches().len()).prop_map(Caching::Invalidate),
        1 => prop::option::weighted(0.8, 1..4u64).prop_map(Caching::Budget),
        2 => names.prop_map(Caching::Evict),
    ]
}

/// What an account may use; often it is not limited any more.
fn limits() -> impl Strategy<Value = Limits> {
    let running = prop::option::weighted(0.3, 1..4u32);
    let rate = (60..6_000u32, 1..4u32).prop_map(|(per_minute, burst)| Rate { per_minute, burst });
    let rate = prop::option::weighted(0.3, rate);
    (running, rate).prop_map(|(running_max, rate)| Limits {
        running_max,
        rate,
        ..Limits::default()
    })
}

/// Steps while an engine is down: many jobs, of which most fail.
pub(super) fn steps_of_an_outage() -> impl Strategy<Value = Vec<Step>> {
    let item = (0..4usize, any::<u8>());
    let item = item.prop_map(|(name, input)| (name, input, Class::Normal, Vec::new(), 0));
    let end = prop_oneof![
        10 => Just(Step::Fail(0, FailureClass::Retryable)),
        6 => Just(Step::Fail(0, FailureClass::Busy)),
        // Of the job that was given out last, too.
        2 => Just(Step::Complete(0, 1)),
        1 => Just(Step::Fail(0, FailureClass::Permanent)),
        1 => Just(Step::Fail(0, FailureClass::WorkerLost)),
    ];
    let step = prop_oneof![
        6 => item.prop_map(|item| Step::Submit(vec![item], 0)),
        6 => (1..3u64).prop_map(Step::ClaimFirst),
        6 => end,
        1 => (0..1_500u64).prop_map(Step::Wait),
        1 => prop_oneof![Just(1_000u64), Just(2_000), Just(30_000)].prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 60..200)
}
