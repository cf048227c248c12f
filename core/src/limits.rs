//! Every bound on what comes from outside, in one place.

/// Longest canonical address, in bytes.
pub const ADDRESS_BYTES_MAX: u64 = 4_096;
/// Longest project name, in bytes.
pub const PROJECT_BYTES_MAX: u64 = 128;
/// Deepest path, in segments.
pub const PATH_SEGMENTS_MAX: u64 = 128;
/// Largest generated result, in bytes as stored. Larger ones are for the blob
/// store; until then an engine shortens its record and says so in it.
pub const RESULT_BYTES_MAX: u64 = 256 * 1024;
/// Items of one `Submit`.
pub const SUBMIT_ITEMS_MAX: u64 = 1_000;
/// Dependencies that one item names with policy `require`.
pub const NAMED_DEPENDENCIES_MAX: u64 = 64;
/// Dependencies of one item in all (a folder's children are `optional`).
pub const DEPENDENCIES_MAX: u64 = 10_000;
/// Dependencies of all unfinished jobs together.
pub const EDGES_OPEN_MAX: u64 = 10_000_000;
/// Longest delay that an item may ask for, in milliseconds.
pub const DELAY_MS_MAX: u64 = 30 * 86_400_000;
/// Longest short text from outside (names of engines, tenants, principals), in bytes.
pub const NAME_BYTES_MAX: u64 = 128;
/// Longest error message that is kept, in bytes.
pub const MESSAGE_BYTES_MAX: u64 = 1_024;
/// Jobs that one `Leave` or `Cancel` names.
pub const CANCEL_JOBS_MAX: u64 = 1_000;
/// Jobs that one `Redrive`, `Purge` or `Reprioritise` names.
pub const ORDERED_JOBS_MAX: u64 = 256;
/// Jobs that one `Redrive` does again, dependents among them.
pub const REDRIVEN_PER_ENTRY_MAX: u64 = 512;
/// Dependencies of the jobs that one `Redrive` does again, unless one job alone has more.
pub const REDRIVEN_EDGES_PER_ENTRY_MAX: u64 = 10_000;
/// Dead letters that are kept to be redriven. The oldest jobs make way.
pub const DEAD_LETTERS_MAX: u64 = 100_000;
/// Dependencies of all dead letters together.
pub const DEAD_LETTER_EDGES_MAX: u64 = 1_000_000;
/// Attempts of one job that are kept: the last ones.
pub const ATTEMPTS_KEPT_MAX: u32 = 16;
/// Dead letters of one answer.
pub const DEAD_LETTERS_LISTED_MAX: u32 = 256;
/// Unfinished jobs of one answer.
pub const JOBS_LISTED_MAX: u32 = 256;
/// Open dependencies that an explanation names.
pub const EXPLAINED_DEPENDENCIES_MAX: usize = 16;
/// Jobs that an explanation follows to the one that failed of itself.
pub const EXPLAINED_CAUSES_MAX: usize = 64;
/// Engines, tenants and workers that are paused at a time.
pub const PAUSES_MAX: u64 = 1_024;
/// Tenants, engines and projects that are limited at a time.
pub const ACCOUNTS_MAX: u64 = 1_024;
/// Most tokens that a bucket may get in a minute.
pub const RATE_PER_MINUTE_MAX: u64 = 10_000_000;
/// Most tokens that a bucket may hold.
pub const RATE_BURST_MAX: u64 = 1_000_000;
/// Most that a tenant's queues may weigh; one without a weight weighs 1.
pub const TENANT_WEIGHT_MAX: u64 = 100;
/// Engines whose failures are counted at a time.
pub const BREAKERS_MAX: u64 = 1_024;
/// Failures of an engine are forgotten after this time, in milliseconds.
pub const BREAKER_WINDOW_MS: u64 = 30_000;
/// An engine is held for broken when within the window at least so many attempts
/// ended,
pub const BREAKER_ENDED_MIN: u64 = 10;
/// and at least so many percent of these failed,
pub const BREAKER_FAILED_PERCENT_MIN: u64 = 80;
/// and at least so many different jobs of these did: one bad job is no outage.
pub const BREAKER_FAILED_JOBS_MIN: u64 = 8;
/// How long a broken engine is let alone at first, in milliseconds; each time that it
/// still fails twice as long.
pub const BREAKER_WAIT_MS_MIN: u64 = 1_000;
/// The longest such time.
pub const BREAKER_WAIT_MS_MAX: u64 = 60_000;
/// Jobs of the last round with which a broken engine is tried: one, two, four.
pub const BREAKER_PROBES_MAX: u32 = 4;
/// Attempts at a job of which failures may go uncounted because its engine is held for
/// broken: what never works must come to an end.
pub const UNCOUNTED_ATTEMPTS_MAX: u64 = 100;
/// Oldest result that a request may take instead of a fresh one, in milliseconds.
pub const STALE_MS_MAX: u64 = 366 * 86_400_000;
/// Least budget of all published results, in bytes.
pub const BUDGET_BYTES_MIN: u64 = 1;
/// Most such budget.
pub const BUDGET_BYTES_MAX: u64 = 1 << 50;
/// Longest text that the cluster keeps for workers, in bytes: as much as an engine reads.
pub const SOURCE_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Texts of one `KeepSources`.
pub const SOURCES_PER_ENTRY_MAX: u64 = 256;
/// Texts that one question asks for.
pub const SOURCES_ASKED_MAX: u64 = 4_096;
/// What each text counts for besides its bytes: the smallest takes a row, and a place on disk.
pub const SOURCE_ROW_BYTES: u64 = 4 * 1024;
/// What all texts may count for while nobody says otherwise, in bytes.
pub const SOURCES_BYTES_DEFAULT: u64 = 4 * 1024 * 1024 * 1024;
/// Texts that one `KeepSources` drops to make room. As many as may have to go for it.
pub const SOURCES_DROPPED_PER_ENTRY_MAX: u64 = 2_048;
/// Results that one `Evict` lets go of.
pub const EVICTIONS_PER_ENTRY_MAX: u64 = 256;
/// Invalidations of prefixes and generators that are carried through at a time.
pub const INVALIDATIONS_MAX: u64 = 64;
/// Published contexts and jobs that one `Tick` looks at for them.
pub const SWEPT_PER_ENTRY_MAX: u64 = 2_048;
/// Contexts of which a leader remembers that they were used lately, twice.
pub const USES_KEPT_MAX: u64 = 65_536;
/// Published contexts that a leader looks at in a turn for some to evict.
pub const EVICTION_LOOKED_AT_MAX: u64 = 1_024;
/// Actors of one version vector.
pub const VERSION_ACTORS_MAX: u64 = 64;
/// Highest counter of an actor in a version vector: it must be able to go on.
pub const VERSION_COUNTER_MAX: u64 = 1 << 48;
/// Changes of one edit.
pub const EDIT_CHANGES_MAX: u64 = 64;
/// Texts and names of one edit, in bytes.
pub const EDIT_BYTES_MAX: u64 = 16 * 1024;
/// Longest note or summary of people, in bytes.
pub const NOTE_BYTES_MAX: u64 = 2_048;
/// Longest tag, in bytes.
pub const TAG_BYTES_MAX: u64 = 64;
/// Longest name of a symbol that a note is anchored to, in bytes.
pub const SYMBOL_BYTES_MAX: u64 = 256;
/// Notes at one address.
pub const NOTES_PER_ADDRESS_MAX: u64 = 64;
/// Tags at one address.
pub const TAGS_PER_ADDRESS_MAX: u64 = 128;
/// Contradicting values of one note or summary: more must wait until some are resolved.
pub const SIDES_MAX: u64 = 8;
/// What people say of one address, in bytes, with all sides of conflicts.
pub const EDITED_BYTES_PER_ADDRESS_MAX: u64 = 256 * 1024;
/// What people say of all addresses together, in bytes.
pub const EDITED_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Addresses of which people said something.
pub const EDITED_ADDRESSES_MAX: u64 = 100_000;
/// Conflicts that are open at a time.
pub const CONFLICTS_MAX: u64 = 10_000;
/// Conflicts of one answer.
pub const CONFLICTS_LISTED_MAX: u32 = 64;
/// Results of one address that were replaced and are in its history: the last ones.
pub const HISTORY_RESULTS_MAX: u64 = 16;
/// Edits of one address that are in its history: the last ones.
pub const HISTORY_EDITS_MAX: u64 = 32;
/// Rows of all histories together. The oldest make way.
pub const HISTORY_ROWS_MAX: u64 = 200_000;
/// All histories together, in bytes. The oldest rows make way.
pub const HISTORY_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Notes of which session waits for which job. A request beyond is done like any
/// other, and cannot be left.
pub const WAITS_MAX: u64 = 4_000_000;
/// Largest body of an HTTP request, in bytes: the largest entry, written in JSON.
pub const HTTP_BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bodies of HTTP requests that a node has in memory at a time, in bytes.
pub const HTTP_BODIES_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// HTTP requests that a node works on at a time.
pub const HTTP_REQUESTS_MAX: u64 = 8_192;
/// HTTP connections to a node at a time.
pub const HTTP_CONNECTIONS_MAX: u64 = 10_000;
/// Longest that an HTTP request may wait for its outcome, in milliseconds.
pub const HTTP_WAIT_MS_MAX: u64 = 600_000;
/// Jobs that are not yet in a terminal state.
pub const JOBS_LIVE_MAX: u64 = 10_000_000;
/// Finished jobs that are kept for their readers.
pub const JOBS_FINISHED_MAX: u64 = 1_000_000;
/// Sessions at a time.
pub const SESSIONS_MAX: u64 = 10_000;
/// Replies kept for one session.
pub const SESSION_REPLIES_MAX: u64 = 256;
/// Registered workers.
pub const WORKERS_MAX: u64 = 4_096;
/// Leases that one worker may hold.
pub const WORKER_SLOTS_MAX: u64 = 64;
/// Tags that one worker may have, and that one engine may need.
pub const WORKER_TAGS_MAX: u64 = 16;
/// Memory that a worker may have, and that a job may need, in MiB: 1 PiB.
pub const MEMORY_MIB_MAX: u64 = 1 << 30;
/// Engines that may need more of a worker than a slot.
pub const ENGINES_NEEDING_MAX: u64 = 1_024;
/// Longest answer of a program that makes contexts, in bytes: one line of JSON.
pub const ENGINE_ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// Longest summary that such a program may give, in bytes.
pub const ENGINE_SUMMARY_BYTES_MAX: u64 = 64 * 1024;
/// Engines that one worker may offer.
pub const WORKER_ENGINES_MAX: u64 = 64;
/// How much a class weighs, from the most urgent: while jobs of all four wait, so
/// many of each are given out in turn. Not a bound of what comes from outside,
/// but one of how long a job may have to wait (decision 16).
pub const CLASS_WEIGHTS: [u64; 4] = [512, 64, 8, 1];
/// Claims of one entry.
pub const CLAIMS_PER_ENTRY_MAX: u64 = 64;
/// Jobs that a worker runs together (QUEUE B1).
pub const BATCH_JOBS_MAX: u64 = 16;
/// Expired leases of one entry.
pub const EXPIRIES_PER_ENTRY_MAX: u64 = 256;
/// Timers that one `Tick` may fire.
pub const TIMERS_PER_ENTRY_MAX: u64 = 512;
/// Dependents that one entry may release or fail; the rest follows by `Tick`.
pub const CASCADE_PER_ENTRY_MAX: u64 = 512;
/// Log entry body, in bytes: a full `Submit` or one result, with its stamp.
pub const ENTRY_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Entries of one `Append`.
pub const APPEND_ENTRIES_MAX: u64 = 1_024;
/// Bodies of one `Append`, in bytes, unless its first entry alone is larger.
pub const APPEND_BYTES_MAX: u64 = 1024 * 1024;
/// `Append`s with entries that may be on their way to one peer.
pub const APPENDS_IN_FLIGHT_MAX: u64 = 64;
/// Bodies that may be on their way to one peer, in bytes, besides one `Append`.
pub const APPEND_BYTES_IN_FLIGHT_MAX: u64 = 16 * 1024 * 1024;
/// A frame on a peer connection, in bytes.
pub const FRAME_BYTES_MAX: u64 = ENTRY_BYTES_MAX + APPEND_BYTES_MAX + 64 * 1024;
/// Proposals that are appended and not committed, in bytes.
pub const UNCOMMITTED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Applied entries kept in memory for peers that are nearly caught up, in bytes.
pub const LOG_WINDOW_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Requests that wait at a node for a leader to serve.
pub const WAITING_REQUESTS_MAX: u64 = 1_000;
/// Requests that a node keeps on its disk until there is a leader.
pub const LOCAL_REQUESTS_MAX: u64 = 1_000;
/// Copies of one of them that wait for the disk.
pub const LOCAL_WAITERS_MAX: u64 = 16;
/// Bytes of them: all are in memory too.
pub const LOCAL_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Linearizable reads that wait at a node.
pub const READS_WAITING_MAX: u64 = 4_096;
/// Rounds of a leader that are not yet confirmed: further reads share the next.
pub const ROUNDS_UNDER_WAY_MAX: u64 = 64;
/// Moments at which a node heard of commits that it has not applied yet.
pub const HEARD_COMMITS_MAX: u64 = 64;
/// Jobs whose end one request waits for.
pub const AWAIT_JOBS_MAX: u64 = 1_000;
/// Jobs whose end all requests at a node wait for: one entry may end all of them, in a
/// turn that must not take 10 ms.
pub const AWAITED_JOBS_MAX: u64 = 32_000;
/// Finished jobs of one answer.
pub const FEED_JOBS_MAX: u32 = 1_024;
/// Bytes of a snapshot's image in one message.
pub const SNAPSHOT_PIECE_BYTES_MAX: u64 = 512 * 1024;
/// Image of a snapshot that a follower takes from its leader, in bytes.
pub const SNAPSHOT_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// Bodies that a follower asks for at once.
pub const BODIES_FETCH_MAX: u64 = 256;
/// State that one turn puts into a snapshot, in bytes: 3 ms of a turn that must
/// not take 10.
pub const SNAPSHOT_PART_BYTES_MAX: u64 = 1024 * 1024;
/// Voters of a cluster.
pub const VOTERS_MAX: u64 = 7;
/// Members of a cluster: voters, those that come and go in a joint phase, and learners.
pub const MEMBERS_MAX: u64 = 32;

