//! The verb that makes certificates.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::pki;

/// Make the certificates of a cluster.
///
/// Nodes prove by them who they are, to each other and to clients, and clients may. An
/// authority of the cluster's own signs them: whoever has its key can be anybody, so keep its
/// folder on no node.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor pki init --name team
  precentor pki issue node 1 --host 10.0.0.1 --host n1.example.org
  precentor pki issue client ada --days 30
  precentor pki renew n1.pem ada.pem
  precentor pki show n1.pem")]
pub struct Pki {
    /// The folder of the authority.
    #[arg(
        long = "pki",
        env = "PRECENTOR_PKI",
        value_name = "DIR",
        default_value = "pki",
        global = true
    )]
    pub folder: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub what: PkiVerb,
}

/// What to do with certificates.
#[derive(Debug, Clone, Subcommand)]
pub enum PkiVerb {
    /// Make the authority: ca.pem, which everybody is given, and ca.key, which nobody is.
    Init {
        /// The cluster's name.
        #[arg(long, value_name = "CLUSTER")]
        name: String,
    },
    /// Make a certificate, with its key in the same file.
    Issue(Issue),
    /// Make certificates anew, of the same and with another key. Nodes and workers read them
    /// again by themselves.
    Renew {
        /// Files that hold a certificate and its key.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// How long they are good for, from now on.
        #[command(flatten)]
        good_for: GoodFor,
    },
    /// Show whose certificates are, and until when.
    Show {
        /// Files that hold a certificate.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

/// A certificate that is to be made.
#[derive(Debug, Clone, Args)]
pub struct Issue {
    /// Whose.
    #[command(subcommand)]
    pub whose: Whose,
    /// Where to write it [default: nNODE.pem, or CLIENT.pem].
    #[arg(long, value_name = "FILE", global = true)]
    pub out: Option<PathBuf>,
    /// How long it is good for, from now on.
    #[command(flatten)]
    pub good_for: GoodFor,
}

/// How long a certificate is good for.
#[derive(Debug, Clone, Args)]
pub struct GoodFor {
    /// Days that it is good for.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=i64::from(pki::DAYS_MAX)), global = true)]
    pub days: u32,
}

/// Whose a certificate is to be.
#[derive(Debug, Clone, Subcommand)]
pub enum Whose {
    /// A node's.
    Node {
        /// Its number.
        #[arg(value_parser = super::cluster::node)]
        node: u64,
        /// A name or an address that clients find it at. Can be given more than once.
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// A client's, or a worker's.
    Client {
        /// Its name: what roles are granted to.
        name: String,
    },
}
