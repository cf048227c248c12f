//! Does nobody do what they may not? The judge keeps a table of its own from the orders
//! that were applied, and looks at each entry by what was in force before it. What was
//! denied has no entry of its own; what entries tell of denials is bounded; and a claim
//! says truthfully who else was considered. Each entry is judged once, by the audit of
//! the replica that applies it first.

use std::collections::{BTreeMap, BTreeSet};

use precentor_core::access::{Area, Grant, Role};
use precentor_core::action::Action;
use precentor_core::address::Address;
use precentor_core::command::{AuditRecord, ClaimRule, Command, Entry, Load, WeighedClaim};
use precentor_core::config::Knobs;
use precentor_core::entry::EntryKind;
use precentor_core::event::Event;
use precentor_core::feature::FeatureLevel;
use precentor_core::ids::{JobId, LogIndex, RequestId, SessionId, Term, Ticket, Token, WorkerId};
use precentor_core::job::{Account, Class, Reach};
use precentor_core::principal::Principal;
use precentor_core::request::Reply;
use precentor_core::time::Stamp;
use precentor_core::view::View;
use precentor_core::wire::command::decode;

use super::logs::Logs;
use super::runs::{Given, given};
use super::{Checker, Verdict, ensure, proposed};
use crate::marks::{Mark, Marks};

/// Denials that one entry names.
const NAMED_MAX: usize = 64;

/// Something asked of a node.
type Asked = (Principal, Option<RequestId>, Command);

/// The judge.
#[derive(Clone, Debug)]
pub struct Access {
    note_ms: u64,
    /// The last index of which the audit was read.
    read: LogIndex,
    /// Some entry was not seen: nothing can be said any more.
    blind: bool,
    level: FeatureLevel,
    grants: BTreeMap<Principal, Vec<Grant>>,
    workers: BTreeMap<WorkerId, Principal>,
    /// Every session that was opened, and whose it is, if that is known.
    sessions: BTreeMap<SessionId, Option<Principal>>,
    /// Whom each job was given to last, by which token.
    holders: BTreeMap<JobId, (Token, WorkerId)>,
    /// Jobs that were completed: again nothing comes of it.
    completed: BTreeSet<JobId>,
    /// Requests that were done: again they have no effect.
    done: BTreeSet<RequestId>,
    /// When denials were told last, and in which term.
    told: Option<(Term, Stamp)>,
    /// What is asked and not answered.
    asked: BTreeMap<Ticket, Asked>,
}

impl Access {
    pub(super) fn new(knobs: &Knobs) -> Access {
        Access {
            note_ms: knobs.denials_note_ms,
            read: LogIndex(0),
            blind: false,
            level: FeatureLevel::FOUNDING,
            grants: BTreeMap::new(),
            workers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            holders: BTreeMap::new(),
            completed: BTreeSet::new(),
            done: BTreeSet::new(),
            told: None,
            asked: BTreeMap::new(),
        }
    }

    pub(super) fn on_event(&mut self, event: &Event) {
        if let Event::Client {
            ticket,
            principal,
            request,
        } = event
            && let Some((request, command)) = proposed(request)
            && !self.grants.is_empty()
        {
            let asked = (principal.clone(), request, command.clone());
            self.asked.insert(*ticket, asked);
        }
    }

    /// Whoever was denied something in a turn has no entry of it in what that wrote.
    pub(super) fn on_turn(
        &mut self,
        view: &View<'_>,
        actions: &[Action],
        marks: &mut Marks,
    ) -> Verdict {
        let mut denied: Vec<Asked> = Vec::new();
        for action in actions {
            let Action::Answer { ticket, reply } = action else {
                continue;
            };
            let asked = self.asked.remove(ticket);
            if let Reply::Denied(_) = reply {
                marks.hit(Mark::Denied);
                denied.extend(asked);
            }
        }
        if denied.is_empty() {
            return Ok(());
        }
        let writes = actions.iter().filter_map(|action| match action {
            Action::Write(write) => Some(&write.entries),
            _ => None,
        });
        let own = writes
            .flatten()
            .filter(|entry| entry.kind == EntryKind::Command && entry.term == view.term());
        for entry in own {
            let Ok(written) = decode(&entry.body) else {
                continue;
            };
            let written = (written.principal, written.request, written.command);
            ensure(!denied.contains(&written), Checker::Access, || {
                format!("{written:?} was denied, and is entry {}", entry.index)
            })?;
        }
        Ok(())
    }

