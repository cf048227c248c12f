//! The verb for audit files.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Look into the audit that nodes keep: every decision, in a chain that is the same on all.
///
/// Files are DATA/audit.jsonl of the nodes, which may run meanwhile.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  precentor audit verify n1/audit.jsonl n2/audit.jsonl n3/audit.jsonl
  precentor audit tail /var/lib/precentor/audit.jsonl
  precentor audit export /var/lib/precentor/audit.jsonl --from 1000 --to 2000 --json")]
pub struct Audit {
    /// What to do.
    #[command(subcommand)]
    pub what: AuditVerb,
}

/// What to do with audit files.
#[derive(Debug, Clone, Subcommand)]
pub enum AuditVerb {
    /// Find what was changed, dropped, moved or put in. Files of several nodes are also held to
    /// the first one, and fill each other's gaps.
    Verify {
        /// The files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// One JSON object a line, for each file.
        #[arg(long)]
        json: bool,
    },
    /// Show the last records.
    Tail {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// How many.
        #[arg(long, short = 'n', value_name = "RECORDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        lines: u32,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Write out the records of some entries.
    Export {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// From this log index on.
        #[arg(long, value_name = "INDEX", default_value_t = 0)]
        from: u64,
        /// Up to this one.
        #[arg(long, value_name = "INDEX", default_value_t = u64::MAX, hide_default_value = true)]
        to: u64,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}
