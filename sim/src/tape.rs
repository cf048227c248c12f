//! Where every chance in a run comes from. A draw is a pure function of
//! (seed, domain, lane, nth), so taking one fault away leaves all other draws
//! as they were; and every fault that fires is written on the tape, so a run
//! can be told again from its tape alone. Knows nothing of what the chances mean.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

/// How many lanes a domain has: enough for each link of seven nodes, and for
/// each client or worker.
pub const LANES: u32 = 64;

macro_rules! domains {
    ($($name:ident $kind:ident $text:literal,)*) => {
        /// What a chance is about. Faults have a counter that proves that they happen.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        pub enum Domain {
            $(#[doc = $text] $name,)*
        }

        impl Domain {
            /// All of them, in order.
            pub const ALL: &[Domain] = &[$(Domain::$name,)*];

            /// What it is called in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Domain::$name => $text,)*
                }
            }

            /// Is it a fault, which a campaign must have seen?
            #[must_use]
            pub fn is_fault(self) -> bool {
                match self {
                    $(Domain::$name => domains!(@ $kind),)*
                }
            }
        }
    };
    (@ fault) => { true };
    (@ plain) => { false };
}

domains! {
    Scenario plain "scenario",
    Seed plain "seeds of nodes",
    Delay plain "message delay",
    Connect plain "connection delay",
    Service plain "turn delay",
    Sync plain "disk latency",
    Nemesis plain "times of faults",
    Client plain "client decisions",
    ClientDelay plain "client delay",
    Worker plain "worker decisions",
    Read plain "reads of clients",
    Clock plain "clocks",
    Drop fault "message dropped",
    Burst fault "burst of drops begun",
    Duplicate fault "message duplicated",
    LateDuplicate fault "message duplicated very late",
    Reorder fault "message overtook another",
    DelaySpike fault "message delayed long",
    OneWayCut fault "link cut one way",
    Partition fault "partition",
    IsolateLeader fault "leader isolated",
    Bridge fault "partition with a bridge node",
    Flap fault "partition came and went",
    ConnectionBreak fault "connection broken",
    StaleDelivery fault "message of a closed connection delivered",
    Crash fault "node crashed",
    CrashMidTurn fault "node crashed between two actions",
    PowerCut fault "all nodes crashed at once",
    LeaderCrash fault "leader crashed",
    Pause fault "node paused",
    SyncSpike fault "disk stalled",
    WriteFailed fault "write failed",
    UnsyncedLost fault "unsynced write lost",
    UnsyncedKept fault "unsynced write survived a crash",
    TornWrite fault "write torn by a crash",
    ActionsShuffled fault "actions performed in another order",
    WallJump fault "wall clock jumped",
    ClockDrift fault "clock ran fast or slow",
    ClientLoss fault "client message lost",
    Resend fault "request resent without need",
    Mismatch fault "request id reused with another body",
    BadRequest fault "bad request sent",
    WorkerCrash fault "worker died",
    WorkerPause fault "worker paused",
    WorkerFail fault "worker failed a job",
    WorkerRelease fault "worker released a job",
    DoubleComplete fault "completion sent twice",
    ForgedToken fault "completion with a forged token",
    ZombieComplete fault "completion of a revoked job",
    OtherResult fault "second completion with another result",
    OldLife fault "old life of a worker talked on",
    HandOver fault "hand-over ordered",
    SnapshotOrder fault "snapshot ordered",
    TornTail fault "torn records left out when the log was read back",
    DiskHang fault "disk hung",
    OneLinkCut fault "link cut both ways",
    Star fault "partition in a star",
    Chain fault "partition in a chain",
    Ring fault "partition in a ring",
    ScatteredCuts fault "links cut one way at random",
    LeaderLeaf fault "leader made a leaf of a star",
    LeaderOneWay fault "leader lost one direction",
    Topology fault "shape put up while other faults rest",
    Rot fault "damage to what is durable drawn",
    BitFlipped fault "bit of a durable record flipped",
    BlockLost fault "block of durable records zeroed or overwritten",
    Operator plain "operator's decisions",
    ChangeOrder fault "change of the membership ordered",
    ChangeCancelled fault "change of the membership cancelled by another",
    ChangesAtOnce fault "two changes of the membership ordered at once",
    DiskLost fault "disk lost for good",
    WireDamage fault "frame damaged or cut on its way",
    WireStray fault "frame arrived at another node",
    WireReplay fault "frame of an earlier connection came again",
    Disaster plain "majorities that go for good",
    Hardship plain "what disks do beside what comes and goes",
    Install plain "time of putting a snapshot in force",
    Leave fault "jobs left by who asked for them",
    LeaveAgain fault "jobs left again",
    Cancel fault "jobs cancelled for all who wait",
    Redrive fault "dead letters redriven",
    RedriveAgain fault "dead letters redriven again",
    Purge fault "dead letters purged",
    Reprioritise fault "jobs made more or less urgent",
    Hold fault "queues paused for a while",
    Expel fault "worker expelled",
    Limit fault "accounts limited for a while",
    EngineOutage fault "job failed for its engine was down",
    Doze fault "leader stood still for a moment",
    CacheMode fault "request that says what may come from the cache",
    Invalidate fault "results made invalid",
    Budget fault "budget of results changed",
    Rule fault "orders about who may do what",
    ForgedRight fault "something tried that is another's",
    Edit fault "contexts edited",
    Await fault "jobs awaited to their end",
    AwaitWhere plain "which node is asked for the end of jobs",
    Sweep fault "everything somewhere cancelled",
    SweepWhere plain "which node lists what is to be cancelled, and how",
    RunFailed fault "run of several jobs failed as a whole",
    Need fault "engine needed more than a slot for a while",
    Offer plain "what workers have",
    QueueLocally fault "request left with a node until there is a leader",
    LocalPatience plain "how long a client waits for what it left with a node",
    Work plain "how long work takes beside the turns",
    LocalDisk plain "what a crash leaves of requests that a node keeps",
    KeepSource fault "texts kept for workers",
    SourceBudget fault "budget of texts changed",
}

