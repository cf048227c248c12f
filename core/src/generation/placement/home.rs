//! Where the jobs of a project go as long as nobody is overloaded by that: a worker that
//! has seen a project knows its files. Rendezvous hashing (Thaler and Ravishankar, 1998):
//! each project ranks all workers in its own order, so that one that comes or goes moves
//! only its own projects; with bounded loads (Mirrokni et al., 2016).

use std::collections::BTreeMap;

use crate::ids::WorkerId;

/// Looks at candidates in one round of claims: each project whose home is sought costs one
/// at every one. Jobs of further projects go where there is least to do.
const LOOKS_MAX: usize = 65_536;

/// The homes that were sought in a round, by engine and project.
#[derive(Debug, Default)]
pub(super) struct Homes<'a> {
    known: BTreeMap<(&'a str, &'a str), WorkerId>,
    looks: usize,
}

impl<'a> Homes<'a> {
    /// The home of a project among those of `count` candidates that offer an engine; none if
    /// there is nobody, or too many were looked at. Who it is, is asked once a round.
    pub(super) fn of(
        &mut self,
        engine: &'a str,
        project: &'a str,
        count: usize,
        offering: impl Iterator<Item = WorkerId>,
    ) -> Option<WorkerId> {
        if let Some(home) = self.known.get(&(engine, project)) {
            return Some(*home);
        }
        if self.looks + count > LOOKS_MAX {
            return None;
        }
        self.looks += count;
        let number = number_of(project);
        let home = offering.max_by_key(|worker| (mixed(number ^ mixed(worker.0)), *worker))?;
        self.known.insert((engine, project), home);
        Some(home)
    }
}

/// Is a share of slots in use at most 1.25 times the mean of so many that sum up to this?
pub(super) fn is_bearable(share: u64, sum: u64, count: u32) -> bool {
    share * u64::from(count) * 4 <= sum * 5
}

/// FNV-1a (Fowler, Noll and Vo): every program must find the same.
fn number_of(project: &str) -> u64 {
    project.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(project: &str, workers: impl Iterator<Item = u64>) -> WorkerId {
        let mut homes = Homes::default();
        homes
            .of("outline", project, 8, workers.map(WorkerId))
            .unwrap()
    }

    #[test]
    fn a_worker_that_goes_moves_its_own_projects_alone_and_all_have_some() {
        let mut counts = BTreeMap::new();
        for number in 0..1_000 {
            let project = format!("project-{number}");
            let before = home(&project, 1..=8);
            let after = home(&project, (1..=8).filter(|worker| *worker != 3));
            assert_eq!(after == before, before != WorkerId(3), "{project}");
            *counts.entry(before).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 8);
        assert!(counts.values().all(|count| *count > 80), "{counts:?}");
    }

    #[test]
    fn no_more_homes_are_sought_than_a_round_can_bear() {
        let projects: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let mut homes = Homes::default();
        let mut sought = |project| homes.of("outline", project, 1_000, (1..4).map(WorkerId));
        let found = projects.iter().filter_map(|project| sought(project));
        assert_eq!(found.count(), 65, "that is 65,000 looks");
        assert!(sought("3").is_some(), "it is known");
    }

    #[test]
    fn a_quarter_above_the_mean_is_borne_and_more_is_not() {
        assert!(is_bearable(0, 0, 3), "nobody has anything");
        assert!(is_bearable(500, 1_200, 3), "the mean is 400");
        assert!(!is_bearable(501, 1_200, 3));
    }
}
