//! The `encargo` command.

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;
use encargo::{
    cli::{self, Cli},
    config,
    telemetry::{masked, masked_lightly},
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(misuse) if misuse.use_stderr() => {
            // it quotes what it does not understand, which may be a URL with a password
            say(&masked_lightly(&misuse.render().ansi().to_string()));
            return ExitCode::from(2);
        }
        Err(help) => help.exit(),
    };
    match cli.run() {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let words = format!("{error:#}");
            // settings are what somebody wrote, too; other errors quote servers and customers
            let words = if error.is::<config::Error>() { masked_lightly(&words) } else { masked(&words) };
            say(&format!("\x1b[1;31merror:\x1b[0m {words}\n"));
            cli::exit_code(&error)
        }
    }
}

/// On standard error, if anybody is left there to read it.
fn say(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// Whoever reads our output had enough (`encargo list | head`).
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
