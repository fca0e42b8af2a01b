//! Parses the arguments, runs the command, prints the chain of an error, and exits.

use std::process::ExitCode;

use clap::Parser;
use countersign::cli::{Arguments, run};

/// Requests pass from thread to thread, and their memory with them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run(Arguments::parse())
}
