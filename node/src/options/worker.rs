//! The verb that makes contexts for a cluster.

use std::path::PathBuf;

use clap::Args;

use super::cluster::Servers;

/// Make contexts for a cluster.
///
/// Asks the cluster for work and makes outlines of the sources, or has a program of yours, or a
/// model, add its own words to them. It reads the sources of the projects that are named here
/// from its own disk, and those of all others from the cluster, which keeps what was submitted.
/// At SIGTERM or Ctrl-C it gives back what it holds, and ends.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
A program reads one job a line, as JSON, and answers each with one:
  {\"id\": 1, \"address\": …, \"kind\": \"file\", \"path\": …, \"outline\": {…}}
  {\"id\": 1, \"one_line\": …, \"summary\": …, \"tags\": […]}   or   {\"id\": 1, \"error\": …, \"retry\": true}
See docs/ENGINES.md.

Examples:
  precentor worker --server https://n1:7401
  precentor worker --server https://n1:7401 --source linux=$HOME/src/linux
  precentor worker --source a=./a --source b=./b --threads 8
  precentor worker --source a=./a --engine words --engine-version 3 -- python3 words.py
  precentor worker --source a=./a --openai http://127.0.0.1:11434/v1 --model llama3.2")]
pub struct Worker {
    /// Where the cluster is.
    #[command(flatten)]
    pub cluster: Servers,
    /// Where the sources of a project are on this machine. Can be given more than once.
    #[arg(long = "source", value_name = "PROJECT=DIR", value_parser = source)]
    pub sources: Vec<(String, PathBuf)>,
    /// Threads that make contexts [default: the number of cores].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// The number of this worker, of which there is one in a cluster [default: made of the
    /// machine's name, the engine and the sources' places].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1 << 62))]
    pub id: Option<u64>,
    /// What a model says takes the place of the outline's words: where it is asked, as in
    /// http://127.0.0.1:11434/v1. Its key, if it needs one, is OPENAI_API_KEY.
    #[arg(
        long,
        value_name = "URL",
        requires = "model",
        conflicts_with = "engine"
    )]
    pub openai: Option<String>,
    /// The model's name.
    #[arg(long, value_name = "NAME", requires = "openai")]
    pub model: Option<String>,
    /// A file with the prompt that takes the place of the built-in one.
    #[arg(long, value_name = "FILE", requires = "openai")]
    pub prompt: Option<PathBuf>,
    /// Most tokens of a source that go to the model.
    #[arg(long, value_name = "TOKENS", default_value_t = 6_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000), requires = "openai")]
    pub input_tokens: u64,
    /// Most tokens of its answer.
    #[arg(long, value_name = "TOKENS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000), requires = "openai")]
    pub output_tokens: u32,
    /// What requests call the program's engine [default: the built-in one, outline].
    #[arg(long, value_name = "NAME", requires = "command")]
    pub engine: Option<String>,
    /// The engine's version: to be raised when the same source would give other words.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "engine")]
    pub engine_version: u32,
    /// How long the program, or the model, may take for a job.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub job_seconds: u64,
    /// How much memory (address space) each process of the program may have.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 30), requires = "engine")]
    pub memory_mib: Option<u64>,
    /// The program, and its arguments.
    #[arg(last = true, value_name = "COMMAND", requires = "engine")]
    pub command: Vec<String>,
}

/// `PROJECT=DIR`.
fn source(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((project, dir)) if !project.is_empty() && !dir.is_empty() => {
            Ok((project.to_owned(), PathBuf::from(dir)))
        }
        _ => Err("write PROJECT=DIR".to_owned()),
    }
}
