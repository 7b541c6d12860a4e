//! `encargo bench load`: the customers of the load by themselves, and a shop that changes their orders; what each was told is
//! written down.

use std::{
    fs::File,
    io::{BufRead as _, BufWriter, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{ProfileFlags, customers};
use crate::{
    bench::{
        load::{Answer, Customers, Load, Outcome, Progress, Targets},
        shop::Shop,
    },
    cli::output::{Out, explain},
    clock::Clock,
    domain::{Lang, Timestamp},
};

/// Of the orders with an idempotency key, one in so many is asked for once more.
const AGAIN: u64 = 25;
/// Longest wait for an answer; for how long an order or a command is tried again: it only ends what would wait for ever.
const ANSWER_MAX: Duration = Duration::from_secs(12);
const RETRY: Duration = Duration::from_mins(5);
/// Shops that change orders at once, each among those of so many last seconds.
const SHOPS: u64 = 8;
const SECONDS_BACK: f64 = 2.5;

/// Flags of `encargo bench load`.
#[derive(Debug, Args)]
#[command(
    after_help = "Orders with an idempotency key are tried again until they are taken. An order that is due while all \
                  connections wait, and as many orders for them, is not placed. SIGTERM ends the placing; what is open is then settled. encargo-audit --acknowledged \
                  --commanded reads what it writes.\n\n\
                  Example:\n  encargo bench load --intake 10.0.0.7:3000,10.0.0.8:3000 --rate 200 --duration 10m --acknowledged acknowledged.jsonl"
)]
pub(super) struct LoadFlags {
    /// Where orders are placed, in turn
    #[arg(long, value_name = "ADDR", value_delimiter = ',', required = true)]
    intake: Vec<SocketAddr>,
    /// Take other addresses from standard input while it runs: a line each time, with commas
    #[arg(long)]
    follow: bool,
    /// Have a shop change orders, which sends its commands here, in turn
    #[arg(long, value_name = "ADDR", value_delimiter = ',', requires = "commanded")]
    tracking: Vec<SocketAddr>,
    #[command(flatten)]
    profile: ProfileFlags,
    /// Key of the product that is ordered, again and again
    #[arg(long, value_name = "KEY", default_value = "1010")]
    product: String,
    /// Of so many orders one has no idempotency key, and is tried once; 1: none has one
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    unkeyed: u64,
    /// Write here of each order that was taken: a line of JSON with orderid, product, email and at (milliseconds)
    #[arg(long, value_name = "FILE")]
    acknowledged: PathBuf,
    /// Write here of each command of the shop: a line of JSON with orderid, command and done
    #[arg(long, value_name = "FILE", requires = "tracking")]
    commanded: Option<PathBuf>,
}

/// What became of it all.
#[derive(Debug, Serialize)]
struct Counts {
    /// Orders that were taken.
    acknowledged: u64,
    /// Answers "not now", and tries without an answer.
    refused: u64,
    lost: u64,
    /// Orders that were not placed, as all connections waited.
    skipped: u64,
    /// Orders and commands of which nobody knows, although they were asked about again and again.
    unsettled: u64,
    /// Orders that were asked for once more under their key; those that then bore another number.
    asked_again: u64,
    changed: u64,
    /// Commands that were answered.
    commands: u64,
}

