use clap::{Command as Clap, CommandFactory as _};

use super::*;

/// The command of a path like `log read`, as if on a terminal of 80 columns.
fn command(path: &str) -> Clap {
    let mut command = Cli::command().term_width(80);
    command.build();
    let found = path.split_whitespace().try_fold(&command, |command, name| command.find_subcommand(name));
    found.expect("a command").clone().term_width(80)
}

fn help(path: &str) -> String {
    command(path).render_help().to_string()
}

fn every_command(command: &Clap, path: &str, each: &mut impl FnMut(&str, &Clap)) {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name());
        each(&path, sub);
        every_command(sub, &path, each);
    }
}

#[test]
fn every_command_and_flag_says_what_it_does() {
    let mut cli = Cli::command();
    cli.build();
    cli.clone().debug_assert();
    let mut commands = 0;
    every_command(&cli, "encargo", &mut |path, command| {
        commands += 1;
        assert!(command.get_about().is_some(), "{path} says nothing");
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{path}: {} says nothing", argument.get_id());
        }
        let leaf = command.get_subcommands().next().is_none();
        let plain = ["topics", "groups"].contains(&command.get_name());
        assert!(!leaf || plain || command.get_after_help().is_some(), "{path} has no example");
    });
    assert!(commands > 20, "only {commands} commands were looked at");
}

#[test]
fn every_reading_command_speaks_json() {
    let reading = ["show", "list", "log topics", "log groups", "log read", "dead list", "dead show", "catalog check"];
    for path in reading.into_iter().chain(["catalog search", "config show", "mail check", "place", "dead redrive"]) {
        let command = command(path);
        assert!(command.get_arguments().any(|argument| argument.get_long() == Some("json")), "{path} has no --json");
    }
}

#[test]
fn examples_in_the_help_can_be_given() {
    let mut cli = Cli::command();
    cli.build();
    let mut examples = 0;
    every_command(&cli, "encargo", &mut |_, command| {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("encargo ")) {
            let line = line.split(['|', '>']).next().unwrap_or(line);
            // quotes hold words together
            let words = line
                .split('\'')
                .enumerate()
                .flat_map(|(i, part)| if i % 2 == 1 { vec![part] } else { part.split_whitespace().collect() });
            let words: Vec<&str> = std::iter::once("encargo").chain(words).collect();
            Cli::try_parse_from(&words).unwrap_or_else(|e| panic!("{words:?}: {e}"));
            examples += 1;
        }
    });
    assert!(examples > 20, "only {examples} examples were tried");
}

#[test]
fn the_first_help_shows_the_way() {
    insta::assert_snapshot!(help(""), @"");
}

#[test]
fn help_of_commands_fits_80_columns() {
    insta::assert_snapshot!(help("up"), @"");
    insta::assert_snapshot!(help("log read"), @"");
    insta::assert_snapshot!(help("dead redrive"), @"");
}
