//! The verbs for backups.

use std::path::PathBuf;

use clap::Args;

use super::Servers;

/// Take a backup of a cluster that runs.
///
/// It has all that the cluster had accepted before: jobs and their queue, contexts, sessions,
/// roles, texts, the audit. Any node takes it, and the cluster goes on meanwhile. It is looked
/// through before FILE is there.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor backup team.backup --server https://10.0.0.1:8080
  precentor backup /backups/$(date +%F).backup --server https://10.0.0.2:8080 --json")]
pub struct BackUp {
    /// The file to make; it must not be there.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: Servers,
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Found a new cluster with a backup.
///
/// Makes the data directory of one founder, as init does; give the same FILE to every founder
/// that is in the configuration. The new cluster has an id of its own: whatever is left of
/// the old one is refused. Jobs and sessions keep their numbers, and new ones get numbers that
/// the old cluster cannot have given.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor restore team.backup --check
  precentor restore team.backup --config n1.toml        and so on n2 and n3
  precentor restore team.backup --config n1.toml --attempt 2")]
pub struct Restore {
    /// The backup.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The configuration of the founder.
    #[arg(long, value_name = "FILE", required_unless_present = "check")]
    pub config: Option<PathBuf>,
    /// Which restoration of this backup this is; the same for all founders. Nodes of another
    /// attempt are refused.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub attempt: u32,
    /// Only look whether it is whole, and a cluster can begin with it.
    #[arg(long, conflicts_with_all = ["config", "attempt"])]
    pub check: bool,
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
}
