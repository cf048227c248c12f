//! What clients and workers do, and how often.

use serde::{Deserialize, Serialize};

/// What clients do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientOptions {
    /// How many.
    pub count: usize,
    /// The mean time between two requests of one client.
    pub think_us: u64,
    /// Requests and replies lost, per million.
    pub loss_ppm: u32,
    /// Requests sent again although answered, per million.
    pub resend_ppm: u32,
    /// Requests whose id is used again with another body, per million.
    pub mismatch_ppm: u32,
    /// Requests that must be refused, per million.
    pub bad_ppm: u32,
    /// Files of a folder.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Requests for a newer input, per million.
    pub newer_ppm: u32,
    /// On whose accounts clients ask, one after another.
    pub tenants: u64,
    /// Requests for many files of the client's own at once, per million: so that
    /// jobs of several queues wait for workers.
    pub bulk_ppm: u32,
    /// How many at the most.
    pub bulk_files_max: u64,
    /// How many such requests of one client at the most.
    pub bulks_max: u64,
    /// Moments at which a client reads something, per million.
    pub read_ppm: u32,
    /// When all is healed every member must answer a read: not if reads may wait
    /// for a shorter time than a slow network takes.
    pub last_reads: bool,
    /// Requests that take earlier ones back instead, per million.
    pub leave_ppm: u32,
    /// Requests that cancel jobs for all who wait, per million.
    pub cancel_ppm: u32,
    /// Requests that redrive dead letters, per million; fewer purge some.
    pub redrive_ppm: u32,
    /// Requests that make jobs more or less urgent, per million.
    pub reprioritise_ppm: u32,
    /// Requests that pause queues or workers for a while, per million; as many expel
    /// a worker.
    pub pause_ppm: u32,
    /// Requests that limit what is used for a while, per million.
    pub limit_ppm: u32,
    /// Sessions expire soon: after three requests in a hundred the client is quiet
    /// for so long that its own does; 0 for never.
    pub nap_us: u64,
    /// Requests that say what may come from the cache, per million.
    pub mode_ppm: u32,
    /// Requests that make results invalid instead, per million.
    pub invalidate_ppm: u32,
    /// Requests that change what results may take, per million.
    pub budget_ppm: u32,
    /// Orders of the first client that say who may do what, per million, and tries of the
    /// others to do what they may not; 0 where everybody may do everything.
    pub roles_ppm: u32,
    /// Moments at which an engine begins to need more than a slot for a while, per million.
    pub need_ppm: u32,
    /// Requests that say something of contexts, per million.
    pub edit_ppm: u32,
    /// Requests whose jobs are awaited, per million.
    pub await_ppm: u32,
    /// Requests that are left with any node, per million, until there is a leader.
    pub local_ppm: u32,
    /// Moments at which a client begins to cancel everything somewhere, per million.
    pub sweep_ppm: u32,
    /// Moments at which a client has the cluster keep texts, per million.
    pub keep_ppm: u32,
    /// How many workers there are: they may be paused and expelled, and get roles.
    pub workers: u64,
}

/// What workers do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerOptions {
    /// How many.
    pub count: usize,
    /// Jobs at a time, at most.
    pub slots: u32,
    /// The mean time that a job takes.
    pub work_us: u64,
    /// The mean time between two deaths of one worker, 0 for never.
    pub crash_us: u64,
    /// The mean time between two pauses of one worker, 0 for never.
    pub pause_us: u64,
    /// Jobs that fail, per million.
    pub fail_ppm: u32,
    /// Jobs given back, per million.
    pub release_ppm: u32,
    /// Completions sent again, per million.
    pub double_ppm: u32,
    /// Completions with a token that is not theirs, per million.
    pub forge_ppm: u32,
    /// Revoked jobs that are completed all the same, per million.
    pub zombie_ppm: u32,
    /// Every third worker offers both engines, the others one of them each; else
    /// there is only one engine.
    pub two_engines: bool,
    /// Inputs that can never be generated, per million.
    pub poison_ppm: u32,
    /// The time from one outage of the first engine to the next, 0 for never.
    pub outage_every_us: u64,
    /// How long each lasts.
    pub outage_us: u64,
    /// Do workers say what they have?
    pub offers: bool,
    /// Jobs that a worker runs together, at most; 1 for one by one.
    pub together_max: u32,
    /// Every so manieth worker does, from the first on.
    pub together_every: u64,
    /// Runs of several jobs that fail as a whole, per million.
    pub run_fail_ppm: u32,
    /// Deaths that were none, per million: the old life talks on beside the new one.
    pub ghost_ppm: u32,
}
