mod beside;

mod json;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

pub(super) use self::json::DecidedJson;
use self::json::WholeJson;
use super::{
    Settings, open,
    output::{Out, Tone, count, explain, plain},
    table::{Cell, Table},
    time,
};
use crate::{
    clock::Clock,
    domain::{Timestamp, wire},
    store::{
        Store,
        dead::{Action, DeadId, DeadItem},
        ledger::Class,
    },
};

/// Most dead letters fetched at once.
const PAGE: usize = 500;
/// As many as a store can have: its numbers are signed.
const NO_LIMIT: usize = i64::MAX as usize;

/// `encargo dead`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the dead letters, oldest first
    #[command(after_help = "Examples:\n  encargo dead list\n  encargo dead list --reason 'mailbox unavailable'")]
    List(List),
    /// Show one dead letter whole
    #[command(after_help = "Examples:\n  encargo dead show mail:17.2\n  encargo dead show compra_detalle/0/55")]
    Show(Show),
    /// Try dead letters again: mails are sent anew, records go back to their topics
    #[command(after_help = "Examples:\n  encargo dead redrive mail:17.2\n  \
                            encargo dead redrive --reason 'mailbox full' --dry-run\n  encargo dead redrive --all")]
    Redrive(Decide),
    /// Give dead letters up; they stay in the store, marked
    #[command(after_help = "Examples:\n  encargo dead drop compra_detalle/0/55\n  \
                            encargo dead drop --reason 'not a valid JSON record' --dry-run")]
    Drop(Decide),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those with this text in their reason
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Most dead letters to list
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Print one line of JSON per dead letter
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: open::StoreFlag,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Name, as `encargo dead list` shows it
    id: DeadId,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: open::StoreFlag,
}