    /// A replica says what came of an entry.
    pub(super) fn on_audit(
        &mut self,
        record: &AuditRecord,
        view: &View<'_>,
        logs: &Logs,
        marks: &mut Marks,
    ) -> Verdict {
        if record.index <= self.read {
            return Ok(());
        }
        self.blind |= record.index.0 != self.read.0 + 1;
        self.read = record.index;
        let committed = logs.get(record.index);
        let entry = committed.and_then(|committed| committed.command.as_ref());
        // An old leader's entry is nobody's.
        let Some(entry) = entry.filter(|_| !record.text.contains(": rejected: proposed in "))
        else {
            return Ok(());
        };
        if self.blind {
            return Ok(());
        }
        // A request that comes again is answered as before, and does nothing.
        let is_again = entry
            .request
            .is_some_and(|request| self.done.contains(&request));
        self.check(record, entry, view, marks)?;
        if !record.text.contains(": rejected: ") && !is_again {
            self.on_done(record, entry, marks)?;
        }
        Ok(())
    }

    fn check(
        &mut self,
        record: &AuditRecord,
        entry: &Entry,
        view: &View<'_>,
        marks: &mut Marks,
    ) -> Verdict {
        let (index, text) = (record.index, &record.text);
        let (denied, rejected) = (
            text.contains(": rejected: denied: "),
            text.contains(": rejected: "),
        );
        if self.grants.is_empty() {
            self.adopt(entry);
            self.done.extend(entry.request.filter(|_| !rejected));
            return ensure(!denied, Checker::Access, || {
                format!("{index} was denied while everybody may do everything: {text}")
            });
        }
        if denied {
            marks.hit(Mark::DeniedAtApply);
        }
        if let Some(request) = entry.request {
            let session = request.session;
            let owner = self.sessions.get(&session);
            let is_own = owner.is_none_or(|owner| owner.as_ref() == Some(&entry.principal));
            ensure(is_own || rejected, Checker::Access, || {
                format!(
                    "{index} of {} was done in {session}, which is {owner:?}'s: {text}",
                    entry.principal
                )
            })?;
            if !is_own {
                return Ok(());
            }
            if self.done.contains(&request) {
                return Ok(());
            }
            if !rejected {
                self.done.insert(request);
            }
        }
        if rejected && !denied {
            return Ok(());
        }
        let may = self.may(entry, view);
        ensure(may != denied, Checker::Access, || {
            let grants = self.grants.get(&entry.principal);
            let which = if denied { "denied" } else { "done" };
            format!(
                "{index} of {} was {which}, who has {grants:?}: {text}",
                entry.principal
            )
        })
    }

    /// A session is whose who used it, while nobody looked whose it was.
    fn adopt(&mut self, entry: &Entry) {
        if self.level < FeatureLevel::ACCESS_CHECKED {
            return;
        }
        let session = entry.request.map(|request| request.session);
        if let Some(owner) = session.and_then(|session| self.sessions.get_mut(&session)) {
            owner.get_or_insert_with(|| entry.principal.clone());
        }
    }

    fn has(&self, who: &Principal, role: Role, at: Place<'_>, class: Option<Class>) -> bool {
        let grants = self.grants.get(who).into_iter().flatten();
        let mut of_role = grants.filter(|grant| {
            let roles: &[Role] = match grant.role {
                Role::Viewer => &[Role::Viewer],
                Role::Agent => &[Role::Viewer, Role::Agent],
                Role::Worker => &[Role::Worker],
                Role::Operator => &[Role::Viewer, Role::Agent, Role::Operator],
                Role::Admin => &[Role::Viewer, Role::Agent, Role::Operator, Role::Admin],
            };
            roles.contains(&role)
        });
        of_role.any(|grant| {
            let there = match (&grant.area, at) {
                (Area::Everywhere, _) | (_, Place::Any) => true,
                (_, Place::All) | (Area::At(_), Place::Inside(_)) => false,
                (Area::At(place), Place::One(address)) => place == address,
                (Area::Within(place), Place::One(address) | Place::Inside(address)) => {
                    let inside = format!("{}/", place.as_str().trim_end_matches('/'));
                    place == address || address.as_str().starts_with(&inside)
                }
            };
            // Ordered from the most urgent.
            there && class.is_none_or(|class| grant.class <= class)
        })
    }

