//! `precentor join` and `precentor cluster`: who belongs to a cluster.

use std::time::{Duration, Instant};

use precentor_core::ids::{Incarnation, NodeId};
use precentor_core::membership::{
    Change, ChangeError, Learner, Member, Membership, RecoveryReport, Seat,
};
use precentor_core::request::{Reply, Request};
use serde::Serialize;

use super::remote::{Cluster, senseless};
use super::{CommandError, Exit, print, print_json};
use crate::options::{ClusterOptions, ClusterVerb, Join};
use crate::server::config::ServerConfig;
use crate::server::{self, founding};

/// How long a seat may take to be given, which needs a majority.
const SEAT_PATIENCE: Duration = Duration::from_secs(30);
/// How long it is waited for a change to come to its end, before it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) fn join(verb: &Join) -> Result<Exit, CommandError> {
    let config = ServerConfig::read(&verb.config)?;
    let mut cluster = Cluster::of(&verb.cluster)?;
    let (name, id) = cluster.identity()?;
    if name != config.cluster {
        let message = format!(
            "the configuration is for the cluster {}, and that one is {name}; correct one of them",
            config.cluster
        );
        return Err(CommandError::new(Exit::Usage, message));
    }
    let (node, data) = (config.node, config.data.display().to_string());
    let membership = cluster.status()?.membership;
    // Before a directory is made that nobody wants.
    let replaced = replaced(&membership, node, verb)?;
    let life = server::make_joining(&config, id)?;
    print(&format!("{node} has its data at {data}, life {:x}", life.0));
    let member = membership.get(node);
    if member.and_then(life_of) != Some(life) {
        if member.is_some() && replaced.is_none() {
            let message = format!(
                "{node} is a learner with another disk; take it out first: precentor cluster remove {}",
                node.0
            );
            return Err(CommandError::new(Exit::Usage, message));
        }
        let change = match replaced {
            Some(old) => Change::Replace {
                old,
                new: node,
                incarnation: life,
            },
            None => Change::AddLearner {
                node,
                incarnation: life,
                promote: !verb.learner,
            },
        };
        take_seat(verb, change, life)?;
    }
    let next = match verb.learner {
        true => "it follows from then on",
        false => "it votes as soon as it has caught up",
    };
    print(&format!(
        "{node} has a seat in {name}; start it with: precentor server --config {}: {next}",
        verb.config.display()
    ));
    Ok(Exit::Done)
}

/// Whose seat a node takes: that which was named, or that of its own disk that was lost.
fn replaced(
    membership: &Membership,
    node: NodeId,
    verb: &Join,
) -> Result<Option<NodeId>, CommandError> {
    let wrong = |message: String| Err(CommandError::new(Exit::Usage, message));
    let named = verb.replace.map(NodeId);
    let Some(member) = membership.get(node) else {
        return Ok(named);
    };
    match member.seat {
        Seat::Learner(_) => Ok(named),
        _ if verb.learner => wrong(format!(
            "{node} votes; to make it a learner, take it out first: precentor cluster remove {}",
            node.0
        )),
        _ if named.is_some_and(|old| old != node) => wrong(format!("{node} votes already")),
        _ => Ok(Some(node)),
    }
}

/// Asks for a seat, and waits until it is there. That it becomes a vote is not waited for: the
/// node does not run yet.
fn take_seat(verb: &Join, change: Change, life: Incarnation) -> Result<(), CommandError> {
    let (mut asking, mut looking) = (Cluster::of(&verb.cluster)?, Cluster::of(&verb.cluster)?);
    asking.begin(Request::ChangeMembership(change));
    let give_up = Instant::now() + SEAT_PATIENCE;
    while Instant::now() < give_up {
        match asking.outcome(LOOK_EVERY)? {
            Some(Reply::ChangeRefused(ChangeError::InProgress)) => {
                asking.begin(Request::ChangeMembership(change));
            }
            // What was sent again may find that it was done.
            Some(Reply::Membership { .. } | Reply::ChangeRefused(ChangeError::IsMember { .. }))
            | None => {}
            Some(Reply::ChangeRefused(error)) => {
                return Err(CommandError::new(Exit::Incomplete, error));
            }
            Some(other) => return Err(senseless(&other)),
        }
        let membership = looking.status()?.membership;
        if membership
            .iter()
            .any(|(_, member)| life_of(member) == Some(life))
        {
            return Ok(());
        }
    }
    let message = format!(
        "there is no seat after {} s; see: precentor cluster status",
        SEAT_PATIENCE.as_secs()
    );
    Err(CommandError::new(Exit::Incomplete, message))
}

/// Which life of a member's disk counts, or will.
fn life_of(member: &Member) -> Option<Incarnation> {
    match member.seat {
        Seat::Learner(Learner { incarnation, .. }) => Some(incarnation),
        Seat::Outgoing { then: Some(then) } => Some(then.incarnation),
        Seat::Voter | Seat::Incoming | Seat::Outgoing { then: None } => member.incarnation,
    }
}

