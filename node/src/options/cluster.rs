//! The verbs of clusters that run as processes of their own.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::remote::Access;

/// Make the data directory of a node of a cluster that is founded.
///
/// Once for each founding node, before it is started for the first time. A node that lost its
/// data has forgotten what it promised to the others: it must not be made anew in this way.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor init --config n1.toml")]
pub struct Init {
    /// The configuration of the node.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Run one node of a cluster.
///
/// Ends in order at SIGTERM or Ctrl-C: a leader hands over, and what is under way is
/// answered. A second one ends it at once, which loses nothing either.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A configuration:
  cluster = \"team\"               # nodes of other clusters are refused
  node = 1                       # which of [nodes] this is
  data = \"/var/lib/precentor\"

  [nodes]                        # where each node listens for the others
  1 = \"10.0.0.1:7411\"
  2 = \"10.0.0.2:7411\"
  3 = \"10.0.0.3:7411\"

  [http]                         # where this node listens for clients
  listen = \"10.0.0.1:7401\"

  [tls]                          # see: precentor pki; without, only at 127.0.0.0/8
  ca = \"ca.pem\"
  certificate = \"n1.pem\"

Examples:
  precentor server --config n1.toml --log info
  curl --cacert ca.pem --cert ada.pem https://10.0.0.1:7401/v1/status")]
pub struct Server {
    /// The configuration of the node.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Where a cluster is.
#[derive(Debug, Clone, Args)]
pub struct Servers {
    /// Where the nodes of the cluster serve clients. One is enough; with more, the others
    /// stand in for it.
    #[arg(
        long = "server",
        env = "PRECENTOR_SERVER",
        value_name = "URL",
        value_delimiter = ',',
        global = true
    )]
    pub servers: Vec<String>,
    /// Who asks, where somebody has to say: a token that the cluster's nodes know.
    #[arg(
        long,
        env = "PRECENTOR_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        global = true
    )]
    pub token: Option<String>,
    /// Whose certificates are believed, for servers at https://: the cluster's authority.
    #[arg(long, env = "PRECENTOR_CA", value_name = "FILE", global = true)]
    pub ca: Option<PathBuf>,
    /// Who asks, where somebody has to say: a certificate that the authority has signed. It is
    /// read again when it changes.
    #[arg(
        long = "cert",
        env = "PRECENTOR_CERT",
        value_name = "FILE",
        requires = "ca",
        global = true
    )]
    pub certificate: Option<PathBuf>,
    /// The certificate's key [default: in the certificate's file].
    #[arg(
        long,
        env = "PRECENTOR_KEY",
        value_name = "FILE",
        requires = "certificate",
        global = true
    )]
    pub key: Option<PathBuf>,
}

impl Servers {
    /// One of them, as if it were the only one.
    #[must_use]
    pub fn only(&self, server: &str) -> Servers {
        Servers {
            servers: vec![server.to_owned()],
            ..self.clone()
        }
    }

    /// The way to it.
    #[must_use]
    pub fn access(&self) -> Access {
        Access {
            servers: self.servers.clone(),
            token: self.token.clone(),
            ca: self.ca.clone(),
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            patient: false,
        }
    }
}

/// Ask a cluster for the contexts of a tree, and wait for them.
///
/// Walks DIR as git would and asks for a context of every file, folder and the project.
/// What is unchanged is answered from the cache. What files contain is uploaded, as far as the
/// cluster does not keep it yet, so that any worker can make the contexts. Interrupted, it may be
/// run again: what was accepted is not asked for twice, and what was uploaded is there.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor submit . --server http://127.0.0.1:7401
  precentor submit ~/src/linux --server http://127.0.0.1:7401,http://127.0.0.1:7402 --json")]
