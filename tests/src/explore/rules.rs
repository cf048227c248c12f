//! The rules that must hold in every state, and the memory that judges need:
//! what was ever committed, and who ever led.

use std::fmt;

use precentor_core::ids::{LogIndex, NodeId, Term};

use super::local::NODES;

/// A rule of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rule {
    /// At most one node leads in a term (Raft §5.2).
    ElectionSafety,
    /// Logs that agree at an index and its term agree up to there (Raft §5.3).
    LogMatching,
    /// A leader has all that was committed before its term (Raft §5.4).
    LeaderCompleteness,
    /// What was committed at an index is committed there for ever.
    CommittedNeverChanges,
    /// Equal logs give equal states.
    EqualStates,
    /// No assertion of the core fails.
    NoPanic,
    /// A healthy node neither halts nor refuses its own disk.
    NoHalt,
    /// A majority of disks holds what is committed.
    HeldByMajority,
    /// What a node told others is on its disk.
    DurableFirst,
    /// Only the own term's entries are committed by counting (Raft §5.4.2).
    OwnTermOnly,
    /// Term, vote, commit and applied never go back, not through a restart either.
    NeverBack,
    /// Applied, committed and last stand in this order.
    Bounds,
    /// A client is told only of what is committed.
    CommittedBeforeAnswer,
    /// The core did nothing that this search has no place for.
    Covered,
}

impl Rule {
    /// Is it what the protocol promises, rather than a rule by which it keeps
    /// the promise? A search for outcomes alone shows that a broken rule is a
    /// broken promise.
    #[must_use]
    pub fn is_outcome(self) -> bool {
        match self {
            Rule::ElectionSafety
            | Rule::LogMatching
            | Rule::LeaderCompleteness
            | Rule::CommittedNeverChanges
            | Rule::EqualStates
            | Rule::NoPanic
            | Rule::NoHalt
            | Rule::Covered => true,
            Rule::HeldByMajority
            | Rule::DurableFirst
            | Rule::OwnTermOnly
            | Rule::NeverBack
            | Rule::Bounds
            | Rule::CommittedBeforeAnswer => false,
        }
    }
}

/// A rule that was broken, with what was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Which.
    pub rule: Rule,
    /// What was seen.
    pub text: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.text)
    }
}

/// A log's place: the term there, and the digest of all up to there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Spot {
    pub(super) term: Term,
    pub(super) chain: u128,
}

/// What judges must see of one node.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) node: NodeId,
    /// Its term, if it leads.
    pub(super) leads: Option<Term>,
    pub(super) term: Term,
    pub(super) commit: LogIndex,
    /// The log in memory; empty while it is down.
    pub(super) log: Vec<Spot>,
    /// The log on disk.
    pub(super) disk: Vec<Spot>,
}

/// A committed entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Committed {
    spot: Spot,
    /// The term of the node that called it committed first: leaders after that must have it.
    under: Term,
}

/// All that was ever committed, and all who ever led.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Memory {
    committed: Vec<Committed>,
    leaders: Vec<(Term, NodeId)>,
}

impl Memory {
    /// The last committed entry.
    pub(super) fn committed(&self) -> LogIndex {
        LogIndex(self.committed.len() as u64)
    }

    /// Takes in what a node is now; an error is a broken rule.
    pub(super) fn see(&self, facts: &Facts) -> Result<Memory, Broken> {
        let mut seen = self.clone();
        if let Some(term) = facts.leads {
            seen.see_leader(term, facts)?;
        }
        let commit = usize::try_from(facts.commit.0).unwrap_or(usize::MAX);
        for (place, spot) in facts.log.iter().take(commit).enumerate() {
            match seen.committed.get(place) {
                Some(known) if known.spot != *spot => {
                    return Err(Broken {
                        rule: Rule::CommittedNeverChanges,
                        text: format!(
                            "{} has committed i{} of {}; committed there was one of {}",
                            facts.node,
                            place + 1,
                            spot.term,
                            known.spot.term
                        ),
                    });
                }
                Some(_) => {}
                None => seen.committed.push(Committed {
                    spot: *spot,
                    under: facts.term,
                }),
            }
        }
        Ok(seen)
    }

    fn see_leader(&mut self, term: Term, facts: &Facts) -> Result<(), Broken> {
        match self.leaders.iter().find(|(led, _)| *led == term) {
            Some((_, first)) if *first != facts.node => {
                return Err(Broken {
                    rule: Rule::ElectionSafety,
                    text: format!("{} leads in {term}, and so did {first}", facts.node),
                });
            }
            Some(_) => {}
            None => {
                self.leaders.push((term, facts.node));
                self.leaders.sort_unstable();
            }
        }
        let lacks = self.committed.iter().enumerate().find(|(place, entry)| {
            entry.under < term && facts.log.get(*place) != Some(&entry.spot)
        });
        match lacks {
            None => Ok(()),
            Some((place, entry)) => Err(Broken {
                rule: Rule::LeaderCompleteness,
                text: format!(
                    "{} leads in {term} without i{} of {}, which was committed under {}",
                    facts.node,
                    place + 1,
                    entry.spot.term,
                    entry.under
                ),
            }),
        }
    }

    /// How many of the committed entries, from the first on, a disk holds.
    pub(super) fn held(&self, facts: &Facts) -> u32 {
        let same = |(known, spot): &(&Committed, &Spot)| known.spot == **spot;
        let count = self
            .committed
            .iter()
            .zip(&facts.disk)
            .take_while(same)
            .count();
        u32::try_from(count).expect("logs are short here")
    }

    /// Given what each disk holds of it, is all that is committed on a majority?
    pub(super) fn check_held(&self, mut held: [u32; NODES]) -> Result<(), Broken> {
        held.sort_unstable();
        let majority = u64::from(held[NODES - (NODES / 2 + 1)]);
        if majority >= self.committed().0 {
            return Ok(());
        }
        Err(Broken {
            rule: Rule::HeldByMajority,
            text: format!(
                "{} is committed; a majority of disks holds all up to i{majority} only",
                self.committed()
            ),
        })
    }
}

/// Do all logs of two nodes match, in memory and on disk?
pub(super) fn check_matching(one: &Facts, other: &Facts) -> Result<(), Broken> {
    fn logs(facts: &Facts) -> [(&'static str, &[Spot]); 2] {
        [("log", &facts.log), ("disk", &facts.disk)]
    }
    for (mine_is, mine) in logs(one) {
        for (theirs_is, theirs) in logs(other) {
            let differs = mine
                .iter()
                .zip(theirs)
                .position(|(a, b)| a.term == b.term && a.chain != b.chain);
            if let Some(place) = differs {
                return Err(Broken {
                    rule: Rule::LogMatching,
                    text: format!(
                        "the {mine_is} of {} and the {theirs_is} of {} both have i{} of {}, and differ up to there",
                        one.node,
                        other.node,
                        place + 1,
                        mine[place].term
                    ),
                });
            }
        }
    }
    Ok(())
}