/// Principals with grants.
pub const PRINCIPALS_MAX: u64 = 1_024;
/// Grants of one principal.
pub const GRANTS_MAX: u64 = 16;
/// Principals of one answer.
pub const RIGHTS_LISTED_MAX: u32 = 32;
/// Principals and reasons that denials are counted by at a node at a time, and so of one
/// entry that tells of them: the rest is counted together.
pub const DENIALS_NAMED_MAX: u64 = 64;
/// Workers that were considered for a job and did not get it, by name: the rest is
/// counted.
pub const CONTENDERS_NAMED_MAX: usize = 3;

const _: () = assert!(
    ENTRY_BYTES_MAX < LOCAL_BYTES_MAX,
    "an entry must fit the local queue"
);
const _: () = assert!(
    ENTRY_BYTES_MAX < FRAME_BYTES_MAX,
    "an entry must fit a frame"
);
const _: () = assert!(
    SNAPSHOT_PIECE_BYTES_MAX + SOURCE_BYTES_MAX < FRAME_BYTES_MAX
        && RESULT_BYTES_MAX <= SOURCE_BYTES_MAX,
    "pieces, and bodies up to their bound and one more, must fit a frame"
);
const _: () = assert!(
    RESULT_BYTES_MAX * 2 < ENTRY_BYTES_MAX,
    "a result must fit an entry"
);
const _: () = assert!(
    SOURCE_BYTES_MAX * 2 <= ENTRY_BYTES_MAX,
    "a source must fit an entry, and its body a frame"
);
const _: () = assert!(
    ENTRY_BYTES_MAX + SOURCES_PER_ENTRY_MAX * SOURCE_ROW_BYTES
        <= SOURCES_DROPPED_PER_ENTRY_MAX * SOURCE_ROW_BYTES,
    "the smallest sources must make room for any others"
);
const _: () = assert!(
    NAMED_DEPENDENCIES_MAX <= DEPENDENCIES_MAX,
    "named ones are some of them"
);
const _: () = assert!(
    RIGHTS_LISTED_MAX as u64 * GRANTS_MAX * (ADDRESS_BYTES_MAX + NAME_BYTES_MAX) < ENTRY_BYTES_MAX,
    "an answer must fit a frame"
);
const _: () = assert!(
    EDIT_BYTES_MAX * 4 < ENTRY_BYTES_MAX && EDIT_BYTES_MAX < EDITED_BYTES_PER_ADDRESS_MAX,
    "an edit must fit an entry, and an address"
);
const _: () = assert!(
    EDITED_BYTES_PER_ADDRESS_MAX + HISTORY_EDITS_MAX * EDIT_BYTES_MAX < FRAME_BYTES_MAX,
    "what an address has, and its history, must fit a frame"
);
const _: () = assert!(
    CONFLICTS_LISTED_MAX as u64
        * (ADDRESS_BYTES_MAX
            + SIDES_MAX * (NOTE_BYTES_MAX + SYMBOL_BYTES_MAX + 3 * NAME_BYTES_MAX))
        < FRAME_BYTES_MAX,
    "an answer must fit a frame"
);
