//! What happened in a world, by who and when: what a timeline is drawn from, and the story
//! that is told in one line for each transition. Is told all by the stage, and looks at
//! nothing itself.

use std::fmt::{self, Debug, Write};

use precentor_core::view::View;
use serde::{Serialize, Serializer};

use crate::desk::{Actor, OPERATOR, is_reserved};
use crate::network::Place;

/// Longest text of one thing that happened, in bytes: messages carry whole logs.
const TEXT_BYTES_MAX: usize = 400;

/// Whose something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Lane {
    /// Nobody's: the network's, or that of all.
    World,
    /// The operator's.
    Operator,
    /// A node's.
    Node(Place),
    /// A client's.
    Client(usize),
    /// A worker's.
    Worker(usize),
}

impl Lane {
    /// Whose tickets have this lane: the stage's own are the world's.
    #[must_use]
    pub fn of_actor(lane: u32) -> Lane {
        match Actor::of_lane(lane) {
            _ if lane == OPERATOR => Lane::Operator,
            _ if is_reserved(lane) => Lane::World,
            Actor::Client(number) => Lane::Client(number),
            Actor::Worker(number) => Lane::Worker(number),
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, number) = match self {
            Lane::World => return f.pad("world"),
            Lane::Operator => return f.pad("operator"),
            Lane::Node(place) => ("n", place),
            Lane::Client(number) => ("client ", number),
            Lane::Worker(number) => ("worker ", number),
        };
        f.pad(&format!("{word}{}", number + 1))
    }
}

impl Serialize for Lane {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What sort of thing happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// A core was told something.
    Event,
    /// A core wanted something done.
    Action,
    /// A client or a worker asked for something, or was answered.
    Asked,
    /// A process began or ended, a disk or the network failed, or that was over.
    Fault,
    /// An operator did something.
    Deed,
    /// A node went from one state into another.
    Transition,
    /// A judge found something.
    Failure,
}

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// When, in virtual microseconds.
    pub at_us: u64,
    /// Whose it is.
    pub lane: Lane,
    /// What sort of thing.
    pub sort: Sort,
    /// What.
    pub text: String,
}

/// A message.
#[derive(Clone, Debug, Serialize)]
pub struct Arrow {
    /// Who sent it.
    pub from: Lane,
    /// To whom.
    pub to: Lane,
    /// When.
    pub sent_us: u64,
    /// When it is there, if it is not lost on the way. Whoever is down then, or has hung up,
    /// does not take it.
    pub arrives_us: Option<u64>,
    /// What it is, in one word.
    pub word: String,
}

/// What lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lasting {
    /// A process is down.
    Down,
    /// A process stands still.
    Paused,
    /// A disk does nothing.
    Hang,
    /// A disk writes.
    Write,
    /// Links lose everything.
    Wall,
}

/// Something that lasts.
#[derive(Clone, Debug, Serialize)]
pub struct Band {
    /// Whose it is.
    pub lane: Lane,
    /// What.
    pub what: Lasting,
    /// From when on.
    pub from_us: u64,
    /// Until when, unless it is not over yet.
    pub until_us: Option<u64>,
    /// What it is about.
    pub text: String,
}

/// How a node is, from a moment on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct State {
    /// Since when.
    pub at_us: u64,
    /// Which node.
    pub node: Place,
    /// What is shown of it.
    #[serde(flatten)]
    pub shown: Shown,
}

/// What a node shows of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Shown {
    /// Its part.
    pub role: String,
    /// How far its leadership is established.
    pub phase: String,
    /// Its term.
    pub term: u64,
    /// Who got its vote.
    pub vote: Option<u64>,
    /// Whom it takes for the leader.
    pub leader: Option<u64>,
    /// Its last entry.
    pub last: u64,
    /// That which is durable.
    pub durable: u64,
    /// That which it knows as committed.
    pub commit: u64,
    /// That which it has applied.
    pub applied: u64,
    /// That which its snapshot ends with.
    pub snapshot: u64,
    /// Who belongs to the cluster.
    pub members: String,
    /// Its jobs that are not over.
    pub jobs: u64,
    /// Its leases.
    pub leases: u64,
}

impl Shown {
    fn of(view: &View<'_>) -> Shown {
        let counts = view.queue().counts();
        Shown {
            role: format!("{:?}", view.role()).to_lowercase(),
            phase: format!("{:?}", view.phase()).to_lowercase(),
            term: view.term().0,
            vote: view.vote().map(|node| node.0),
            leader: view.leader().map(|node| node.0),
            last: view.last().index.0,
            durable: view.durable().0,
            commit: view.commit().0,
            applied: view.applied().0,
            snapshot: view.snapshot().0,
            members: view.membership().to_string(),
            jobs: counts.live(),
            leases: view.queue().leases().count() as u64,
        }
    }

    /// What is worth a line of the story, if it differs from before.
    fn transition_from(&self, before: Option<&Shown>) -> Option<String> {
        let is_other = before.is_none_or(|before| {
            (&before.role, &before.phase, before.term, &before.members)
                != (&self.role, &self.phase, self.term, &self.members)
        });
        let phase = match self.phase.as_str() {
            "following" => String::new(),
            phase => format!(", {phase}"),
        };
        is_other.then(|| {
            format!(
                "{} in t{}{phase}; log to i{}, committed to i{}, members {}",
                self.role, self.term, self.last, self.commit, self.members
            )
        })
    }
}

