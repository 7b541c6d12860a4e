use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, output::Out};

/// Flags of `encargo completions`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  encargo completions bash > ~/.local/share/bash-completion/completions/encargo\n  \
                        encargo completions zsh > ~/.zfunc/_encargo\n  \
                        encargo completions fish > ~/.config/fish/completions/encargo.fish"
)]
pub(super) struct Completions {
    /// Shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<ExitCode> {
        // into memory first: the generator panics when its output is closed
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "encargo", &mut script);
        let mut out = Out::new();
        out.raw(&script)?;
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}
