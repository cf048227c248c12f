//! Every knob, in one table: the flags, the documents and the checks follow it.

use crate::feature::FeatureLevel;
use crate::ids::{ClusterId, Incarnation, NodeId};
use crate::limits;
use crate::time::Span;

/// What a knob is called, what it may be, and why it exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Knob {
    /// Its name, unit last.
    pub name: &'static str,
    /// Its value if nobody says otherwise.
    pub default: u64,
    /// The least it may be.
    pub min: u64,
    /// The most it may be.
    pub max: u64,
    /// What it is for.
    pub why: &'static str,
}

/// Why a configuration cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// No knob of that name.
    #[error("there is no knob {name}")]
    UnknownKnob {
        /// The name asked for.
        name: String,
    },
    /// A knob out of its range.
    #[error("{name} is {found}; it must be {min} to {max}")]
    OutOfRange {
        /// The knob.
        name: &'static str,
        /// What it was set to.
        found: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// Two knobs that contradict each other.
    #[error("{less} ({less_value}) must be less than {more} ({more_value})")]
    Order {
        /// The one that must be less.
        less: &'static str,
        /// Its value.
        less_value: u64,
        /// The one that must be more.
        more: &'static str,
        /// Its value.
        more_value: u64,
    },
    /// The voters are no cluster, or this node is none of them.
    #[error("{0}")]
    Voters(String),
}

macro_rules! knobs {
    ($($name:ident: $default:expr, $min:expr, $max:expr, $why:literal;)*) => {
        /// The values of all knobs.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct Knobs {
            $(#[doc = $why] pub $name: u64,)*
        }

        /// All knobs, in the order in which they are documented.
        pub const KNOBS: &[Knob] = &[
            $(Knob { name: stringify!($name), default: $default, min: $min, max: $max, why: $why },)*
        ];

        impl Default for Knobs {
            fn default() -> Knobs {
                Knobs { $($name: $default,)* }
            }
        }

        impl Knobs {
            /// The value of a knob by its name.
            ///
            /// # Errors
            /// If there is no such knob.
            pub fn get(&self, name: &str) -> Result<u64, ConfigError> {
                match name {
                    $(stringify!($name) => Ok(self.$name),)*
                    _ => Err(ConfigError::UnknownKnob { name: name.into() }),
                }
            }

            /// Sets a knob by its name. The range is checked by [`Knobs::check`].
            ///
            /// # Errors
            /// If there is no such knob.
            pub fn set(&mut self, name: &str, value: u64) -> Result<(), ConfigError> {
                match name {
                    $(stringify!($name) => self.$name = value,)*
                    _ => return Err(ConfigError::UnknownKnob { name: name.into() }),
                }
                Ok(())
            }
        }
    };
}

