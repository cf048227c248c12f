//! The command line: every flag with its default and its limits, in the words
//! of `--help`. Does nothing with them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

mod audit;
mod backup;
mod cluster;
mod members;
mod pki;
mod worker;

pub use self::audit::{Audit, AuditVerb};
pub use self::backup::{BackUp, Restore};
pub use self::cluster::{
    Bounds, Cancel, Dead, Dev, Expel, Explain, Init, Jobs, Lead, Limited, LimitsOptions, Pause,
    Paused, Resume, Roles, Server, Servers, Submit, Token,
};
pub use self::members::{ClusterOptions, ClusterVerb, Join};
pub use self::pki::{GoodFor, Issue, Pki, PkiVerb, Whose};
pub use self::worker::Worker;

const EXIT_CODES: &str = "\
Exit codes:
  0    done: every accepted request reached its end, once
  1    not done: something was lost or duplicated, or the work stopped halfway
  2    wrong usage, or nothing there to work on
  3    the data directory cannot be used (another's, in use, of another version, damaged)
  4    there is no context at that address, or no such job or worker
  130  interrupted with Ctrl-C; the same command goes on from there";

/// Fresh, short contexts for every file, folder and project of a tree, made by
/// a cluster that loses nothing when its leader dies.
#[derive(Debug, Parser)]
#[command(name = "precentor", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Options {
    /// What to log to stderr, as in `info` or `precentor_node=debug`; nothing by default.
    #[arg(long, global = true, env = "RUST_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do. Each says itself what it is for, at length.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Generate(Generate),
    Get(Get),
    Map(Map),
    Status(StatusOptions),
    Init(Init),
    Join(Join),
    Server(Server),
    Cluster(ClusterOptions),
    Submit(Submit),
    Worker(Worker),
    Dev(Dev),
    Jobs(Jobs),
    Explain(Explain),
    Cancel(Cancel),
    Dead(Dead),
    Pause(Pause),
    Resume(Resume),
    Limits(LimitsOptions),
    Expel(Expel),
    Lead(Lead),
    Roles(Roles),
    Token(Token),
    Backup(BackUp),
    Restore(Restore),
    Pki(Pki),
    Audit(Audit),
    /// Print what makes a shell complete these commands.
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Write the manual pages of all commands into a folder.
    Man {
        /// The folder.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// Make the contexts of a tree, or bring them up to date.
///
/// Walks DIR as git would, starts a cluster of voters in this process, and asks
/// it for a context of every file, folder and the project. A second run
/// regenerates only what changed; a run that was killed goes on where it was.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor generate .
  precentor generate ~/src/linux --workers 8
  precentor generate . --chaos kill-leader=3     three leaders are killed on the way
  precentor generate . --json | jq .generated")]
pub struct Generate {
    /// The folder whose files, folders and project get contexts.
    #[arg(default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// How many voters: 1, 3 or 5. Fixed when the data directory is made.
    #[arg(long, default_value_t = 3, value_parser = voters)]
    pub nodes: u32,
    /// Threads that make contexts [default: the number of cores].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Where the cluster keeps its data [default: precentor/PROJECT-DIGEST under
    /// $XDG_DATA_HOME, or ~/.local/share].
    #[arg(long, value_name = "DATA")]
    pub data: Option<PathBuf>,
    /// The project's name in addresses [default: the folder's name].
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    /// Break something on purpose: kill-leader stops the leader without warning,
    /// N times over the run (once without =N), and restarts it from its disk.
    #[arg(long, value_name = "kill-leader[=N]", value_parser = chaos)]
    pub chaos: Option<u32>,
    /// Print the summary as one JSON object, and nothing else on stdout.
    #[arg(long)]
    pub json: bool,
    /// Show no progress on stderr; the summary is still printed.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Show the context of one place.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor get ucxl://my-project/src/main.rs
  precentor get ucxl://my-project/ --level 1
  precentor get ucxl://my-project/src --json
  precentor get ucxl://my-project/src --server http://127.0.0.1:7401")]
pub struct Get {
    /// The place: ucxl://PROJECT/path/in/tree; the project itself is ucxl://PROJECT/.
    pub address: String,
    /// How much: 0 one line, 1 a summary, 2 the outline, 3 with the source's text.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=3))]
    pub level: u8,
    /// One JSON object with the fields of that level.
    #[arg(long)]
    pub json: bool,
    /// Where the data is [default: the one that `generate` chose for the project].
    #[arg(long, value_name = "DATA")]
    pub data: Option<PathBuf>,
    /// Ask a cluster instead, if there is one.
    #[command(flatten)]
    pub cluster: Servers,
}

/// Show the most important symbols of a project within a token budget.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor map
  precentor map src --max-tokens 2000")]
pub struct Map {
    /// A folder of the project; symbols inside it come first.
    #[arg(default_value = ".", value_name = "PATH")]
    pub path: PathBuf,
    /// The budget, in tokens.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(64..=1_000_000))]
    pub max_tokens: u64,
    /// Where the data is [default: the one that `generate` chose for the project].
    #[arg(long, value_name = "DATA")]
    pub data: Option<PathBuf>,
}

/// Show what a data directory holds, or how the nodes of the cluster are that runs in it.
#[derive(Debug, Clone, Args)]
#[command(
    name = "status",
    after_help = "\
Examples:
  precentor status
  precentor status ~/src/linux --json
  precentor status --server http://127.0.0.1:7401,http://127.0.0.1:7402"
)]
pub struct StatusOptions {
    /// The folder whose contexts they are.
    #[arg(default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// Where the data is [default: the one that `generate` chose for the folder].
    #[arg(long, value_name = "DATA")]
    pub data: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
    /// Ask a cluster instead, if there is one.
    #[command(flatten)]
    pub cluster: Servers,
}

fn voters(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(count @ (1 | 3 | 5)) => Ok(count),
        Ok(_) | Err(_) => Err("a cluster here has 1, 3 or 5 voters".to_owned()),
    }
}

/// `kill-leader` or `kill-leader=N`.
fn chaos(text: &str) -> Result<u32, String> {
    let count = match text.split_once('=') {
        None if text == "kill-leader" => Some(1),
        Some(("kill-leader", count)) => {
            count.parse().ok().filter(|count| (1..=100).contains(count))
        }
        _ => None,
    };
    count.ok_or_else(|| "write kill-leader, or kill-leader=N with N from 1 to 100".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn chaos_is_a_word_and_a_number() {
        assert_eq!(chaos("kill-leader"), Ok(1));
        assert_eq!(chaos("kill-leader=3"), Ok(3));
        for wrong in [
            "",
            "kill-leader=",
            "kill-leader=0",
            "kill-leader=101",
            "kill-follower",
        ] {
            assert!(chaos(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_even_cluster_is_refused() {
        let parsed = Options::try_parse_from(["precentor", "generate", "--nodes", "2"]);
        assert!(parsed.unwrap_err().to_string().contains("1, 3 or 5"));
        assert!(Options::try_parse_from(["precentor", "generate", "--nodes", "5"]).is_ok());
    }
}