/// Everything that happened.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Chronicle {
    /// In the order in which it happened.
    pub entries: Vec<Entry>,
    /// The messages, in the order in which they were sent.
    pub arrows: Vec<Arrow>,
    /// What lasted.
    pub bands: Vec<Band>,
    /// How nodes were.
    pub states: Vec<State>,
}

impl Chronicle {
    /// Something happened.
    pub fn note(&mut self, at_us: u64, lane: Lane, sort: Sort, text: String) {
        let text = clipped(&text);
        self.entries.push(Entry {
            at_us,
            lane,
            sort,
            text,
        });
    }

    /// A message was sent.
    pub fn sent(
        &mut self,
        (from, to): (Lane, Lane),
        sent_us: u64,
        arrives_us: Option<u64>,
        what: &impl Debug,
    ) {
        self.arrows.push(Arrow {
            from,
            to,
            sent_us,
            arrives_us,
            word: word(what),
        });
    }

    /// Something lasts: until then, if that is known.
    pub fn lasts(
        &mut self,
        lane: Lane,
        what: Lasting,
        from_us: u64,
        until_us: Option<u64>,
        text: String,
    ) {
        self.bands.push(Band {
            lane,
            what,
            from_us,
            until_us,
            text,
        });
    }

    /// What lasted at somebody's, and was about that, is over.
    pub fn is_over(&mut self, lane: Lane, what: Lasting, text: &str, at_us: u64) {
        let open = self.bands.iter_mut().rev();
        let mut open = open.filter(|band| band.until_us.is_none());
        let is_it = |band: &&mut Band| (band.lane, band.what, &*band.text) == (lane, what, text);
        if let Some(band) = open.find(is_it) {
            band.until_us = Some(at_us);
        }
    }

    /// All walls fall, and what stands still wakes.
    pub fn all_clear(&mut self, at_us: u64) {
        let goes = |band: &&mut Band| {
            let goes = matches!(band.what, Lasting::Wall | Lasting::Paused);
            goes && band.until_us.is_none_or(|until_us| until_us > at_us)
        };
        let going = self.bands.iter_mut().filter(goes);
        going.for_each(|band| band.until_us = Some(at_us));
    }

    /// How a node is after its turn.
    pub fn on_turn(&mut self, at_us: u64, node: Place, view: &View<'_>) {
        let shown = Shown::of(view);
        let mut states = self.states.iter().rev();
        let before = states.find(|state| state.node == node);
        let before = before.map(|state| &state.shown);
        if before == Some(&shown) {
            return;
        }
        if let Some(text) = shown.transition_from(before) {
            self.note(at_us, Lane::Node(node), Sort::Transition, text);
        }
        self.states.push(State { at_us, node, shown });
    }

    /// The story: a line for each transition, in order.
    pub fn story(&self) -> impl Iterator<Item = String> {
        let told = self.entries.iter().filter(|entry| match entry.sort {
            Sort::Event | Sort::Action | Sort::Asked => false,
            Sort::Fault | Sort::Deed | Sort::Transition | Sort::Failure => true,
        });
        told.map(|entry| {
            let (ms, us) = (entry.at_us / 1_000, entry.at_us % 1_000);
            format!("{ms:>7}.{us:03} ms  {:<9} {}", entry.lane, entry.text)
        })
    }
}

fn clipped(text: &str) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    format!("{}… ({} bytes)", &text[..end], text.len())
}

/// The first word of what something is in debug output.
fn word(what: &impl Debug) -> String {
    struct First(String);
    impl Write for First {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for c in text.chars() {
                if !c.is_alphanumeric() {
                    return Err(fmt::Error);
                }
                self.0.push(c);
            }
            Ok(())
        }
    }
    let mut first = First(String::new());
    // It ends with an error where the word does.
    let _ = write!(first, "{what:?}");
    first.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_and_say_so() {
        let text = clipped(&"ä".repeat(TEXT_BYTES_MAX));
        assert!(text.ends_with("… (800 bytes)"), "{text}");
        assert!(text.len() < TEXT_BYTES_MAX + 20);
        assert_eq!(clipped("short"), "short");
    }

    #[test]
    fn a_thing_is_called_by_its_first_word() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "only its words are looked at")]
        enum Thing {
            Vote { term: u64 },
            Plain,
        }
        assert_eq!(word(&Thing::Vote { term: 3 }), "Vote");
        assert_eq!(word(&Thing::Plain), "Plain");
    }

    #[test]
    fn what_lasts_is_over_once_and_the_last_of_its_kind_first() {
        let mut chronicle = Chronicle::default();
        let (down, n1) = (Lasting::Down, Lane::Node(0));
        chronicle.lasts(n1, down, 1, None, String::new());
        chronicle.lasts(n1, Lasting::Hang, 2, Some(9), String::new());
        chronicle.lasts(Lane::Node(1), down, 3, None, String::new());
        chronicle.is_over(n1, down, "", 5);
        chronicle.is_over(n1, down, "", 7);
        chronicle.lasts(Lane::World, Lasting::Wall, 6, None, "n1-n2".into());
        chronicle.lasts(n1, Lasting::Paused, 6, Some(20), String::new());
        chronicle.all_clear(8);
        let ends: Vec<_> = chronicle.bands.iter().map(|band| band.until_us).collect();
        assert_eq!(ends, [Some(5), Some(9), None, Some(8), Some(8)]);
    }
}
