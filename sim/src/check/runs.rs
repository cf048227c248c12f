//! Which claims were given out to be run together, as the replicas tell of them.

use std::collections::BTreeMap;

use precentor_core::command::{AuditRecord, Claim, Command};
use precentor_core::ids::{JobId, Token, WorkerId};

/// A claim that was granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Given {
    pub(super) job: JobId,
    pub(super) token: Token,
    pub(super) worker: WorkerId,
}

/// What an entry of claims gave out.
pub(super) fn given<'a>(
    command: &'a Command,
    record: &'a AuditRecord,
) -> impl Iterator<Item = Given> + 'a {
    let is_granted = |claim: &Claim| {
        let granted = format!(" {} to {} by ", claim.job, claim.worker);
        record.text.contains(&granted)
    };
    let index = record.index;
    let claims = (0..).zip(command.claims());
    let claims = claims.filter(move |(_, claim)| is_granted(claim));
    claims.map(move |(position, claim)| Given {
        job: claim.job,
        token: Token { index, position },
        worker: claim.worker,
    })
}

/// The runs of several jobs, by each of their tokens.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs(BTreeMap<Token, Vec<Given>>);

impl Runs {
    /// A replica tells of an entry. Says which runs of several jobs it began.
    pub(super) fn on_claims(&mut self, command: &Command, record: &AuditRecord) -> Vec<Vec<Given>> {
        let Command::ClaimTogether { runs, .. } = command else {
            return Vec::new();
        };
        let mut begun: BTreeMap<u32, Vec<Given>> = BTreeMap::new();
        for given in given(command, record) {
            let run = runs[given.token.position as usize];
            begun.entry(run).or_default().push(given);
        }
        let begun: Vec<Vec<Given>> = begun.into_values().filter(|run| run.len() > 1).collect();
        for run in &begun {
            self.0
                .extend(run.iter().map(|given| (given.token, run.clone())));
        }
        begun
    }

    /// All that was given out to be run together with this one, itself among them;
    /// nothing if it was alone.
    pub(super) fn of(&self, token: Token) -> &[Given] {
        self.0.get(&token).map_or(&[], Vec::as_slice)
    }
}