pub struct Submit {
    /// The folder whose files, folders and project get contexts.
    #[arg(default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: Servers,
    /// The project's name in addresses [default: the folder's name].
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    /// The engine that is to make them, which a worker has to offer [default: outline].
    #[arg(long, value_name = "NAME")]
    pub engine: Option<String>,
    /// Its version.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "engine")]
    pub engine_version: u32,
    /// Upload nothing: the workers have the tree themselves.
    #[arg(long)]
    pub no_upload: bool,
    /// Print the summary as one JSON object, and nothing else on stdout.
    #[arg(long)]
    pub json: bool,
    /// Show no progress on stderr; the summary is still printed.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Run three nodes and a worker on this machine, to try things.
///
/// Each is a process of its own, which can be killed: it is started again. They listen on
/// this machine's own addresses alone, and prove to each other who they are by certificates
/// that are made for them. DATA/env says to a shell where they are.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor dev .
  precentor dev ~/src/linux --data /tmp/cluster --port 7401")]
pub struct Dev {
    /// The folder whose contexts the worker can make.
    #[arg(default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// The project's name in addresses [default: the folder's name].
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    /// Where the nodes keep their data [default: a new folder, which goes with them].
    #[arg(long, value_name = "DATA")]
    pub data: Option<PathBuf>,
    /// Where the first node serves clients; the others at the ports after it, and all
    /// listen for each other at ten more [default: ports that are free].
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=65_500))]
    pub port: Option<u16>,
}

/// List the jobs of a cluster that are not over.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor jobs ucxl://my-project/ --server http://127.0.0.1:7401
  precentor jobs ucxl://my-project/src --json")]
