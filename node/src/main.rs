//! The binary `precentor`.

use std::process::ExitCode;

use clap::Parser;
use precentor_node::cli;
use precentor_node::options::Options;

fn main() -> ExitCode {
    cli::run(Options::parse())
}
