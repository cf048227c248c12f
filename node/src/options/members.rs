//! The verbs that change who belongs to a cluster.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::cluster::{Servers, node};

/// Let a new node join a cluster that runs.
///
/// Makes its data directory, and asks the cluster for a seat: it learns what the others know,
/// and votes as soon as it has. First give it a line in [nodes] of every node's configuration,
/// which those that run read again, and a certificate. To be run with an admin's rights. A node
/// that lost its disk joins anew in this way: its vote counts no more from then on, until it
/// has caught up. It may be run again.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor join --config n4.toml --server https://n1:7401
  precentor join --config n4.toml --replace 2        n2 goes when n4 has caught up
  precentor join --config n4.toml --learner          it never votes")]
pub struct Join {
    /// The configuration of the node.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// It keeps a replica, and does not vote.
    #[arg(long, conflicts_with = "replace")]
    pub learner: bool,
    /// The voter whose seat it takes.
    #[arg(long, value_name = "NODE", value_parser = node)]
    pub replace: Option<u64>,
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: Servers,
}

/// Show or change who belongs to a cluster.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor cluster status
  precentor cluster remove 2
  precentor cluster promote 4
  precentor cluster unsafe-recover 1 4      the majority is gone for good")]
pub struct ClusterOptions {
    /// What to do.
    #[command(subcommand)]
    pub what: ClusterVerb,
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: Servers,
}

/// What to do with a cluster's members.
#[derive(Debug, Clone, Subcommand)]
pub enum ClusterVerb {
    /// Show who they are.
    Status {
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Give a seat to a node whose disk is there. `precentor join` does that, and makes it.
    Add {
        /// Its number.
        #[arg(value_parser = node)]
        node: u64,
        /// Which life of its disk, as join says it.
        #[arg(long, value_name = "LIFE", value_parser = life)]
        life: u64,
        /// It never votes.
        #[arg(long)]
        learner: bool,
    },
    /// Give a learner that has caught up a vote.
    Promote {
        /// Its number.
        #[arg(value_parser = node)]
        node: u64,
    },
    /// Give a voter's seat to a node whose disk is there, when that has caught up.
    Replace {
        /// The voter's number.
        #[arg(value_parser = node)]
        old: u64,
        /// The number of who takes its seat.
        #[arg(value_parser = node)]
        new: u64,
        /// Which life of its disk, as join says it.
        #[arg(long, value_name = "LIFE", value_parser = life)]
        life: u64,
    },
    /// Take a member's seat away. Its process can be ended then, and its disk wiped.
    Remove {
        /// Its number.
        #[arg(value_parser = node)]
        node: u64,
    },
    /// Give the leadership to another node.
    Transfer {
        /// Its number [default: the fittest voter].
        #[arg(value_parser = node)]
        node: Option<u64>,
    },
    /// Go on without a majority that is gone for good. The last resort: what it had confirmed
    /// may be lost, and the answer says what. To be asked of a server that is left.
    UnsafeRecover {
        /// Who is left, the server that is asked among them.
        #[arg(required = true, value_parser = node)]
        survivors: Vec<u64>,
    },
}

fn life(text: &str) -> Result<u64, String> {
    let number = u64::from_str_radix(text, 16);
    number.map_err(|_| "write it as it is shown, in hexadecimal digits".to_owned())
}
