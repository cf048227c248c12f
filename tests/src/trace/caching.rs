//! What is asked of the cache, and what it says, in the words of a trace.

use precentor_core::command::{Asked, Command, Evicting};
use precentor_core::job::{CacheView, CachedView};

/// An order or a request that is about the cache.
pub(super) fn words_of_order(command: &Command) -> String {
    match command {
        Command::Ask { items, mode } => {
            let names = items.iter().map(|item| item.address.path());
            format!("ask for {}, {mode}", names.collect::<Vec<_>>().join(" "))
        }
        Command::Invalidate { reach } => format!("invalidate {reach}"),
        Command::PutBudget { bytes_max } => format!("budget {}", words_of_budget(*bytes_max)),
        Command::Evict { evictions } => {
            let names = evictions.iter();
            let names =
                names.map(|eviction| format!("{} of {}", eviction.address.path(), eviction.job));
            format!("evict {}", names.collect::<Vec<_>>().join(" "))
        }
        _ => "nothing of the cache".into(),
    }
}

pub(super) fn words_of_budget(bytes_max: Option<u64>) -> String {
    bytes_max.map_or_else(|| "any".to_owned(), |bytes| format!("{bytes} bytes"))
}

pub(super) fn words_of_asked(items: &[Asked]) -> String {
    let items = items.iter().map(|item| match item {
        Asked::Job(submitted) => format!("{} {:?}", submitted.job, submitted.how).to_lowercase(),
        Asked::Stale { cached, refresh } => format!(
            "{} of {} ago, meanwhile {} {}",
            cached.by,
            words_of_age(cached.age_ms),
            refresh.job,
            format!("{:?}", refresh.how).to_lowercase()
        ),
        Asked::Cached(cached) => {
            format!("{} of {} ago", cached.by, words_of_age(cached.age_ms))
        }
        Asked::NotCached => "not cached".into(),
    });
    items.collect::<Vec<_>>().join(", ")
}

pub(super) fn words_of_evicted(results: &[Evicting]) -> String {
    let results = results.iter().map(|result| match result {
        Evicting::Evicted { bytes } => format!("{bytes} bytes gone"),
        other => format!("{other:?}").to_lowercase(),
    });
    results.collect::<Vec<_>>().join(", ")
}

fn words_of_age(age_ms: Option<u64>) -> String {
    age_ms.map_or_else(|| "long".to_owned(), |age_ms| format!("{age_ms} ms"))
}

pub(super) fn words_of_cached(view: Option<&CachedView>) -> String {
    let Some(view) = view else {
        return "no context".into();
    };
    let mut words = format!("by {}, {} ago", view.context.job, words_of_age(view.age_ms));
    for (is_so, word) in [(view.invalid, ", invalid"), (view.needed, ", needed")] {
        if is_so {
            words.push_str(word);
        }
    }
    words
}

pub(super) fn words_of_cache(view: &CacheView) -> String {
    let mut words = format!(
        "{} contexts of {} bytes, may be {}; {} invalid; {} of {} bytes evicted",
        view.contexts,
        view.bytes,
        words_of_budget(view.bytes_max),
        view.invalid,
        view.evicted,
        view.evicted_bytes
    );
    for invalidation in &view.invalidations {
        words += &format!("; {} since {:?}", invalidation.reach, invalidation.since);
    }
    words
}