pub struct Jobs {
    /// Those at this address and everywhere inside.
    pub within: String,
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: Servers,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// Say why a job is where it is, and what would move it.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor explain 17 --server http://127.0.0.1:7401")]
pub struct Explain {
    /// The job's number.
    #[arg(value_parser = job)]
    pub job: u64,
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: Servers,
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
}

/// End jobs, whoever waits for them.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor cancel 17 18 --server http://127.0.0.1:7401")]
pub struct Cancel {
    /// The jobs' numbers.
    #[arg(required = true, value_parser = job)]
    pub jobs: Vec<u64>,
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: Servers,
}

/// List the jobs that were given up, do them again, or forget them.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor dead --server http://127.0.0.1:7401
  precentor dead --redrive 17 --dependents
  precentor dead --purge 17")]
pub struct Dead {
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: Servers,
    /// Do these jobs again.
    #[arg(long, value_name = "JOB", value_parser = job, conflicts_with = "purge")]
    pub redrive: Vec<u64>,
    /// And those that failed for want of them, and so on.
    #[arg(long, requires = "redrive")]
    pub dependents: bool,
    /// Forget these jobs: they can be done again no longer.
    #[arg(long, value_name = "JOB", value_parser = job)]
    pub purge: Vec<u64>,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// Hold jobs back.
///
/// What runs goes on. A worker that is paused is drained: it finishes what it has.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor pause engine outline --reason \"it is broken\"
  precentor pause worker 7
  precentor pause                                    what is paused?")]
pub struct Pause {
    /// Which jobs; none to show what is held back.
    #[command(subcommand)]
    pub what: Option<Paused>,
    /// Why, for people.
    #[arg(long, default_value = "", global = true)]
    pub reason: String,
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: Servers,
}

/// Let jobs go on.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor resume engine outline")]
pub struct Resume {
    /// Which jobs.
    #[command(subcommand)]
    pub what: Paused,
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: Servers,
}

/// Jobs that are paused and resumed together.
#[derive(Debug, Clone, Subcommand)]
pub enum Paused {
    /// All of them.
    Cluster,
    /// Those that need an engine.
    Engine {
        /// Its name.
        name: String,
    },
    /// Those on a tenant's account.
    Tenant {
        /// Its name.
        name: String,
    },
    /// Those that a worker would get.
    Worker {
        /// Its number.
        #[arg(value_parser = worker)]
        id: u64,
    },
}

/// Show what is limited, or limit it.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor limits
  precentor limits tenant ada --queued-max 10000 --weight 3
  precentor limits engine gpt --running-max 4 --per-minute 60 --burst 10
  precentor limits tenant ada                        not limited any more")]
pub struct LimitsOptions {
    /// What is to be limited; none to show what is.
    #[command(subcommand)]
    pub what: Option<Limited>,
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: Servers,
}

/// What can be limited.
#[derive(Debug, Clone, Subcommand)]
pub enum Limited {
    /// Jobs on a tenant's account.
    Tenant(Bounds),
    /// Jobs that need an engine.
    Engine(Bounds),
    /// Jobs of a project's addresses.
    Project(Bounds),
}

/// What may be used. What is absent is not limited.
#[derive(Debug, Clone, Args)]
pub struct Bounds {
    /// Its name.
    pub name: String,
    /// Jobs that may run at a time.
    #[arg(long, value_name = "JOBS")]
    pub running_max: Option<u32>,
    /// Jobs that may be given out in a minute of the cluster's time.
    #[arg(long, value_name = "JOBS", requires = "burst")]
    pub per_minute: Option<u32>,
    /// Jobs that may be given out at once after a time without any.
    #[arg(long, value_name = "JOBS", requires = "per_minute")]
    pub burst: Option<u32>,
    /// Jobs that may be unfinished at a time. Of a tenant only.
    #[arg(long, value_name = "JOBS")]
    pub queued_max: Option<u64>,
    /// How much its queues weigh against those of others. Of a tenant only.
    #[arg(long)]
    pub weight: Option<u32>,
}

/// Show who may do what, or say it.
///
/// While nobody has a grant, everybody may do everything. From the first grant on each may do
/// what is granted, and somebody has to be an admin everywhere.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Roles: viewer (read), agent (ask for contexts), worker (make them), operator (the queue, and all
that agents may), admin (roles and members, and all that operators may).

Examples:
  precentor roles
  precentor roles root --grant admin
  precentor roles ada --grant operator --grant agent@ucxl://project/src
  precentor roles ada                                nothing any more")]
pub struct Roles {
    /// Whose roles; none to show those of all.
    pub principal: Option<String>,
    /// A role, everywhere or at an address and inside it: ROLE or ROLE@ADDRESS. In place of all
    /// that were granted before. Can be given more than once.
    #[arg(long = "grant", value_name = "GRANT", requires = "principal")]
    pub grants: Vec<String>,
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: Servers,
}

/// Make a token for a client, and the line of the configuration that lets it in.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor token ada")]
pub struct Token {
    /// Who is to have it.
    pub principal: String,
}

/// Forget a worker.
///
/// Its jobs are given to others, and not counted as tried. It comes back by registering
/// again, which a worker that still runs does.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor expel 7")]
pub struct Expel {
    /// Its number.
    #[arg(value_parser = worker)]
    pub worker: u64,
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: Servers,
}

/// Give the leadership to another node.
///
/// Ends when it leads, or when that has come to nothing. No request is refused meanwhile.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor lead            the fittest voter
  precentor lead 2")]
pub struct Lead {
    /// Its number [default: the fittest voter].
    #[arg(value_parser = node)]
    pub node: Option<u64>,
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: Servers,
}

/// A number as it is, or as it is shown.
fn number(text: &str, sign: char, what: &str) -> Result<u64, String> {
    let number = text.strip_prefix(sign).unwrap_or(text).parse();
    number.map_err(|_| format!("write the number of a {what}, as in 17 or {sign}17"))
}

fn job(text: &str) -> Result<u64, String> {
    number(text, 'j', "job")
}

fn worker(text: &str) -> Result<u64, String> {
    number(text, 'w', "worker")
}

pub(super) fn node(text: &str) -> Result<u64, String> {
    number(text, 'n', "node")
}