/// One fault that happened: the `nth` decision of a lane went the unusual way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Choice {
    /// What about.
    pub domain: Domain,
    /// On which link, node, client or worker.
    pub lane: u32,
    /// Which decision of that lane.
    pub nth: u64,
}

/// A small stream of numbers that belongs to one decision.
#[derive(Clone, Copy, Debug)]
pub struct Roll(u64);

impl Roll {
    /// The stream of a number.
    #[must_use]
    pub fn new(seed: u64) -> Roll {
        Roll(finish(seed))
    }

    /// The next 64 bits (SplitMix64).
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        finish(self.0)
    }

    /// A number below `count`; 0 if there is none.
    pub fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(count)) >> 64) as u64
    }

    /// A number from `min` to `max`, both included.
    pub fn between(&mut self, min: u64, max: u64) -> u64 {
        min + self.below(max.saturating_sub(min) + 1)
    }

    /// True with a probability of `per_million` in a million.
    pub fn chance(&mut self, per_million: u32) -> bool {
        self.below(1_000_000) < u64::from(per_million)
    }

    /// One of a list that is not empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len() as u64) as usize]
    }

    /// About exponentially distributed with this mean, in whole numbers: the
    /// count of leading zeros gives the octave, the rest the place in it.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        let bits = self.bits();
        let octaves = u64::from(bits.leading_zeros().min(16));
        let fraction = self.below(1_024);
        // ln 2 = 710 / 1024: each octave adds so much of the mean.
        mean * (octaves * 1_024 + fraction) * 710 / 1_048_576
    }

    /// Swaps a list into a random order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

