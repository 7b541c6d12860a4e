//! The command line: one file per command. Data goes to standard output, words to standard error.

mod bench;
mod catalog;
mod change;
mod completions;
mod config;
mod contract;
mod dead;
mod document;
mod flags;
mod flow;
mod follow;
mod forecast;
mod health;
mod http;
mod interrupt;
mod list;
mod log;
mod mail;
mod man;
mod migrate;
mod open;
mod output;
mod place;
mod plot;
mod prove;
mod queue;
mod resend;
mod roles;
mod serve;
mod show;
mod simulate;
mod supervisor;
mod suppressed;
mod table;
mod time;
mod up;
mod values;
mod why;
mod width;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{
    Args, Parser, Subcommand,
    builder::styling::{AnsiColor, Styles},
};

use crate::{config::Loaded, domain::command::Verb};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// Encargo takes orders over HTTP, moves each one through its states on time, and tells the customer at every state.
#[derive(Debug, Parser)]
#[command(name = "encargo", version, arg_required_else_help = true, propagate_version = true, styles = STYLES)]
#[command(
    after_help = "Examples:\n  encargo up                                         then, in another terminal:\n  \
                        encargo place 1010 --email you@example.org --follow\n  encargo list"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    settings: Settings,
}

/// Settings that every command understands; each wins over its environment variable and the file.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
struct Settings {
    /// Configuration file [default: encargo.toml in the working folder, if there]
    #[arg(long, global = true, value_name = "FILE", env = "ENCARGO_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Data folder [env: ENCARGO_DATA] [default: encargo-data]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in this process: intake, fulfilment, tracking, mail
    Up(up::Up),
    /// Run the intake alone: takes orders, any number of times over Kafka and PostgreSQL
    Intake(roles::Intake),
    /// Run fulfilment alone: walks orders through their states, over Kafka
    Fulfilment(roles::Fulfilment),
    /// Run tracking alone: projects states into PostgreSQL and answers lookups
    Tracking(roles::Tracking),
    /// Place an order over HTTP, as a customer does
    Place(place::Place),
    /// Show an order with its history and mails
    Show(show::Show),
    /// Say why an order stands where it stands
    Why(why::WhyFlags),
    /// List orders, newest first
    List(list::List),
    /// Cancel orders
    #[command(after_help = "Examples:\n  encargo cancel 17 --reason 'the customer called'\n  \
                            encargo cancel --state preparando --older 1h --dry-run")]
    Cancel(change::Change),
    /// Move orders on to their next state
    #[command(
        after_help = "Examples:\n  encargo advance 17 18 19 --as kitchen\n  encargo advance --state preparando --yes"
    )]
    Advance(change::Change),
    /// Refuse orders
    #[command(after_help = "Example:\n  encargo refuse 17 --reason 'out of stock'")]
    Refuse(change::Change),
    /// Stop the time of orders until they are resumed
    #[command(after_help = "Example:\n  encargo hold 17 --reason 'no power'")]
    Hold(change::Change),
    /// Let the time of held orders go on
    #[command(after_help = "Example:\n  encargo resume 17")]
    Resume(change::Change),
    /// Change when orders leave their states
    Delay(change::Delay),
    /// Correct the address to which mails go
    Readdress(change::Readdress),
    /// Look into the event log
    #[command(subcommand)]
    Log(log::Command),
    /// Move over from the Python services on Kafka
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Look at what could not be processed or mailed, and decide about it
    #[command(subcommand)]
    Dead(dead::Command),
    /// Run the mailer alone, over PostgreSQL; or preview and check the mails
    #[command(args_conflicts_with_subcommands = true)]
    Mail {
        #[command(subcommand)]
        command: Option<mail::Command>,
        #[command(flatten)]
        role: roles::Mail,
    },
    /// Check and search the catalogue
    #[command(subcommand)]
    Catalog(catalog::Command),
    /// Measure how fast, how late and at what cost orders go through, and whether any is lost
    Bench(Box<bench::Bench>),
    /// Tell how many orders will come, and when to start how many instances
    Forecast(forecast::Forecast),
    /// Try out in virtual time what has not happened yet
    #[command(subcommand)]
    Simulate(simulate::Command),
    /// Check, show, compare and try out the flows of orders
    #[command(subcommand)]
    Flow(flow::Command),
    /// Try whether the promises are kept: load, kill, garble and audit a system of its own
    Prove(prove::Prove),
    /// Show, check and write the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Show and export the formats of records, and check whether versions of them agree
    #[command(subcommand)]
    Contract(contract::Command),
    /// Ask the running server whether it is ready
    Health(health::Health),
    /// Print a completion script for a shell
    Completions(completions::Completions),
    /// Print the manual page, or write one for each command
    Man(man::Man),
}

