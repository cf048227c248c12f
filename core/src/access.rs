//! The words of access: what a principal may do and where, and why something was
//! denied. Decides nothing: the queue does, by its replicated table (decision 24).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::ids::{JobId, SessionId, Token, WorkerId};
use crate::job::Class;
use crate::principal::Principal;
use crate::time::Stamp;

/// What a principal may do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Role {
    /// Read.
    Viewer,
    /// Ask for contexts, and take that back; and read.
    Agent,
    /// Run jobs. Stands beside the others: it carries none of them, and none carries it.
    Worker,
    /// Operate the queue; and all that an agent may.
    Operator,
    /// Say who may do what, and who belongs to the cluster; and all that an operator may.
    Admin,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 5] = [
        Role::Viewer,
        Role::Agent,
        Role::Worker,
        Role::Operator,
        Role::Admin,
    ];

    /// May whoever has this role do what needs `needed`?
    #[must_use]
    pub fn carries(self, needed: Role) -> bool {
        match (self, needed) {
            (Role::Worker, _) | (_, Role::Worker) => self == needed,
            (Role::Viewer | Role::Agent | Role::Operator | Role::Admin, _) => self >= needed,
        }
    }

    /// Is it only ever for the whole cluster? Workers take whatever job is due, and an
    /// administrator of a part could make one of all.
    #[must_use]
    pub fn is_for_all(self) -> bool {
        match self {
            Role::Worker | Role::Admin => true,
            Role::Viewer | Role::Agent | Role::Operator => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Viewer => "viewer",
            Role::Agent => "agent",
            Role::Worker => "worker",
            Role::Operator => "operator",
            Role::Admin => "admin",
        })
    }
}

/// Where a grant holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Area {
    /// At every address, and for what is about none.
    Everywhere,
    /// At a place and everywhere inside it: a project, or a folder.
    Within(Address),
    /// At one address alone.
    At(Address),
}

impl Area {
    /// Does it hold at an address?
    #[must_use]
    pub fn covers(&self, address: &Address) -> bool {
        match self {
            Area::Everywhere => true,
            Area::Within(place) => place.contains(address),
            Area::At(place) => place == address,
        }
    }

    /// Does it hold at an address and everywhere inside?
    #[must_use]
    pub fn contains(&self, place: &Address) -> bool {
        match self {
            Area::Everywhere | Area::Within(_) => self.covers(place),
            Area::At(_) => false,
        }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Area::Everywhere => f.write_str("everywhere"),
            Area::Within(place) => write!(f, "within {place}"),
            Area::At(place) => write!(f, "at {place}"),
        }
    }
}

/// A role that a principal has somewhere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// What it may do.
    pub role: Role,
    /// Where.
    pub area: Area,
    /// The most urgent class that it may ask for.
    pub class: Class,
}

impl Grant {
    /// A role everywhere, for every class.
    #[must_use]
    pub fn everywhere(role: Role) -> Grant {
        Grant {
            role,
            area: Area::Everywhere,
            class: Class::Urgent,
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role, self.area)?;
        match self.class {
            Class::Urgent => Ok(()),
            Class::Normal => f.write_str(" up to normal"),
            Class::Background => f.write_str(" up to background"),
            Class::Idle => f.write_str(" up to idle"),
        }
    }
}

/// What a principal may do, as a reader sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rights {
    /// Who.
    pub principal: Principal,
    /// What.
    pub grants: Vec<Grant>,
}

/// Why a principal may not do what it asked for. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum Denial {
    /// It has no such role anywhere.
    #[error(
        "this needs the role {needed}; the principal has {}; ask an admin for a grant",
        list(held)
    )]
    Role {
        /// What is needed.
        needed: Role,
        /// What it has, somewhere.
        held: Vec<Role>,
    },
    /// It has the role, and not there.
    #[error("{}this needs the role {needed} at {address}; no such grant of the principal reaches there; ask an admin for one that does", of_item(*item))]
    Place {
        /// What is needed there.
        needed: Role,
        /// The position in what was asked for, from 0, if that was a list.
        item: Option<u32>,
        /// Where.
        address: Address,
    },
    /// It has the role there, and not for all that is inside.
    #[error(
        "this needs the role {needed} within {address}; the principal has it at that address alone; ask an admin for a grant that holds within it"
    )]
    Inside {
        /// What is needed there.
        needed: Role,
        /// Within what.
        address: Address,
    },
    /// It has the role, and not everywhere.
    #[error(
        "this is about the whole cluster and needs the role {needed} everywhere; the principal has it for some places only"
    )]
    Everywhere {
        /// What is needed.
        needed: Role,
    },
    /// It has the role there, and not for so urgent a class.
    #[error("{}{address} was asked for as {asked:?}; the principal may ask for {allowed:?} there, or less", of_item(*item))]
    Class {
        /// The position in what was asked for, from 0, if that was a list.
        item: Option<u32>,
        /// Where.
        address: Address,
        /// The class that was asked for.
        asked: Class,
        /// The most urgent that it may ask for there.
        allowed: Class,
    },
    /// The worker's name belongs to somebody else.
    #[error(
        "{worker} was registered by another principal; use an id of your own, or have it expelled first"
    )]
    ForeignWorker {
        /// Which.
        worker: WorkerId,
    },
    /// The job was given to a worker that is not, or not yet, the principal's.
    #[error(
        "{job} was given by {token} to a worker that this principal did not register; register it first if it is yours"
    )]
    ForeignToken {
        /// The job.
        job: JobId,
        /// The token shown.
        token: Token,
    },
    /// The session is somebody else's.
    #[error("session {session} was opened by another principal; open one of your own")]
    ForeignSession {
        /// Which.
        session: SessionId,
    },
    /// Nobody may ask for it.
    #[error("only the leader itself proposes this")]
    LeaderOnly,
}

