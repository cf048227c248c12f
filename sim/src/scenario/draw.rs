//! The parts of a scenario, each drawn from a roll of its own. Knows what is
//! likely and what is possible; not what a run makes of it.

use precentor_core::config::Knobs;

use super::{
    ClientOptions, Delay, DiskOptions, NemesisOptions, NetworkOptions, UpgradeOptions,
    WorkerOptions,
};
use crate::tape::Roll;

/// A rate between two bounds with a probability of `on_ppm`, else 0. Small
/// rates are as likely as large ones.
pub(super) fn some(roll: &mut Roll, on_ppm: u32, min: u32, max: u32) -> u32 {
    let on = roll.chance(on_ppm);
    let octaves = u64::from((max / min.max(1)).max(1).ilog2());
    let low = u64::from(min) << roll.between(0, octaves);
    let drawn = roll.between(low, (low * 2).min(u64::from(max)).max(low));
    if on { drawn as u32 } else { 0 }
}

/// The wires.
pub(super) fn network(roll: &mut Roll) -> NetworkOptions {
    let delay = match roll.below(5) {
        0 => Delay::Constant { us: 300 },
        1 => Delay::Exponential {
            us_mean: roll.between(200, 5_000),
        },
        2 => Delay::HeavyTail {
            us_min: roll.between(30, 100),
        },
        3 => Delay::Uniform {
            us_min: 1_000,
            us_max: 20_000,
        },
        _ => Delay::Uniform {
            us_min: 100,
            us_max: 600,
        },
    };
    NetworkOptions {
        delay,
        bias_us_max: if roll.chance(250_000) { 5_000 } else { 0 },
        drop_ppm: some(roll, 500_000, 100, 100_000),
        burst_ppm: some(roll, 250_000, 100, 2_000),
        burst_us_max: 300_000,
        duplicate_ppm: some(roll, 400_000, 1_000, 100_000),
        late_duplicate_ppm: some(roll, 400_000, 1_000, 50_000),
        reorder_ppm: some(roll, 400_000, 10_000, 1_000_000),
        spike_ppm: some(roll, 300_000, 100, 10_000),
        spike_us_max: 1_000_000,
        stale_ppm: some(roll, 400_000, 10_000, 1_000_000),
    }
}

/// The disks.
pub(super) fn disk(roll: &mut Roll) -> DiskOptions {
    let (sync_us_min, sync_us_max) = *roll.pick(&[
        (50, 500),
        (50, 500),
        (100, 5_000),
        (1_000, 20_000),
        (10_000, 60_000),
    ]);
    DiskOptions {
        sync_us_min,
        sync_us_max,
        spike_ppm: some(roll, 300_000, 100, 10_000),
        spike_us_max: 500_000,
        install_us_max: 0,
        fail_ppm: some(roll, 250_000, 50, 1_000),
        keep_ppm: some(roll, 700_000, 100_000, 900_000),
        records: roll.chance(400_000),
        rot_ppm: some(roll, 400_000, 50_000, 600_000),
    }
}

/// What comes from time to time. Hangs and the newer shapes have lanes of their own.
pub(super) fn nemesis(roll: &mut Roll, nodes: usize) -> NemesisOptions {
    let mut every = |on_ppm: u32, min: u64, max: u64| {
        let (on, mean) = (roll.chance(on_ppm), roll.between(min, max));
        if on { mean } else { 0 }
    };
    let many = if nodes > 1 { 600_000 } else { 0 };
    NemesisOptions {
        crash_us: every(600_000, 200_000, 2_000_000),
        power_cut_us: every(250_000, 1_000_000, 5_000_000),
        pause_us: every(300_000, 300_000, 3_000_000),
        partition_us: every(many, 200_000, 2_000_000),
        break_us: every(many / 2, 100_000, 1_000_000),
        hand_over_us: every(300_000, 200_000, 2_000_000),
        snapshot_us: every(300_000, 200_000, 2_000_000),
        hang_us: 0,
        hang_us_max: 0,
        doze_us: 0,
        mid_turn_ppm: some(roll, 500_000, 50, 2_000),
        down_us_max: *roll.pick(&[50_000, 500_000, 3_000_000]),
        partition_us_max: *roll.pick(&[300_000, 1_000_000, 4_000_000]),
        pause_us_max: *roll.pick(&[100_000, 500_000, 3_000_000]),
        all_shapes: false,
        flap_ppm: 0,
    }
}