impl LoadFlags {
    pub(super) async fn run(self, stop: &CancellationToken) -> Result<ExitCode> {
        let (pace, _) = self.profile.pace(Lang::En)?;
        let mut acknowledged = Lines::create(self.acknowledged.clone())?;
        let mut commanded = self.commanded.clone().map(Lines::create).transpose()?;
        let customers = Customers { unkeyed: self.unkeyed, ..customers(&self.product)? };
        let load = Load {
            connections: self.profile.closed.unwrap_or(self.profile.connections),
            answer_max: ANSWER_MAX,
            retry: RETRY,
            again: AGAIN,
            impatient: true,
            ..Load::new(self.intake.clone(), customers.clone(), pace)
        };
        if self.follow {
            follow(load.targets.clone());
        }
        let (progress, closing) = (Arc::<Progress>::default(), CancellationToken::new());
        let shops = self.open_shops(&progress, &closing)?;
        let began = Clock::system().now();
        let outcome = load.run(progress.clone(), stop.clone()).await;
        acknowledged.write(orders(&outcome, &customers, began))?;
        closing.cancel();
        let (mut commands, mut unsettled) = (0, unsettled(&outcome, &customers));
        for mut shop in shops.join_all().await {
            let (told, unanswered) = shop.settle(RETRY).await;
            commands += told.len() as u64;
            unsettled += unanswered.len() as u64;
            let lines =
                told.iter().map(|told| json!({ "orderid": told.id, "command": told.command, "done": told.is_done }));
            commanded.as_mut().map(|file| file.write(lines)).transpose()?;
        }
        let counts = Counts {
            acknowledged: outcome.accepted().count() as u64,
            refused: progress.refused.load(Relaxed),
            lost: progress.lost.load(Relaxed),
            skipped: progress.skipped.load(Relaxed),
            unsettled,
            asked_again: progress.again.load(Relaxed),
            changed: progress.changed.load(Relaxed),
            commands,
        };
        let mut out = Out::new();
        out.json(&counts)?;
        out.flush()?;
        match outcome.complaint() {
            Some(complaint) => bail!("the system does not take these orders: {complaint}"),
            None if counts.acknowledged == 0 => bail!("no order was acknowledged: does anybody listen at --intake?"),
            None => Ok(ExitCode::SUCCESS),
        }
    }

    /// Shops that work until they are closed; none without an address for their commands.
    fn open_shops(&self, progress: &Arc<Progress>, closing: &CancellationToken) -> Result<JoinSet<Shop>> {
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build()?;
        let newest = (self.profile.rate * SECONDS_BACK) as usize;
        let tracking: Vec<_> = self.tracking.iter().map(|address| format!("http://{address}")).collect();
        let shops = if tracking.is_empty() { 0 } else { SHOPS };
        let shop = |name| Shop::new(http.clone(), tracking.clone(), self.profile.seed + name).named(name, newest);
        Ok((0..shops).map(|name| shop(name).work(progress.clone(), closing.clone())).collect())
    }
}

/// A file with a line of JSON for each thing.
struct Lines {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Lines {
    fn create(path: PathBuf) -> Result<Self> {
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, file: BufWriter::new(file) })
    }

    fn write(&mut self, lines: impl Iterator<Item = Value>) -> Result<()> {
        let mut written = Ok(());
        for line in lines {
            written = written.and_then(|()| writeln!(self.file, "{line}"));
        }
        written.and_then(|()| self.file.flush()).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// Has customers go where standard input says, until it ends.
fn follow(targets: Targets) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match line.split(',').map(|address| address.trim().parse()).collect::<Result<Vec<SocketAddr>, _>>() {
                Ok(addresses) => targets.set(addresses),
                Err(error) => explain(&format!("{line:?} is no list of addresses: {error}")),
            }
        }
    });
}

/// What each customer knows whose order was taken, and when that was.
fn orders<'a>(
    outcome: &'a Outcome,
    customers: &'a Customers,
    began: Timestamp,
) -> impl Iterator<Item = Value> + use<'a> {
    outcome.accepted().map(move |(told, id, _)| {
        let placed = customers.placed(told.number, id);
        let at = (began + told.due + told.latency).as_millis();
        json!({ "orderid": id, "product": placed.product, "email": placed.email, "at": at })
    })
}

/// Orders with a key of which nobody knows in the end.
fn unsettled(outcome: &Outcome, customers: &Customers) -> u64 {
    let is_open = |answer: &Answer| matches!(answer, Answer::Lost | Answer::Refused(_));
    let open = outcome.told.iter().filter(|told| is_open(&told.answer) && customers.key(told.number).is_some());
    open.count() as u64
}
