//! A crowd: as many workers and tenants as a large team has, engines that fail, inputs
//! that nothing can be made of, and a leader that never lasts.

use precentor_core::config::Knobs;

use super::{NemesisOptions, Scenario};
use crate::tape::{Domain, Tape};

impl Scenario {
    /// Five nodes, 200 workers, 50 tenants, and another leader about every second of
    /// chaos; all else as the seed draws it for founders who stay among themselves.
    #[must_use]
    pub fn crowd(seed: u64) -> Scenario {
        let mut scenario = Scenario::settled(seed);
        let mut roll = Tape::of_seed(seed).roll(Domain::Scenario, 50);
        scenario.nodes = 5;
        scenario.topology = None;
        scenario.rule_nobody();
        // A leader must be possible where one is lost so often.
        scenario.let_elections_be();
        scenario.chaos_us = roll.between(3_000_000, 6_000_000);
        scenario.nemesis = NemesisOptions {
            crash_us: 800_000,
            hand_over_us: 1_500_000,
            partition_us: 2_000_000,
            pause_us: 3_000_000,
            down_us_max: 500_000,
            partition_us_max: 500_000,
            pause_us_max: 400_000,
            ..scenario.nemesis
        };
        scenario.nemesis.hang_us = 0;
        scenario.knobs.jobs_live_max = Knobs::default().jobs_live_max;
        let clients = &mut scenario.clients;
        clients.count = 60;
        clients.tenants = 50;
        clients.think_us = 300_000;
        (clients.files, clients.folders) = (6, 12);
        clients.bulk_ppm = 400_000;
        (clients.bulk_files_max, clients.bulks_max) = (40, 3);
        clients.read_ppm = clients.read_ppm.min(100_000);
        clients.await_ppm = 500_000;
        // A pause of the cluster stands in everybody's way.
        clients.pause_ppm = clients.pause_ppm.min(2_000);
        clients.workers = 200;
        let workers = &mut scenario.workers;
        workers.count = 200;
        workers.two_engines = true;
        workers.crash_us = roll.between(4_000_000, 20_000_000);
        workers.fail_ppm = workers.fail_ppm.max(20_000);
        workers.poison_ppm = workers.poison_ppm.max(10_000);
        workers.outage_every_us = roll.between(1_500_000, 4_000_000);
        workers.outage_us = workers.outage_every_us / 3;
        scenario
    }
}