/// What clients do.
pub(super) fn clients(roll: &mut Roll) -> ClientOptions {
    ClientOptions {
        count: roll.between(1, 6) as usize,
        think_us: *roll.pick(&[10_000, 50_000, 200_000]),
        loss_ppm: some(roll, 400_000, 1_000, 100_000),
        resend_ppm: some(roll, 600_000, 10_000, 300_000),
        mismatch_ppm: some(roll, 300_000, 1_000, 50_000),
        bad_ppm: some(roll, 300_000, 10_000, 100_000),
        files: roll.between(1, 6),
        folders: roll.between(1, 4),
        newer_ppm: *roll.pick(&[50_000, 300_000, 800_000]),
        tenants: 1,
        bulk_ppm: 0,
        bulk_files_max: 0,
        bulks_max: 0,
        read_ppm: *roll.pick(&[0, 200_000, 600_000, 1_000_000]),
        last_reads: false,
        leave_ppm: 0,
        cancel_ppm: 0,
        redrive_ppm: 0,
        reprioritise_ppm: 0,
        pause_ppm: 0,
        limit_ppm: 0,
        nap_us: 0,
        mode_ppm: 0,
        invalidate_ppm: 0,
        budget_ppm: 0,
        roles_ppm: 0,
        edit_ppm: 0,
        await_ppm: 0,
        sweep_ppm: 0,
        local_ppm: 0,
        need_ppm: 0,
        keep_ppm: 0,
        workers: 0,
    }
}

/// In half of the worlds clients take requests back, and in some of them they end
/// jobs for all.
pub(super) fn taking_back(roll: &mut Roll, clients: &mut ClientOptions) {
    clients.leave_ppm = some(roll, 500_000, 20_000, 400_000);
    clients.cancel_ppm = some(roll, 300_000, 5_000, 50_000);
}

/// In most worlds clients do something of what operators do.
pub(super) fn operating(roll: &mut Roll, clients: &mut ClientOptions, workers: &WorkerOptions) {
    clients.workers = workers.count as u64;
    clients.redrive_ppm = some(roll, 600_000, 20_000, 300_000);
    clients.reprioritise_ppm = some(roll, 500_000, 10_000, 200_000);
    clients.pause_ppm = some(roll, 300_000, 5_000, 50_000);
}

/// In some worlds work is limited, and in some an engine is down from time to time.
pub(super) fn limiting(roll: &mut Roll, clients: &mut ClientOptions, workers: &mut WorkerOptions) {
    clients.limit_ppm = some(roll, 300_000, 5_000, 100_000);
    let (down, every_us) = (roll.chance(200_000), roll.between(1_000_000, 6_000_000));
    if down {
        workers.outage_every_us = every_us;
        workers.outage_us = every_us / roll.between(2, 4);
    }
}

/// In some worlds it is checked who does what, and that changes.
pub(super) fn ruling(roll: &mut Roll, clients: &mut ClientOptions, knobs: &mut Knobs) {
    clients.roles_ppm = some(roll, 350_000, 40_000, 320_000);
    let note_ms = roll.between(50, 1_000);
    if clients.roles_ppm > 0 {
        knobs.denials_note_ms = note_ms;
        // Alone it has nobody to rule.
        clients.count = clients.count.max(3);
    }
}