#[derive(Debug, Args)]
pub(super) struct Decide {
    #[command(flatten)]
    which: Which,
    /// Only say which ones it would be
    #[arg(long)]
    dry_run: bool,
    /// Print one line of JSON per dead letter
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: open::StoreFlag,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Names, as `encargo dead list` shows them
    #[arg(value_name = "ID")]
    ids: Vec<DeadId>,
    /// All dead letters
    #[arg(long)]
    all: bool,
    /// All with this text in their reason
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Command {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        match self {
            Self::List(list) => list.run(settings).await?,
            Self::Show(show) => show.run(settings).await?,
            Self::Redrive(decide) => decide.run(settings, Action::Redrive).await?,
            Self::Drop(decide) => decide.run(settings, Action::Drop).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(self, settings: &Settings) -> Result<()> {
        let store = open_store(settings, &self.store).await?;
        let now = Clock::system().now();
        let items = store.dead(self.reason.as_deref(), self.limit).await?;
        let mut out = Out::new();
        let mut table = Table::new(["ID", ">ORDER", "SINCE", ">TRIES", "REASON"]);
        for item in &items {
            if !self.json {
                table.row(row(item, now));
            } else if let Some(whole) = store.dead_one(&item.id).await? {
                out.json(&WholeJson::from(&whole))?;
            }
        }
        table.print(&mut out)?;
        out.flush()?;
        match items.len() {
            0 => explain("No dead letters."),
            n if n == self.limit => explain(&format!("{n} shown, there may be more: --limit N")),
            _ => {}
        }
        Ok(())
    }
}

fn row(item: &DeadItem, now: Timestamp) -> [Cell; 5] {
    [
        plain(&item.id.to_string()).into(),
        item.order.map_or_else(|| "-".to_owned(), |order| order.to_string()).into(),
        time::ago(item.at, now).into(),
        u64::from(item.attempts).into(),
        plain(&item.reason).into(),
    ]
}

impl Show {
    async fn run(self, settings: &Settings) -> Result<()> {
        let store = open_store(settings, &self.store).await?;
        let Some(item) = store.dead_one(&self.id).await? else { return Err(no_such(&self.id)) };
        let mut out = Out::new();
        if self.json {
            out.json(&WholeJson::from(&item))?;
            return out.flush();
        }
        let now = Clock::system().now();
        out.line(&out.paint(Tone::Bold, &format!("Dead letter {}", plain(&item.id.to_string()))))?;
        out.field("reason", &out.paint(Tone::Bad, &plain(&item.reason)))?;
        if let Some(class) = item.class {
            out.field("class", class.name())?;
        }
        out.field("since", &format!("{}  ({})", time::full(item.at), time::ago(item.at, now)))?;
        out.field("tries", &item.attempts.to_string())?;
        if let Some(order) = item.order {
            out.field("order", &format!("{order}  (encargo show {order})"))?;
            if let (DeadId::Mail(mail), Some((view, history))) = (&item.id, store.order(order).await?) {
                let state = history.iter().find(|entry| entry.seq == mail.seq).map_or("?", |entry| &entry.estado);
                out.field("mail", &format!("about {}, to {}", plain(state), plain(&view.order.email.masked())))?;
            }
        }
        if let Some(letter) = &item.letter {
            let lossy = |bytes: &[u8]| plain(&String::from_utf8_lossy(bytes));
            out.field("key", &letter.key.as_deref().map_or_else(|| "-".into(), lossy))?;
            for (name, value) in letter.headers.iter().filter(|(name, _)| !name.starts_with(wire::OWN)) {
                out.field("header", &format!("{}: {}", plain(name), lossy(value)))?;
            }
            out.field("value", &lossy(&letter.value))?;
            beside::print(letter, &mut out)?;
        }
        out.line("")?;
        if died_of_its_address(&item) {
            out.line("Let its address have mail again first: encargo mail suppressed list, release")?;
        }
        match cut(&item) {
            Some(words) => out.line(&plain(&words))?,
            None => out.line(&format!("Try again: encargo dead redrive {}", self.id))?,
        }
        out.line(&format!("Give it up: encargo dead drop {}", self.id))?;
        out.flush()
    }
}

impl Decide {
    async fn run(self, settings: &Settings, action: Action) -> Result<()> {
        let store = open_store(settings, &self.store).await?;
        let now = Clock::system().now();
        let mut done = Done { out: Out::new(), json: self.json, mails: 0, records: 0, of_addresses: 0, cut: 0 };
        if self.which.ids.is_empty() {
            self.decide_by_reason(store.as_ref(), action, now, &mut done).await?;
        } else {
            for id in &self.which.ids {
                match store.dead_one(id).await? {
                    Some(item) if action == Action::Redrive && cut(&item).is_some() => {
                        done.out.flush()?;
                        return Err(anyhow::anyhow!("{id} cannot be redriven: {}", cut(&item).unwrap_or_default()));
                    }
                    Some(item) if self.dry_run || store.decide(id, action, now).await? => done.note(&item, action)?,
                    _ => {
                        done.out.flush()?;
                        return Err(no_such(id));
                    }
                }
            }
        }
        done.out.flush()?;
        explain(&done.summary(action, self.dry_run));
        if done.cut > 0 {
            explain(&format!("Left alone {} not kept whole: encargo dead show ID", count(done.cut, "letter")));
        }
        Ok(())
    }

    /// Page by page. What dies again meanwhile is left alone: it died after `now`.
    async fn decide_by_reason(&self, store: &dyn Store, action: Action, now: Timestamp, done: &mut Done) -> Result<()> {
        let reason = self.which.reason.as_deref();
        loop {
            let limit = if self.dry_run { NO_LIMIT } else { PAGE };
            let items = store.dead(reason, limit).await?;
            let mut decided = 0;
            for item in items.iter().filter(|item| item.at <= now) {
                if action == Action::Redrive && cut(item).is_some() {
                    done.cut += 1;
                    continue;
                }
                if self.dry_run || store.decide(&item.id, action, now).await? {
                    done.note(item, action)?;
                    decided += 1;
                }
            }
            if self.dry_run || decided == 0 || items.len() < limit {
                return Ok(());
            }
        }
    }
}

/// What was decided so far.
struct Done {
    out: Out,
    json: bool,
    mails: u64,
    records: u64,
    /// Mails whose address was refused: driven again, they die again while it is suppressed.
    of_addresses: u64,
    /// Letters whose records are not kept whole, and that were left alone.
    cut: u64,
}

impl Done {
    fn note(&mut self, item: &DeadItem, action: Action) -> Result<()> {
        let id = &item.id;
        self.of_addresses += u64::from(died_of_its_address(item));
        match id {
            DeadId::Mail(_) => self.mails += 1,
            DeadId::Record(_) => self.records += 1,
        }
        if self.json {
            return self.out.json(&DecidedJson { id: id.to_string(), action: word(action) });
        }
        self.out.line(&plain(&id.to_string()))
    }

    fn summary(&self, action: Action, dry_run: bool) -> String {
        let (mails, records) = (count(self.mails, "mail"), count(self.records, "record"));
        match (action, dry_run) {
            _ if self.mails + self.records == 0 => "No such dead letters.".into(),
            (_, true) => format!("Would {} {mails} and {records}; nothing was changed.", word(action)),
            (Action::Drop, false) => format!("Gave up {mails} and {records}."),
            (Action::Redrive | Action::Release, false) => {
                format!(
                    "Trying {mails} and {records} again: the running server does it now, or else at its next start.{}",
                    self.warning()
                )
            }
        }
    }

    fn warning(&self) -> String {
        if self.of_addresses == 0 {
            return String::new();
        }
        let mails = count(self.of_addresses, "mail");
        format!(
            "\nThe address of {mails} was refused: unless it is released, they die again (encargo mail suppressed)."
        )
    }
}

/// Why a dead record cannot be driven again: only its beginning was kept.
fn cut(item: &DeadItem) -> Option<String> {
    let letter = item.letter.as_ref()?;
    let words = wire::cut(&letter.headers)?;
    let source = &letter.source;
    if let Some(offsets) = wire::run(&letter.headers) {
        let (first, last) = (source.offset, offsets.last().map_or(source.offset, |range| *range.end()));
        return Some(format!(
            "{words}; the records are between offsets {first} and {last} of {}/{} for as long as that topic keeps them (all of them: \
             --json)",
            source.topic, source.partition
        ));
    }
    Some(format!(
        "the record was too large to be kept whole ({words}); the original is at offset {} of {}/{} for as long as that topic keeps it",
        source.offset, source.topic, source.partition
    ))
}

/// Whether the server refused a mail's address, then or before.
fn died_of_its_address(item: &DeadItem) -> bool {
    matches!(item.class, Some(Class::Address | Class::Suppressed))
}

const fn word(action: Action) -> &'static str {
    match action {
        Action::Redrive | Action::Release => "redrive",
        Action::Drop => "drop",
    }
}

async fn open_store(settings: &Settings, flag: &open::StoreFlag) -> Result<std::sync::Arc<dyn Store>> {
    open::store(&settings.load(&flag.settings())?.config).await
}

fn no_such(id: &DeadId) -> anyhow::Error {
    anyhow::anyhow!("there is no undecided dead letter {id}; `encargo dead list` shows them")
}
