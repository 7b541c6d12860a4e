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
    for path in reading.into_iter().chain([
        "catalog search",
        "config show",
        "mail check",
        "place",
        "dead redrive",
        "mail queue",
        "mail resend",
        "bench",
        "bench report",
        "bench capacity",
        "bench restart",
        "forecast",
        "simulate demand",
    ]) {
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
    insta::assert_snapshot!(help(""), @r#"
    Encargo takes orders over HTTP, moves each one through its states on time, and
    tells the customer at every state

    Usage: encargo [OPTIONS] <COMMAND>

    Commands:
      up           Run everything in this process: intake, fulfilment, tracking,
                   mail
      intake       Run the intake alone: takes orders, any number of times over
                   Kafka and PostgreSQL
      fulfilment   Run fulfilment alone: walks orders through their states, over
                   Kafka
      tracking     Run tracking alone: projects states into PostgreSQL and answers
                   lookups
      place        Place an order over HTTP, as a customer does
      show         Show an order with its history and mails
      why          Say why an order stands where it stands
      list         List orders, newest first
      cancel       Cancel orders
      advance      Move orders on to their next state
      refuse       Refuse orders
      hold         Stop the time of orders until they are resumed
      resume       Let the time of held orders go on
      delay        Change when orders leave their states
      readdress    Correct the address to which mails go
      log          Look into the event log
      migrate      Move over from the Python services on Kafka
      dead         Look at what could not be processed or mailed, and decide about
                   it
      mail         Run the mailer alone, over PostgreSQL; or preview and check the
                   mails
      catalog      Check and search the catalogue
      bench        Measure how fast, how late and at what cost orders go through,
                   and whether any is lost
      forecast     Tell how many orders will come, and when to start how many
                   instances
      simulate     Try out in virtual time what has not happened yet
      flow         Check, show, compare and try out the flows of orders
      prove        Try whether the promises are kept: load, kill, garble and audit a
                   system of its own
      config       Show, check and write the configuration
      contract     Show and export the formats of records, and check whether
                   versions of them agree
      health       Ask the running server whether it is ready
      completions  Print a completion script for a shell
      man          Print the manual page, or write one for each command
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Settings:
          --config <FILE>  Configuration file [default: encargo.toml in the working
                           folder, if there] [env: ENCARGO_CONFIG]
          --data <DIR>     Data folder [env: ENCARGO_DATA] [default: encargo-data]

    Examples:
      encargo up                                         then, in another terminal:
      encargo place 1010 --email you@example.org --follow
      encargo list
    "#);
}

#[test]
fn help_of_commands_fits_80_columns() {
    insta::assert_snapshot!(help("up"), @r#"
    Run everything in this process: intake, fulfilment, tracking, mail

    Usage: encargo up [OPTIONS]

    Options:
          --json     Print the addresses as one line of JSON
      -h, --help     Print help
      -V, --version  Print version

    Settings:
          --log <URL>               Event log: sqlite:PATH, kafka://HOST:PORT,…
                                    [env: ENCARGO_LOG] [default: log.db in the data
                                    folder]
          --store <URL>             Store: sqlite:PATH, postgres://… [env:
                                    ENCARGO_STORE] [default: store.db in the data
                                    folder]
          --mail <URL>              Mail: maildir:DIR, smtp://HOST:PORT, none: [env:
                                    ENCARGO_MAIL] [default: maildir: in the data
                                    folder]
          --catalog <FILE>          Catalogue: a CSV file with appid,name,price
                                    [env: ENCARGO_CATALOG] [default: a built-in
                                    sample]
          --dwell <DURATION>        How long an order stays in each state, like 8s
                                    or 500ms [env: ENCARGO_DWELL] [default: 8s]
          --slot <N>                Which instance this is, on a log that several
                                    share [env: ENCARGO_SLOT] [default: 0]
          --intake-listen <ADDR>    Where orders are taken [env:
                                    ENCARGO_INTAKE_LISTEN] [default: 127.0.0.1:3000]
          --tracking-listen <ADDR>  Where orders are looked up [env:
                                    ENCARGO_TRACKING_LISTEN] [default:
                                    127.0.0.1:5000]
          --ops-listen <ADDR>       Where the desk, health and metrics are; off
                                    loopback it wants ops.token [env:
                                    ENCARGO_OPS_LISTEN] [default: 127.0.0.1:9000]
          --otlp <URL>              A collector for the traces of orders, like
                                    http://localhost:4318 [env: ENCARGO_OTLP]
                                    [default: none]
          --config <FILE>           Configuration file [default: encargo.toml in the
                                    working folder, if there] [env: ENCARGO_CONFIG]
          --data <DIR>              Data folder [env: ENCARGO_DATA] [default:
                                    encargo-data]

    Examples:
      encargo up
      encargo up --dwell 1s --mail smtp://localhost:1025
      encargo up --catalog products.csv --intake-listen 0.0.0.0:3000
      encargo up --log kafka://k1:9092 --store postgres://encargo@db/encargo
    "#);
    insta::assert_snapshot!(help("log read"), @r#"
    Print the records of a topic

    Usage: encargo log read [OPTIONS] <TOPIC>

    Arguments:
      <TOPIC>  Topic; `encargo log topics` lists them

    Options:
          --partition <P>  Only this partition
          --from <N>       Begin at this offset in each partition [default: the
                           first that is kept]
          --tail <N>       Begin with the last N records of each partition
          --limit <N>      Stop after N records
      -f, --follow         Wait for new records; Ctrl-C ends it
          --headers        Show the headers as well (JSON always has them)
          --json           Print one line of JSON per record
      -h, --help           Print help
      -V, --version        Print version

    Settings:
          --log <URL>      Event log: sqlite:PATH, kafka://HOST:PORT,… [env:
                           ENCARGO_LOG] [default: log.db in the data folder]
          --config <FILE>  Configuration file [default: encargo.toml in the working
                           folder, if there] [env: ENCARGO_CONFIG]
          --data <DIR>     Data folder [env: ENCARGO_DATA] [default: encargo-data]

    Examples:
      encargo log read compra_detalle
      encargo log read compra_confirmada --tail 5 --follow
      encargo log read compra_detalle --partition 0 --from 100 --json | jq .value
    "#);
    insta::assert_snapshot!(help("dead redrive"), @r#"
    Try dead letters again: mails are sent anew, records go back to their topics

    Usage: encargo dead redrive [OPTIONS] <ID|--all|--reason <TEXT>>

    Arguments:
      [ID]...  Names, as `encargo dead list` shows them

    Options:
          --all            All dead letters
          --reason <TEXT>  All with this text in their reason
          --dry-run        Only say which ones it would be
          --json           Print one line of JSON per dead letter
      -h, --help           Print help
      -V, --version        Print version

    Settings:
          --store <URL>    Store: sqlite:PATH, postgres://… [env: ENCARGO_STORE]
                           [default: store.db in the data folder]
          --config <FILE>  Configuration file [default: encargo.toml in the working
                           folder, if there] [env: ENCARGO_CONFIG]
          --data <DIR>     Data folder [env: ENCARGO_DATA] [default: encargo-data]

    Examples:
      encargo dead redrive mail:17.2
      encargo dead redrive --reason 'mailbox full' --dry-run
      encargo dead redrive --all
    "#);
}