impl Denial {
    /// Its kind: what denials are counted by.
    #[must_use]
    pub fn reason(&self) -> DenialReason {
        match self {
            Denial::Role { needed, .. } => DenialReason::Role(*needed),
            Denial::Place { needed, .. } => DenialReason::Place(*needed),
            Denial::Inside { needed, .. } => DenialReason::Inside(*needed),
            Denial::Everywhere { needed } => DenialReason::Everywhere(*needed),
            Denial::Class { .. } => DenialReason::Class,
            Denial::ForeignWorker { .. } => DenialReason::ForeignWorker,
            Denial::ForeignToken { .. } => DenialReason::ForeignToken,
            Denial::ForeignSession { .. } => DenialReason::ForeignSession,
            Denial::LeaderOnly => DenialReason::LeaderOnly,
        }
    }
}

fn list(roles: &[Role]) -> String {
    match roles {
        [] => "none".to_owned(),
        roles => roles
            .iter()
            .map(Role::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn of_item(item: Option<u32>) -> String {
    item.map_or_else(String::new, |item| format!("item {item}: "))
}

/// What kind of denial it was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum DenialReason {
    /// A role that it does not have.
    Role(Role),
    /// A role that it does not have there.
    Place(Role),
    /// A role that it does not have for all that is inside.
    Inside(Role),
    /// A role that it does not have everywhere.
    Everywhere(Role),
    /// A class that is too urgent for it.
    Class,
    /// Another's worker.
    ForeignWorker,
    /// Another's token.
    ForeignToken,
    /// Another's session.
    ForeignSession,
    /// A command of the leader's.
    LeaderOnly,
}

impl fmt::Display for DenialReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DenialReason::Role(needed) => write!(f, "not {needed}"),
            DenialReason::Place(needed) => write!(f, "not {needed} there"),
            DenialReason::Inside(needed) => write!(f, "not {needed} for all inside"),
            DenialReason::Everywhere(needed) => write!(f, "not {needed} everywhere"),
            DenialReason::Class => f.write_str("too urgent"),
            DenialReason::ForeignWorker => f.write_str("a foreign worker"),
            DenialReason::ForeignToken => f.write_str("a foreign token"),
            DenialReason::ForeignSession => f.write_str("a foreign session"),
            DenialReason::LeaderOnly => f.write_str("the leader's own"),
        }
    }
}

/// How often something was denied, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tally {
    /// How often.
    pub count: u64,
    /// First, in cluster time.
    pub first: Stamp,
    /// Last.
    pub last: Stamp,
}

impl Tally {
    /// Once, at a time.
    #[must_use]
    pub fn once(at: Stamp) -> Tally {
        Tally {
            count: 1,
            first: at,
            last: at,
        }
    }

    /// Once more.
    pub fn again(&mut self, at: Stamp) {
        self.count = self.count.saturating_add(1);
        self.last = self.last.max(at);
    }
}

/// What was denied to whom, and how often.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Denied {
    /// Who asked.
    pub principal: Principal,
    /// Why it was denied.
    pub reason: DenialReason,
    /// How often.
    pub tally: Tally,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_carries_those_below_and_the_worker_stands_alone() {
        let carried = |role: Role| {
            let below = Role::ALL
                .into_iter()
                .filter(move |needed| role.carries(*needed));
            below.collect::<Vec<_>>()
        };
        assert_eq!(carried(Role::Viewer), [Role::Viewer]);
        assert_eq!(carried(Role::Agent), [Role::Viewer, Role::Agent]);
        assert_eq!(carried(Role::Worker), [Role::Worker]);
        assert_eq!(
            carried(Role::Operator),
            [Role::Viewer, Role::Agent, Role::Operator]
        );
        assert_eq!(
            carried(Role::Admin),
            [Role::Viewer, Role::Agent, Role::Operator, Role::Admin]
        );
    }

    #[test]
    fn an_area_covers_its_place_and_what_is_inside_and_no_name_that_begins_alike() {
        let at = |text: &str| text.parse::<Address>().unwrap();
        let folder = Area::Within(at("ucxl://p/a"));
        assert!(folder.covers(&at("ucxl://p/a")) && folder.covers(&at("ucxl://p/a/b")));
        assert!(!folder.covers(&at("ucxl://p/ab")) && !folder.covers(&at("ucxl://p/")));
        let project = Area::Within(at("ucxl://p/"));
        assert!(project.covers(&at("ucxl://p/ab")) && !project.covers(&at("ucxl://pq/a")));
        assert!(folder.contains(&at("ucxl://p/a/b")) && !folder.contains(&at("ucxl://p/")));
        let one = Area::At(at("ucxl://p/a"));
        assert!(one.covers(&at("ucxl://p/a")) && !one.covers(&at("ucxl://p/a/b")));
        assert!(!one.contains(&at("ucxl://p/a")), "what is inside is not");
    }
}