/// In some worlds sessions expire soon, and clients take naps.
pub(super) fn napping(roll: &mut Roll, clients: &mut ClientOptions, knobs: &mut Knobs) {
    let (naps, ttl_ms) = (roll.chance(150_000), roll.between(1_000, 2_000));
    if naps {
        knobs.session_ttl_ms = ttl_ms;
        clients.nap_us = ttl_ms * 1_200;
    }
}

/// In half of the worlds requests say what may come from the cache, and in some of them
/// results are made invalid, and have a budget.
pub(super) fn caching(roll: &mut Roll, clients: &mut ClientOptions) {
    let (modes, mode_ppm) = (roll.chance(500_000), roll.between(50_000, 600_000));
    let invalidate_ppm = some(roll, 600_000, 5_000, 100_000);
    let budget_ppm = some(roll, 500_000, 5_000, 50_000);
    if modes {
        clients.mode_ppm = u32::try_from(mode_ppm).expect("less than a million");
        clients.invalidate_ppm = invalidate_ppm;
        clients.budget_ppm = budget_ppm;
    }
}

/// In some worlds people edit contexts, many of them without a leader.
pub(super) fn editing(roll: &mut Roll, clients: &mut ClientOptions) {
    clients.edit_ppm = some(roll, 350_000, 20_000, 400_000);
}

/// In some worlds clients wait for the end of what they asked for.
pub(super) fn awaiting(roll: &mut Roll, clients: &mut ClientOptions) {
    clients.await_ppm = some(roll, 500_000, 100_000, 900_000);
}

/// In some worlds everything at an address and inside is cancelled at times.
pub(super) fn sweeping(roll: &mut Roll, clients: &mut ClientOptions) {
    clients.sweep_ppm = some(roll, 300_000, 2_000, 50_000);
}

/// In half of the worlds several tenants ask, in most of these for more than the
/// workers can do. The other half has one tenant and one engine.
pub(super) fn backlog(roll: &mut Roll, clients: &mut ClientOptions, workers: &mut WorkerOptions) {
    if !roll.chance(500_000) {
        return;
    }
    clients.tenants = roll.between(2, 4);
    clients.count = clients.count.max(3);
    clients.bulk_ppm = some(roll, 700_000, 50_000, 500_000);
    clients.bulk_files_max = roll.between(4, 40);
    clients.bulks_max = roll.between(1, 6);
    workers.two_engines = roll.chance(700_000);
}

/// What workers do.
pub(super) fn workers(roll: &mut Roll) -> WorkerOptions {
    WorkerOptions {
        count: roll.between(1, 6) as usize,
        slots: roll.between(1, 4) as u32,
        work_us: *roll.pick(&[2_000, 20_000, 100_000]),
        crash_us: if roll.chance(400_000) {
            roll.between(500_000, 4_000_000)
        } else {
            0
        },
        pause_us: if roll.chance(400_000) {
            roll.between(500_000, 4_000_000)
        } else {
            0
        },
        fail_ppm: some(roll, 500_000, 10_000, 200_000),
        release_ppm: some(roll, 300_000, 10_000, 100_000),
        two_engines: false,
        double_ppm: some(roll, 600_000, 10_000, 500_000),
        forge_ppm: some(roll, 500_000, 10_000, 300_000),
        zombie_ppm: some(roll, 600_000, 100_000, 900_000),
        poison_ppm: some(roll, 400_000, 10_000, 100_000),
        outage_every_us: 0,
        outage_us: 0,
        offers: false,
        together_max: 1,
        together_every: 1,
        run_fail_ppm: 0,
        ghost_ppm: some(roll, 500_000, 100_000, 900_000),
    }
}

/// In half of the worlds all workers, or every other one, run jobs together.
pub(super) fn batching(roll: &mut Roll, workers: &mut WorkerOptions, knobs: &mut Knobs) {
    if !roll.chance(500_000) {
        return;
    }
    workers.together_max = roll.between(2, 20) as u32;
    workers.together_every = roll.between(1, 2);
    workers.slots = workers.slots.max(roll.between(2, 20) as u32);
    workers.run_fail_ppm = some(roll, 700_000, 20_000, 300_000);
    knobs.batch_linger_ms = *roll.pick(&[0, 5, 20, 100]);
}

