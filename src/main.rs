//! The `encargo` command.

use std::process::ExitCode;

use clap::Parser as _;
use encargo::cli::{self, Cli};

fn main() -> ExitCode {
    let cli = Cli::parse(); // ends with status 2 on misuse
    match cli.run() {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("\x1b[1;31merror:\x1b[0m {error:#}");
            cli::exit_code(&error)
        }
    }
}

/// Whoever reads our output had enough (`encargo list | head`).
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
