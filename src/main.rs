//! Parses the arguments, runs the command, prints the chain of an error, and exits.

use std::process::ExitCode;

use clap::Parser;
use countersign::cli::{Arguments, run};

fn main() -> ExitCode {
    run(Arguments::parse())
}
