//! What records of the audit say of access and of claims: who may do what, what was
//! denied, and who else could have had a job.

use crate::access::{Denied, Grant, Tally};
use crate::command::{ClaimRule, Load, WeighedClaim};
use crate::limits::{DENIALS_NAMED_MAX, GRANTS_MAX};

use super::add;

/// All grants in full: what is left out here would be known nowhere.
pub(super) fn words_of_roles(principal: &str, grants: &[Grant]) -> String {
    if grants.is_empty() {
        return format!("let {principal} do nothing any more");
    }
    let named = usize::try_from(GRANTS_MAX).expect("it is small");
    let mut words = format!("let {principal} be");
    for (position, grant) in grants.iter().take(named).enumerate() {
        let separator = if position == 0 { "" } else { "," };
        add(&mut words, format_args!("{separator} {grant}"));
    }
    // Only of what is refused for it.
    if let Some(more @ 1..) = grants.len().checked_sub(named) {
        add(&mut words, format_args!(" and {more} more"));
    }
    words
}

pub(super) fn words_of_denials(denied: &[Denied], others: Option<Tally>) -> String {
    let mut words = "denied".to_owned();
    let mut separator = ':';
    let named = usize::try_from(DENIALS_NAMED_MAX).expect("it is small");
    for one in denied.iter().take(named) {
        let (principal, reason) = (super::word_of(&one.principal), one.reason);
        add(
            &mut words,
            format_args!("{separator} {principal}, {reason},"),
        );
        add_tally(&mut words, one.tally);
        separator = ';';
    }
    if let Some(tally) = others {
        add(&mut words, format_args!("{separator} others"));
        add_tally(&mut words, tally);
    }
    words
}

fn add_tally(words: &mut String, tally: Tally) {
    let Tally { count, first, last } = tally;
    match count {
        1 => add(words, format_args!(" once at {first:?}")),
        _ => add(
            words,
            format_args!(" {count} times from {first:?} to {last:?}"),
        ),
    }
}

/// Who else could have had a job, and by what they lost.
pub(super) fn add_weights(words: &mut String, weighed: &WeighedClaim) {
    let rule = weighed.claim.rule;
    if rule == ClaimRule::OnlyFit {
        return;
    }
    add(words, format_args!(" of {} at ", weighed.fit));
    add_load(words, rule, weighed.load);
    let named = weighed.others.iter().flatten();
    let mut count = 1;
    for other in named {
        count += 1;
        add(words, format_args!(", {} ", other.worker));
        add_load(words, rule, other.load);
    }
    if let Some(more @ 1..) = weighed.fit.checked_sub(count) {
        add(words, format_args!(" and {more} more"));
    }
}

/// Thousandths of the slots in use; and where these were equal, the last claim.
fn add_load(words: &mut String, rule: ClaimRule, load: Load) {
    match rule {
        ClaimRule::OnlyFit | ClaimRule::LeastLoaded | ClaimRule::AtHome | ClaimRule::WithOthers => {
            add(words, format_args!("{}", load.share))
        }
        ClaimRule::LeastRecentlyUsed => {
            add(
                words,
                format_args!("{} since claim {}", load.share, load.last_claim),
            );
        }
    }
}