knobs! {
    election_timeout_ms_min: 150, 10, 60_000, "A follower that hears no leader for a random time from this on asks for a pre-vote.";
    election_timeout_ms_max: 300, 20, 120_000, "The longest such time.";
    election_timeout_ms_ceiling: 1_000, 20, 120_000, "Where heartbeats come late, the shortest election timeout grows up to this.";
    heartbeat_ms: 30, 1, 10_000, "How often an idle leader speaks to its followers.";
    suspicion_ms_max: 20, 0, 1_000, "The longest random wait before a pre-vote when the leader's connection closed.";
    abdicate_after_ms: 600, 20, 600_000, "A leader whose disk has not answered for so long hands over, and a follower does not stand for election.";
    abdicate_stalls: 5, 2, 1_000, "A leader whose loop was late by over a heartbeat so often within the window hands over.";
    abdicate_window_ms: 2_000, 100, 600_000, "The window in which late turns of a loop are counted.";
    promotion_lag_entries_max: 1_000, 0, 1_000_000, "A learner that lacks at most so many entries may get its vote.";
    voters_target: 0, 0, limits::VOTERS_MAX, "So many voters are wanted: while fewer are heard, the leader promotes learners that have caught up, one in place of a silent voter if need be. 0: only on order.";
    voter_silence_ms: 30_000, 10, 86_400_000, "A voter that was silent for so long may be replaced by a learner, where voters are wanted.";
    lease_ms: 15_000, 100, 3_600_000, "How long a silent worker keeps its jobs.";
    worker_poll_ms: 1_000, 10, 60_000, "How long a worker's poll is held when there is no work: also its heartbeat.";
    batch_linger_ms: 20, 0, 1_000, "How long a worker that runs jobs together is kept waiting for more than are ready.";
    reattach_ms: 2_000, 0, 600_000, "How long a new leader waits for known workers before it gives out jobs.";
    retry_base_ms: 1_000, 1, 3_600_000, "The wait after a job's first failure; it doubles with each.";
    retry_cap_ms: 300_000, 1, 86_400_000, "The longest wait between two attempts.";
    failures_max: 5, 1, 100, "A job that failed so often is dead.";
    crashes_max: 3, 1, 100, "A job that lost so many workers is dead.";
    session_ttl_ms: 3_600_000, 1_000, 864_000_000, "A session that is not used for so long expires.";
    jobs_live_max: 1_000_000, 1, limits::JOBS_LIVE_MAX, "Unfinished jobs at a time; beyond it a submit is refused.";
    jobs_finished_max: limits::JOBS_FINISHED_MAX, 1, limits::JOBS_FINISHED_MAX, "Finished jobs that are kept for their readers.";
    wait_ms_max: 10_000, 0, 600_000, "How long a request waits at a node for a leader, and a read for its confirmation.";
    local_requests_max: limits::LOCAL_REQUESTS_MAX, 0, limits::LOCAL_REQUESTS_MAX, "Requests that a node keeps on its disk for its clients until there is a leader.";
    append_entries_max: limits::APPEND_ENTRIES_MAX, 1, limits::APPEND_ENTRIES_MAX, "Entries of one append message.";
    appends_in_flight_max: limits::APPENDS_IN_FLIGHT_MAX, 1, limits::APPENDS_IN_FLIGHT_MAX, "Appends on their way to one follower.";
    append_bytes_in_flight_max: limits::APPEND_BYTES_IN_FLIGHT_MAX, 1, limits::APPEND_BYTES_IN_FLIGHT_MAX, "Bodies on their way to one follower; one append may always be.";
    catch_up_reads_max: 2, 1, limits::MEMBERS_MAX, "Followers for which old entries are read from disk at a time.";
    uncommitted_bytes_max: limits::UNCOMMITTED_BYTES_MAX, 1_024, limits::UNCOMMITTED_BYTES_MAX, "Appended and uncommitted proposals; beyond it a request is refused.";
    log_window_bytes_max: limits::LOG_WINDOW_BYTES_MAX, 1_024, limits::LOG_WINDOW_BYTES_MAX, "Applied entries kept in memory for followers that are nearly caught up.";
    transfer_patience_ms: 1_000, 10, 600_000, "How long a leader keeps a snapshot, and the log behind it, for a follower that asked for a piece of it.";
    log_slack_bytes: 64 * 1024 * 1024, 1_024, 64 * 1024 * 1024 * 1024, "Applied log that is kept for members that lack it; one that lacks more gets a snapshot.";
    snapshot_every_bytes: 16 * 1024 * 1024, 1_024, 64 * 1024 * 1024 * 1024, "Applied log between two snapshots, at the least.";
    snapshot_part_bytes: 256 * 1024, 64, limits::SNAPSHOT_PART_BYTES_MAX, "State that one turn puts into a snapshot: what is larger keeps a turn longer.";
    denials_note_ms: 10_000, 10, 3_600_000, "How long a leader counts what it denied before an entry tells of it.";
    state_hash_every_entries: 64, 1, 1_000_000, "How often replicas compare the hashes of their states.";
}