fn finish(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[derive(Clone, Copy, Debug)]
struct Lane {
    base: u64,
    nth: u64,
}

/// When faults happen, by how many chances pass between them.
#[derive(Clone, Debug)]
struct Gaps {
    bytes: VecDeque<u8>,
    /// Until the next one; none if there are no more.
    left: Option<u64>,
}

impl Gaps {
    fn new(bytes: &[u8]) -> Gaps {
        let mut gaps = Gaps {
            bytes: bytes.iter().copied().collect(),
            left: None,
        };
        gaps.left = gaps.next();
        gaps
    }

    fn next(&mut self) -> Option<u64> {
        let mut gap = 0;
        loop {
            let byte = self.bytes.pop_front()?;
            gap += u64::from(byte);
            if byte < u8::MAX {
                return Some(gap);
            }
        }
    }

    /// A chance passes. Does it happen?
    fn pass(&mut self) -> bool {
        let happens = self.left == Some(0);
        self.left = match happens {
            true => self.next(),
            false => self.left.map(|left| left - 1),
        };
        happens
    }
}

/// All chances of one run.
#[derive(Clone, Debug)]
pub struct Tape {
    lanes: Vec<Lane>,
    counters: Vec<u64>,
    recorded: Vec<Choice>,
    /// Only these faults happen, whatever the seed would say.
    only: Option<BTreeSet<Choice>>,
    /// Or faults happen when this says so.
    gaps: Option<Gaps>,
    /// No faults any more: the world heals.
    calm: bool,
    /// No faults for a while.
    lull: bool,
}

impl Tape {
    /// The tape that a seed writes.
    #[must_use]
    pub fn of_seed(seed: u64) -> Tape {
        let base_of = |domain: usize, lane: u64| {
            finish(finish(seed ^ GOLDEN).wrapping_add((domain as u64) << 32 | lane))
        };
        let lanes = (0..Domain::ALL.len())
            .flat_map(|domain| {
                (0..u64::from(LANES)).map(move |lane| Lane {
                    base: base_of(domain, lane),
                    nth: 0,
                })
            })
            .collect();
        Tape {
            lanes,
            counters: vec![0; Domain::ALL.len()],
            recorded: Vec::new(),
            only: None,
            gaps: None,
            calm: false,
            lull: false,
        }
    }

    /// A recorded run: of the seed's faults only these happen.
    #[must_use]
    pub fn replay(seed: u64, faults: impl IntoIterator<Item = Choice>) -> Tape {
        Tape {
            only: Some(faults.into_iter().collect()),
            ..Tape::of_seed(seed)
        }
    }

    /// A tape that somebody else wrote: each byte says how many chances of a fault pass until
    /// the next one happens; 255 is no fault, and the next byte goes on. After the last
    /// byte there are none. What a fault is like, and all that is none, is the seed's.
    #[must_use]
    pub fn of_gaps(seed: u64, gaps: &[u8]) -> Tape {
        Tape {
            gaps: Some(Gaps::new(gaps)),
            ..Tape::of_seed(seed)
        }
    }

    /// The stream of the next decision of a lane.
    pub fn roll(&mut self, domain: Domain, lane: u32) -> Roll {
        self.next(domain, lane).1
    }

    /// Does a fault happen here? If so, its stream says how.
    pub fn fault(&mut self, domain: Domain, lane: u32, per_million: u32) -> Option<Roll> {
        if per_million == 0 {
            return None;
        }
        let (nth, mut roll) = self.next(domain, lane);
        let choice = Choice { domain, lane, nth };
        let chance = roll.chance(per_million);
        let happens = self.gaps.as_mut().map_or(chance, Gaps::pass)
            && !self.calm
            && !self.lull
            && self.only.as_ref().is_none_or(|only| only.contains(&choice));
        happens.then(|| {
            self.counters[domain as usize] += 1;
            self.recorded.push(choice);
            roll
        })
    }

    /// From now on no fault happens.
    pub fn calm_down(&mut self) {
        self.calm = true;
    }

    /// No fault happens as long as this lasts.
    pub fn rest(&mut self, lull: bool) {
        self.lull = lull;
    }

    /// Did the world heal?
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.calm
    }

    /// Counts a fault that follows from others instead of a chance of its own.
    pub fn count(&mut self, domain: Domain) {
        self.counters[domain as usize] += 1;
    }

    /// How often each domain's faults happened, in the order of [`Domain::ALL`].
    #[must_use]
    pub fn counters(&self) -> &[u64] {
        &self.counters
    }

    /// The faults that happened, in order.
    #[must_use]
    pub fn recorded(&self) -> &[Choice] {
        &self.recorded
    }

    fn next(&mut self, domain: Domain, lane: u32) -> (u64, Roll) {
        let place = domain as usize * LANES as usize + (lane % LANES) as usize;
        let lane = &mut self.lanes[place];
        let nth = lane.nth;
        lane.nth += 1;
        (
            nth,
            Roll(lane.base.wrapping_add(nth.wrapping_mul(GOLDEN << 1))),
        )
    }
}

#[cfg(test)]
mod tests;