pub(super) fn run(verb: &ClusterOptions) -> Result<Exit, CommandError> {
    let mut cluster = Cluster::of(&verb.cluster)?;
    let change = match &verb.what {
        ClusterVerb::Status { json } => return show(&mut cluster, *json),
        ClusterVerb::Transfer { node } => {
            let leader = cluster.hand_over(node.map(NodeId))?;
            print(&format!("{leader} leads"));
            return Ok(Exit::Done);
        }
        ClusterVerb::UnsafeRecover { survivors } => {
            let report = cluster.recover(survivors.iter().copied().map(NodeId).collect())?;
            print(&text_of(&report));
            return Ok(Exit::Done);
        }
        ClusterVerb::Add {
            node,
            life,
            learner,
        } => Change::AddLearner {
            node: NodeId(*node),
            incarnation: Incarnation(*life),
            promote: !learner,
        },
        ClusterVerb::Promote { node } => Change::Promote {
            node: NodeId(*node),
        },
        ClusterVerb::Replace { old, new, life } => Change::Replace {
            old: NodeId(*old),
            new: NodeId(*new),
            incarnation: Incarnation(*life),
        },
        ClusterVerb::Remove { node } => Change::Remove {
            node: NodeId(*node),
        },
    };
    let membership = cluster.change(change)?;
    seats(&membership)
        .iter()
        .for_each(|seat| print(&seat.text()));
    Ok(Exit::Done)
}

fn text_of(report: &RecoveryReport) -> String {
    let RecoveryReport {
        index,
        term,
        survivors,
        given_up,
        kept,
        loss,
    } = report;
    let names = |nodes: &[NodeId]| {
        nodes
            .iter()
            .map(|node| format!(" {node}"))
            .collect::<String>()
    };
    format!(
        "from {index} in {term} on these go on:{}\ngiven up, to be wiped before they join again:{}\nkept up to {kept}: {loss}",
        names(survivors),
        names(given_up)
    )
}

/// A member. The field names are the words of `--json`.
#[derive(Debug, Serialize)]
struct SeatWords {
    node: u64,
    /// voter, incoming, outgoing or learner.
    seat: &'static str,
    /// Of its disk, in hexadecimal digits; none until a leader has learned it.
    life: Option<String>,
    /// A learner that is to vote when it has caught up.
    to_vote: bool,
    /// Whose seat it takes then.
    replaces: Option<u64>,
}

fn seats(membership: &Membership) -> Vec<SeatWords> {
    let words = |(node, member): (NodeId, &Member)| {
        let (seat, learner) = match member.seat {
            Seat::Voter => ("voter", None),
            Seat::Incoming => ("incoming", None),
            Seat::Outgoing { then } => ("outgoing", then),
            Seat::Learner(learner) => ("learner", Some(learner)),
        };
        let promotion = learner.and_then(|learner| learner.promotion);
        let replaces = promotion.and_then(|promotion| promotion.replaces);
        SeatWords {
            node: node.0,
            seat,
            life: life_of(member).map(|life| format!("{:x}", life.0)),
            to_vote: promotion.is_some(),
            replaces: replaces.map(|node| node.0),
        }
    };
    membership.iter().map(words).collect()
}

impl SeatWords {
    fn text(&self) -> String {
        let SeatWords {
            node,
            seat,
            life,
            to_vote,
            replaces,
        } = self;
        let life = life.as_deref().unwrap_or("not known yet");
        let then = match (to_vote, replaces) {
            (true, Some(old)) => format!(", takes the seat of n{old} when it has caught up"),
            (true, None) => ", votes when it has caught up".to_owned(),
            (false, _) => String::new(),
        };
        format!("n{node} is {seat}, life {life}{then}")
    }
}

/// Who belongs to a cluster. The field names are the words of `--json`.
#[derive(Debug, Serialize)]
struct Shown {
    cluster: String,
    cluster_id: String,
    leader: Option<u64>,
    members: Vec<SeatWords>,
}

fn show(cluster: &mut Cluster, json: bool) -> Result<Exit, CommandError> {
    let (name, id) = cluster.identity()?;
    let status = cluster.status()?;
    let shown = Shown {
        cluster: name,
        cluster_id: founding::hex(id),
        leader: status.leader.map(|node| node.0),
        members: seats(&status.membership),
    };
    if json {
        print_json(&shown)?;
        return Ok(Exit::Done);
    }
    let leader = match status.leader {
        Some(leader) => format!("{leader} leads"),
        None => format!("{} knows no leader", status.node),
    };
    print(&format!(
        "{} ({}): {leader}",
        shown.cluster, shown.cluster_id
    ));
    shown.members.iter().for_each(|seat| print(&seat.text()));
    Ok(Exit::Done)
}