/// In some worlds engines need more of workers than a slot.
pub(super) fn fitting(roll: &mut Roll, clients: &mut ClientOptions, workers: &mut WorkerOptions) {
    clients.need_ppm = some(roll, 350_000, 5_000, 100_000);
    workers.offers = roll.chance(900_000) && clients.need_ppm > 0;
}

/// Requests that are left with any node until there is a leader.
pub(super) fn leaving(roll: &mut Roll, clients: &mut ClientOptions, knobs: &mut Knobs) {
    clients.local_ppm = some(roll, 400_000, 20_000, 400_000);
    if roll.chance(250_000) {
        knobs.local_requests_max = roll.between(0, 3);
    }
}

/// In some worlds the texts of files are kept for workers, and there is room for few.
pub(super) fn keeping(roll: &mut Roll, clients: &mut ClientOptions) {
    clients.keep_ppm = some(roll, 350_000, 50_000, 400_000);
}

/// The core's own knobs.
pub(super) fn knobs(roll: &mut Roll) -> Knobs {
    let mut knobs = Knobs {
        lease_ms: roll.between(400, 1_500),
        worker_poll_ms: roll.between(50, 150),
        reattach_ms: roll.between(100, 500),
        retry_base_ms: roll.between(10, 100),
        retry_cap_ms: 500,
        wait_ms_max: roll.between(0, 500),
        state_hash_every_entries: roll.between(1, 32),
        ..Knobs::default()
    };
    // Quirks: a window of one, batches of one, small bounds.
    if roll.chance(250_000) {
        knobs.append_entries_max = roll.between(1, 3);
    }
    if roll.chance(250_000) {
        knobs.appends_in_flight_max = roll.between(1, 3);
    }
    if roll.chance(150_000) {
        knobs.log_window_bytes_max = roll.between(1_024, 16_384);
    }
    if roll.chance(300_000) {
        knobs.snapshot_every_bytes = roll.between(1_024, 65_536);
    }
    if roll.chance(400_000) {
        // So that whoever is away for a while comes back to a snapshot.
        knobs.log_slack_bytes = roll.between(1_024, 16_384);
        knobs.snapshot_every_bytes = roll.between(1_024, 8_192);
        knobs.transfer_patience_ms = roll.between(50, 1_000);
    }
    if roll.chance(600_000) {
        // So that much happens between two parts of a small state.
        knobs.snapshot_part_bytes = roll.between(64, 4_096);
    }
    if roll.chance(150_000) {
        knobs.jobs_live_max = roll.between(8, 40);
    }
    if roll.chance(150_000) {
        knobs.suspicion_ms_max = roll.between(0, 100);
    }
    if roll.chance(500_000) {
        knobs.failures_max = roll.between(1, 4);
    }
    if roll.chance(300_000) {
        knobs.crashes_max = roll.between(1, 2);
    }
    knobs
}

/// How the programs are replaced, in one run of eight.
pub(super) fn upgrade(roll: &mut Roll, nodes: usize) -> Option<UpgradeOptions> {
    let replaces = roll.chance(125_000);
    let options = UpgradeOptions {
        at_us: roll.between(100_000, 1_500_000),
        gap_us: roll.between(50_000, 800_000),
        first: roll.below(nodes as u64) as usize,
        back: match roll.chance(400_000) {
            true => roll.below(nodes as u64) as usize,
            false => 0,
        },
        mistake: roll
            .chance(400_000)
            .then(|| roll.below(nodes as u64) as usize),
        damage_ppm: some(roll, 700_000, 100, 3_000),
        stray_ppm: some(roll, 700_000, 100, 3_000),
        replay_ppm: some(roll, 700_000, 1_000, 100_000),
    };
    replaces.then_some(options)
}
