//! Who may do what: the first client says so, changes it while others work, and gives
//! everything back when the chaos is over. And what clients try that is not theirs:
//! the session of another, the token of a worker, a right that they want.

use std::collections::{BTreeSet, VecDeque};

use precentor_core::access::{Area, Denial, Grant, Role};
use precentor_core::bytes::Bytes;
use precentor_core::command::Command;
use precentor_core::digest::Digest;
use precentor_core::ids::{JobId, RequestId, Sequence, SessionId, Token};
use precentor_core::job::Class;
use precentor_core::principal::Principal;

use super::items::address;
use super::tree::Tree;
use super::{Client, propose};
use crate::desk::{Desk, lane_of_client, lane_of_worker};
use crate::scenario::ClientOptions;
use crate::tape::{Domain, Roll, Tape};

/// Whom the first client rules, and how far it has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Ruling {
    /// Everybody else, with all that it is to do in the end.
    subjects: Vec<(Principal, Vec<Grant>)>,
    own: Vec<Grant>,
    stands: Stands,
    /// Who is given everything next.
    due: VecDeque<usize>,
    /// Who has less than everything.
    less: BTreeSet<usize>,
    /// An order that is not answered.
    asked: Option<Command>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stands {
    /// It rules nobody, now and for ever.
    #[default]
    Never,
    /// Everybody may do everything.
    Open,
    /// It has begun.
    Closed,
}

impl Ruling {
    /// Of a world: only the first client rules.
    pub(super) fn new(lane: u32, options: &ClientOptions) -> Ruling {
        if lane != 0 || options.roles_ppm == 0 {
            return Ruling::default();
        }
        let all = |roles: &[Role]| roles.iter().copied().map(Grant::everywhere).collect();
        // Who has the role may take the name of a worker that was expelled.
        let client: Vec<Grant> = match options.pause_ppm {
            0 => all(&[Role::Agent, Role::Operator, Role::Worker]),
            _ => all(&[Role::Agent, Role::Operator]),
        };
        let clients = (1..options.count).map(lane_of_client);
        let clients = clients.map(|lane| Principal(format!("client{lane}")));
        let workers = (0..options.workers as usize).map(lane_of_worker);
        let workers = workers.map(|lane| Principal(format!("worker{lane}")));
        let subjects = clients.map(|name| (name, client.clone()));
        let workers = workers.map(|name| (name, all(&[Role::Worker])));
        Ruling {
            subjects: subjects.chain(workers).collect(),
            own: [all(&[Role::Admin]), client.clone()].concat(),
            stands: Stands::Open,
            ..Ruling::default()
        }
    }

    /// Has everybody all that it is to have?
    pub(super) fn is_done(&self) -> bool {
        self.asked.is_none() && self.due.is_empty() && self.less.is_empty()
    }

    /// Is it checked who does what?
    fn is_closed(&self) -> bool {
        self.stands == Stands::Closed
    }

    /// What it orders at once: what was not given yet, and in the end everything.
    pub(super) fn take_due(&mut self, retiring: bool) -> Option<Command> {
        if self.asked.is_some() || self.stands != Stands::Closed {
            return None;
        }
        if retiring && self.due.is_empty() {
            self.due.extend(&self.less);
        }
        let subject = self.due.pop_front()?;
        let (_, grants) = &self.subjects[subject];
        Some(self.order(subject, grants.clone()))
    }

    /// What it orders now, if it does.
    pub(super) fn next(
        &mut self,
        tape: &mut Tape,
        lane: u32,
        principal: &Principal,
        options: &ClientOptions,
    ) -> Option<Command> {
        if self.stands == Stands::Never || self.asked.is_some() {
            return None;
        }
        let mut roll = tape.fault(Domain::Rule, lane, options.roles_ppm)?;
        if self.stands == Stands::Open {
            let command = Command::PutRoles {
                principal: principal.clone(),
                grants: self.own.clone(),
            };
            self.asked = Some(command.clone());
            return Some(command);
        }
        if self.subjects.is_empty() {
            return None;
        }
        let subject = roll.below(self.subjects.len() as u64) as usize;
        let grants = match roll.chance(300_000) {
            true => self.subjects[subject].1.clone(),
            false => less(&mut roll),
        };
        Some(self.order(subject, grants))
    }

    fn order(&mut self, subject: usize, grants: Vec<Grant>) -> Command {
        let (principal, all) = &self.subjects[subject];
        let command = Command::PutRoles {
            principal: principal.clone(),
            grants,
        };
        let Command::PutRoles { grants, .. } = &command else {
            unreachable!("it was just made");
        };
        match grants == all {
            true => self.less.remove(&subject),
            false => self.less.insert(subject),
        };
        self.asked = Some(command.clone());
        command
    }