    fn may(&self, entry: &Entry, view: &View<'_>) -> bool {
        let who = &entry.principal;
        let all = |role| self.has(who, role, Place::All, None);
        let some = |role| self.has(who, role, Place::Any, None);
        let at = |role, address: &Address, class| self.has(who, role, Place::One(address), class);
        let jobs = |jobs: &[JobId], class: Option<Class>| {
            let known = jobs.iter().filter_map(|job| view.queue().job(*job));
            some(Role::Operator) && {
                let mut known = known;
                known.all(|job| at(Role::Operator, &job.address, class))
            }
        };
        match &entry.command {
            Command::TakeOver { .. }
            | Command::Claim { .. }
            | Command::ClaimFrom { .. }
            | Command::ClaimTogether { .. }
            | Command::Expire { .. }
            | Command::Tick
            | Command::RaiseLevel { .. }
            | Command::Evict { .. }
            | Command::NoteDenials { .. } => *who == Principal::cluster(),
            Command::OpenSession | Command::Leave { .. } | Command::KeepSources { .. } => {
                some(Role::Agent)
            }
            Command::Submit { items } | Command::Ask { items, .. } => {
                some(Role::Agent)
                    && items.iter().all(|item| {
                        let mut needed = item.dependencies.iter();
                        at(Role::Agent, &item.address, Some(item.class))
                            && needed.all(|needed| at(Role::Viewer, &needed.address, None))
                    })
            }
            Command::PutOffer { worker, .. } => {
                let owner = self.workers.get(worker);
                all(Role::Worker) && owner.is_none_or(|owner| owner == who)
            }
            Command::Register { worker } => {
                let owner = self.workers.get(&worker.worker);
                all(Role::Worker) && owner.is_none_or(|owner| owner == who)
            }
            Command::Complete { job, token, .. }
            | Command::Fail { job, token, .. }
            | Command::FailTogether { job, token, .. }
            | Command::Release { job, token } => {
                all(Role::Worker) && self.is_own_token(who, *job, *token)
            }
            Command::Cancel { jobs: named }
            | Command::Purge { jobs: named }
            | Command::Redrive {
                jobs: named,
                dependents: false,
            } => jobs(named, None),
            Command::Reprioritise { jobs: named, class } => jobs(named, Some(*class)),
            Command::PutLimits {
                account: Account::Project(project),
                ..
            } => {
                let place = format!("ucxl://{project}/").parse();
                place.is_ok_and(|place| self.has(who, Role::Operator, Place::Inside(&place), None))
            }
            Command::Invalidate {
                reach: Reach::Address(address),
            } => at(Role::Operator, address, None),
            Command::Invalidate {
                reach: Reach::Prefix(address),
            } => self.has(who, Role::Operator, Place::Inside(address), None),
            Command::Invalidate { .. }
            | Command::PutNeeds { .. }
            | Command::PutBudget { .. }
            | Command::PutSourceBudget { .. }
            | Command::PutLimits { .. }
            | Command::Redrive { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Expel { .. } => all(Role::Operator),
            Command::PutRoles { .. } => all(Role::Admin),
            Command::Annotate { address, .. } | Command::Resolve { address, .. } => {
                at(Role::Agent, address, None)
            }
        }
    }

    /// May a worker be given anything?
    fn may_work(&self, worker: WorkerId) -> bool {
        let owner = self.workers.get(&worker);
        self.grants.is_empty()
            || owner.is_some_and(|owner| self.has(owner, Role::Worker, Place::All, None))
    }

    /// Was the job given by this token to a worker of somebody's, or is that of no matter
    /// any more?
    fn is_own_token(&self, who: &Principal, job: JobId, token: Token) -> bool {
        let held = self.holders.get(&job).filter(|(last, _)| *last == token);
        let worker = held.filter(|_| !self.completed.contains(&job));
        worker.is_none_or(|(_, worker)| self.workers.get(worker) == Some(who))
    }

    fn on_done(&mut self, record: &AuditRecord, entry: &Entry, marks: &mut Marks) -> Verdict {
        let who = &entry.principal;
        match &entry.command {
            Command::RaiseLevel { to } => self.level = *to,
            Command::OpenSession => {
                let since = self.level >= FeatureLevel::ACCESS_CHECKED;
                let owner = since.then(|| who.clone());
                self.sessions.insert(SessionId(record.index.0), owner);
            }
            Command::Register { worker } if self.level >= FeatureLevel::ACCESS_CHECKED => {
                self.workers.insert(worker.worker, who.clone());
            }
            Command::Expel { worker } => drop(self.workers.remove(worker)),
            Command::Complete { job, .. } => drop(self.completed.insert(*job)),
            Command::PutRoles { principal, grants } => {
                let says = record.text.starts_with(&format!("let {principal} "));
                ensure(says, Checker::AuditChain, || {
                    format!("{} puts roles, and says {}", record.index, record.text)
                })?;
                match grants.is_empty() {
                    true => self.grants.remove(principal),
                    false => self.grants.insert(principal.clone(), grants.clone()),
                };
                marks.hit(Mark::RolesPut);
                let mut all = self.grants.values().flatten();
                let admin = Grant::everywhere(Role::Admin);
                let there = self.grants.is_empty()
                    || all.any(|one| (one.role, &one.area) == (admin.role, &admin.area));
                ensure(there, Checker::Access, || {
                    format!("after {} nobody is admin", record.index)
                })?;
            }
            Command::NoteDenials { denied, .. } => {
                let before = self.told.replace((record.term, record.t));
                // A stamp is rounded down.
                let soon = before.filter(|(term, at)| {
                    *term == record.term && record.t.0 + 1 < at.0 + self.note_ms
                });
                ensure(
                    soon.is_none() && denied.len() <= NAMED_MAX,
                    Checker::BoundedDenials,
                    || {
                        format!(
                            "{} tells of {} denials at {:?}, after {soon:?}; once in {} ms is enough",
                            record.index,
                            denied.len(),
                            record.t,
                            self.note_ms
                        )
                    },
                )?;
                marks.hit(Mark::DenialsTold);
            }
            Command::Claim { .. } | Command::ClaimFrom { .. } | Command::ClaimTogether { .. } => {
                for Given { job, token, worker } in given(&entry.command, record) {
                    ensure(self.may_work(worker), Checker::Access, || {
                        let owner = self.workers.get(&worker);
                        format!("{token} gives {job} to {worker}, of {owner:?} who may not work")
                    })?;
                    self.holders.insert(job, (token, worker));
                }
                if let Command::ClaimFrom { claims } | Command::ClaimTogether { claims, .. } =
                    &entry.command
                {
                    claims
                        .iter()
                        .try_for_each(|claim| check_weights(claim, record, marks))?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Where a role is needed.
#[derive(Clone, Copy)]
enum Place<'a> {
    Any,
    All,
    One(&'a Address),
    /// There and everywhere inside.
    Inside(&'a Address),
}

/// The rule is the one that the figures say, and whoever is named lost by them.
fn check_weights(weighed: &WeighedClaim, record: &AuditRecord, marks: &mut Marks) -> Verdict {
    let figures = |load: Load| (load.share, load.last_claim);
    let named: Vec<_> = weighed.others.iter().flatten().collect();
    let winner = (figures(weighed.load), weighed.claim.worker);
    let ranks = named.iter().map(|one| (figures(one.load), one.worker));
    // Who runs others of its queue, and where its project is at home, wins over who has less.
    let by_figures = !matches!(
        weighed.claim.rule,
        ClaimRule::WithOthers | ClaimRule::AtHome
    );
    let winner = Some(winner).filter(|_| by_figures);
    let order: Vec<_> = winner.into_iter().chain(ranks).collect();
    let is_other = named
        .iter()
        .all(|other| other.worker != weighed.claim.worker);
    let second = named.first().map(|one| one.load.share);
    let rule = match second {
        None => ClaimRule::OnlyFit,
        Some(_) if !by_figures => weighed.claim.rule,
        Some(share) if share > weighed.load.share => ClaimRule::LeastLoaded,
        Some(_) => ClaimRule::LeastRecentlyUsed,
    };
    let count = weighed.fit as usize;
    let all_named = (count - 1).min(weighed.others.len()) == named.len();
    let says = rule == ClaimRule::OnlyFit
        || record.text.contains(&format!(" of {count} at "))
        // Who did not get it is not said of whoever was refused.
        || record.text.contains(" not to ");
    if named.len() > 1 {
        marks.hit(Mark::ClaimWeighed);
    }
    ensure(
        order.is_sorted() && is_other && rule == weighed.claim.rule && all_named && says,
        Checker::WeighedClaims,
        || {
            format!(
                "{weighed:?} is not so, at {}: {}",
                record.index, record.text
            )
        },
    )
}