impl Cli {
    /// Carries the command out.
    pub fn run(self) -> Result<ExitCode> {
        let Self { command, settings } = self;
        match command {
            Command::Up(up) => up.run(&settings),
            Command::Intake(role) => role.run(&settings),
            Command::Fulfilment(role) => role.run(&settings),
            Command::Tracking(role) => role.run(&settings),
            Command::Place(place) => wait(place.run(&settings)),
            Command::Show(show) => wait(show.run(&settings)),
            Command::Why(why) => wait(why.run(&settings)),
            Command::List(list) => wait(list.run(&settings)),
            Command::Cancel(change) => wait(change.run(Verb::Cancel, &settings)),
            Command::Advance(change) => wait(change.run(Verb::Advance, &settings)),
            Command::Refuse(change) => wait(change.run(Verb::Refuse, &settings)),
            Command::Hold(change) => wait(change.run(Verb::Hold, &settings)),
            Command::Resume(change) => wait(change.run(Verb::Resume, &settings)),
            Command::Delay(delay) => wait(delay.run(&settings)),
            Command::Readdress(readdress) => wait(readdress.run(&settings)),
            Command::Log(log) => wait(log.run(&settings)),
            Command::Migrate(migrate) => migrate.run(&settings),
            Command::Dead(dead) => wait(dead.run(&settings)),
            Command::Mail { command: Some(command), .. } => wait(command.run(&settings)),
            Command::Mail { command: None, role } => role.run(&settings),
            Command::Catalog(catalog) => catalog.run(&settings),
            Command::Bench(bench) => bench_runtime()?.block_on(bench.run(&settings)),
            Command::Forecast(forecast) => wait(forecast.run(&settings)),
            Command::Simulate(simulate) => simulate.run(&settings),
            Command::Flow(flow) => wait(flow.run(&settings)),
            Command::Prove(prove) => prove.run(),
            Command::Config(config) => config.run(&settings),
            Command::Contract(contract) => contract.run(&settings),
            Command::Health(health) => wait(health.run(&settings)),
            Command::Completions(completions) => completions.run(),
            Command::Man(man) => man.run(),
        }
    }
}

/// Runs a command that does one thing after the other.
fn wait(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

/// Customers, a mail server and a handler at once: on all cores.
fn bench_runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// The status a failed command ends with: 2 when it was told something wrong, 1 when it could not do what it was told.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(if error.is::<crate::config::Error>() { 2 } else { 1 })
}

impl Settings {
    /// All layers, with these flags on top.
    fn load(&self, flags: &[(&'static str, Option<String>)]) -> Result<Loaded> {
        let flags: Vec<_> = [("data", self.data.clone())]
            .into_iter()
            .chain(flags.iter().cloned())
            .filter_map(|(key, value)| Some((key, value?)))
            .collect();
        let loaded = crate::config::load(self.config.as_deref(), &flags)?;
        for warning in &loaded.warnings {
            output::explain(&format!("warning: {warning}"));
        }
        Ok(loaded)
    }
}

#[cfg(test)]
mod tests;