    /// An order is in force.
    pub(super) fn on_put(&mut self, command: &Command) {
        if self.asked.as_ref() != Some(command) {
            // The answer to a copy.
            return;
        }
        self.asked = None;
        if self.stands == Stands::Open {
            self.stands = Stands::Closed;
            self.due = (0..self.subjects.len()).collect();
            self.less = self.due.iter().copied().collect();
        }
    }

    /// An order came to nothing: it is given again, or some program is too old for it.
    pub(super) fn on_failed(&mut self, command: &Command, for_ever: bool) {
        let Some(Command::PutRoles { principal, .. }) =
            self.asked.take_if(|asked| asked == command)
        else {
            return;
        };
        if for_ever {
            self.stands = Stands::Never;
            self.due.clear();
            self.less.clear();
        }
        let mut subjects = self.subjects.iter();
        if self.stands == Stands::Closed
            && let Some(subject) = subjects.position(|(name, _)| *name == principal)
        {
            self.less.insert(subject);
            self.due.push_back(subject);
        }
    }
}

/// Fewer rights than all, or none.
fn less(roll: &mut Roll) -> Vec<Grant> {
    let agent = Grant::everywhere(Role::Agent);
    match roll.below(6) {
        0 | 1 => Vec::new(),
        2 => vec![agent],
        3 => vec![Grant {
            class: Class::Background,
            ..agent
        }],
        4 => {
            let area = Area::Within(address("f0"));
            let viewer = Grant::everywhere(Role::Viewer);
            vec![Grant { area, ..agent }, viewer]
        }
        _ => vec![Grant::everywhere(Role::Viewer)],
    }
}

/// What a client knows that is another's.
#[derive(Clone, Debug, Default)]
pub(super) struct Forging {
    /// A job that runs, and by which token.
    running: Option<(JobId, Token)>,
}

impl Forging {
    pub(super) fn on_running(&mut self, job: JobId, token: Token) {
        self.running = Some((job, token));
    }
}

impl Client {
    /// It tries what is not its own, once it is checked who does what.
    pub(super) fn maybe_forge(&mut self, desk: &mut Desk<'_>, tree: &mut Tree) {
        if let Some(session) = self.session
            && !tree.sessions.contains(&session)
        {
            tree.sessions.push(session);
        }
        tree.closed |= self.ruling.is_closed();
        let (lane, ppm) = (self.caller.lane, self.options.roles_ppm);
        if !tree.closed || lane == 0 {
            return;
        }
        let Some(mut roll) = desk.tape.fault(Domain::ForgedRight, lane, ppm) else {
            return;
        };
        let others = tree.sessions.iter();
        let others: Vec<SessionId> = others
            .copied()
            .filter(|other| Some(*other) != self.session && !self.own_sessions.contains(other))
            .collect();
        let running = self.forging.running.take();
        let request = match (running, roll.below(3)) {
            (Some((job, token)), 0 | 1) => {
                let body = Bytes::from(b"forged".as_slice());
                let result = Digest::of(&body);
                let command = Command::Complete {
                    job,
                    token,
                    result,
                    body,
                };
                propose(None, Sequence(0), command)
            }
            (_, 0 | 1) if !others.is_empty() => {
                let sequence = Sequence(roll.between(1, 40));
                let request = RequestId {
                    session: *roll.pick(&others),
                    sequence,
                };
                let items = vec![tree.file(0, roll.below(self.options.files), Class::Normal)];
                propose(Some(request), sequence, Command::Submit { items })
            }
            _ => {
                let principal = self.caller.principal.clone();
                let grants = vec![Grant::everywhere(Role::Admin)];
                propose(None, Sequence(0), Command::PutRoles { principal, grants })
            }
        };
        self.caller.ask(desk, request);
    }

    /// It may not do what it asked for: not now. Of what it only wanted to see done it
    /// wants nothing more; the rest is asked for again and again.
    pub(super) fn on_denied(&mut self, sequence: Sequence, denial: &Denial, now_us: u64) {
        if let Denial::ForeignSession { .. } = denial {
            // It was opened before it was known whose sessions are, and not used since.
            return self.on_session_expired();
        }
        let asked = self.asked.get_mut(&sequence).expect("the caller found it");
        let insists = match &asked.command {
            Command::Submit { .. }
            | Command::Ask { .. }
            | Command::Leave { .. }
            | Command::PutRoles { .. } => true,
            command => self.operating.insists_on(command),
        };
        if !insists {
            return self.on_answered(sequence);
        }
        asked.ticket = None;
        asked.at_us = (now_us + 20_000).saturating_sub(super::PATIENCE_US);
    }
}