impl Knobs {
    /// Are all values in their ranges, and in order?
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), ConfigError> {
        for knob in KNOBS {
            let found = self
                .get(knob.name)
                .expect("a knob of the table has a value");
            if found < knob.min || found > knob.max {
                return Err(ConfigError::OutOfRange {
                    name: knob.name,
                    found,
                    min: knob.min,
                    max: knob.max,
                });
            }
        }
        let order = [
            ("heartbeat_ms", "election_timeout_ms_min"),
            ("election_timeout_ms_min", "election_timeout_ms_max"),
            ("worker_poll_ms", "lease_ms"),
            ("heartbeat_ms", "voter_silence_ms"),
        ];
        for (less, more) in order {
            let value = |name| self.get(name).expect("a knob of the table has a value");
            if value(less) >= value(more) {
                let (less_value, more_value) = (value(less), value(more));
                return Err(ConfigError::Order {
                    less,
                    less_value,
                    more,
                    more_value,
                });
            }
        }
        Ok(())
    }

    /// The rules of the queue: equal on every replica.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules {
            retry_base_ms: self.retry_base_ms,
            retry_cap_ms: self.retry_cap_ms,
            failures_max: self.failures_max,
            crashes_max: self.crashes_max,
            session_ttl_ms: self.session_ttl_ms,
            jobs_live_max: self.jobs_live_max,
            jobs_finished_max: self.jobs_finished_max,
        }
    }
}

/// The knobs that the state machine reads. They are part of the replicated
/// state: replicas that disagree on them are found by the state hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Rules {
    /// See [`Knobs`].
    pub retry_base_ms: u64,
    /// See [`Knobs`].
    pub retry_cap_ms: u64,
    /// See [`Knobs`].
    pub failures_max: u64,
    /// See [`Knobs`].
    pub crashes_max: u64,
    /// See [`Knobs`].
    pub session_ttl_ms: u64,
    /// See [`Knobs`].
    pub jobs_live_max: u64,
    /// See [`Knobs`].
    pub jobs_finished_max: u64,
}

/// Who this node is, who its peers are, and how it behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// Which life of its disk this is.
    pub incarnation: Incarnation,
    /// The voters of the cluster's founding, this node among them, in ascending
    /// order: what holds until the log says otherwise. None for a node that
    /// joins: it learns from its leader who belongs to the cluster.
    pub founders: Vec<NodeId>,
    /// The seed of this node's randomness: a different one for each node and start.
    pub seed: u64,
    /// The knobs.
    pub knobs: Knobs,
    /// The highest feature level that this program can do: less than
    /// [`FeatureLevel::LATEST`] only where an older program is simulated.
    pub supports: FeatureLevel,
    /// A protocol violation to commit, for the simulator to find.
    #[cfg(feature = "planted-bugs")]
    pub planted: Option<crate::planted::Bug>,
}

impl Config {
    /// A configuration with every knob at its default.
    #[must_use]
    pub fn new(cluster: ClusterId, node: NodeId, founders: Vec<NodeId>, seed: u64) -> Config {
        Config {
            cluster,
            node,
            incarnation: Incarnation::UNTOLD,
            founders,
            seed,
            knobs: Knobs::default(),
            supports: FeatureLevel::LATEST,
            #[cfg(feature = "planted-bugs")]
            planted: None,
        }
    }

    /// Can a node run with this?
    ///
    /// # Errors
    /// What is wrong first.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.knobs.check()?;
        let count = self.founders.len() as u64;
        if count == 0 {
            return Ok(());
        }
        if count > limits::VOTERS_MAX {
            let max = limits::VOTERS_MAX;
            return Err(ConfigError::Voters(format!(
                "a cluster has 1 to {max} voters; this one has {count}"
            )));
        }
        if !self.founders.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(ConfigError::Voters(
                "voters must be in ascending order, each once".into(),
            ));
        }
        if !self.founders.contains(&self.node) {
            return Err(ConfigError::Voters(format!(
                "{} is not among the voters {:?}",
                self.node, self.founders
            )));
        }
        Ok(())
    }

    /// The election timeout's lower bound.
    #[must_use]
    pub fn election_timeout_min(&self) -> Span {
        Span::from_ms(self.knobs.election_timeout_ms_min)
    }

    /// The planted bug asked for: none in a build without them.
    #[cfg(feature = "planted-bugs")]
    #[must_use]
    pub fn planted(&self, bug: crate::planted::Bug) -> bool {
        self.planted == Some(bug)
    }
}
