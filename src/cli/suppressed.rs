use std::{collections::HashSet, process::ExitCode};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    Settings,
    dead::DecidedJson,
    open,
    output::{Out, count, explain, plain},
    table::Table,
    time,
};
use crate::{
    clock::Clock,
    domain::{EmailAddress, Timestamp},
    ops::SuppressedJson,
    store::{
        Store,
        dead::{Action, DeadId},
        ledger::{Class, Suppression},
        mails::SuppressedQuery,
    },
};

/// Addresses fetched at once.
const PAGE: usize = 500;
/// Most dead letters looked through for those of a released address.
const DEAD_MAX: usize = 1_000_000;

/// `encargo mail suppressed`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the addresses that get no mail any more, since a server refused them for good
    #[command(
        after_help = "Examples:\n  encargo mail suppressed list\n  encargo mail suppressed list --search example.org\n  \
                      encargo mail suppressed list --reason 'relay not permitted'"
    )]
    List(List),
    /// Let addresses have mail again
    #[command(after_help = "Examples:\n  encargo mail suppressed release ana@example.org\n  \
                            encargo mail suppressed release ana@example.org --redrive\n  \
                            encargo mail suppressed release --reason 'relay not permitted' --redrive --dry-run\n  \
                            encargo mail suppressed release --all --dry-run")]
    Release(Release),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only addresses with this text
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only those with this text in the refusal
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Most addresses to list
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Print one line of JSON per address
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: open::StoreFlag,
}

#[derive(Debug, Args)]
pub(super) struct Release {
    #[command(flatten)]
    which: Which,
    /// Also try their dead mails again; with --reason every mail that died with this text
    #[arg(long)]
    redrive: bool,
    /// Only say what it would be
    #[arg(long)]
    dry_run: bool,
    /// Print one line of JSON per address and per mail
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: open::StoreFlag,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Addresses, as `encargo mail suppressed list` shows them
    #[arg(value_name = "ADDRESS")]
    addresses: Vec<EmailAddress>,
    /// All that are suppressed
    #[arg(long)]
    all: bool,
    /// All with this text in the refusal, in upper or lower case
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// An address that gets mail again, for programs.
#[derive(Serialize)]
struct ReleasedJson<'a> {
    address: &'a str,
    /// `release`.
    action: &'static str,
}

impl Command {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        match self {
            Self::List(list) => list.run(settings).await?,
            Self::Release(release) => release.run(settings).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(self, settings: &Settings) -> Result<()> {
        let store = open::store(&settings.load(&self.store.settings())?.config).await?;
        let query = SuppressedQuery { containing: self.search, reason: self.reason, after: None, limit: self.limit };
        let found = store.suppressed(query).await?;
        let now = Clock::system().now();
        let mut out = Out::new();
        let mut table = Table::new(["ADDRESS", "SINCE", "MAIL", "REASON"]);
        for suppression in &found {
            let Suppression { address, at, reason, mail } = suppression;
            if self.json {
                out.json(&SuppressedJson::from(suppression))?;
            } else {
                let mail = DeadId::Mail(*mail).to_string();
                // whole: who releases one has to name it
                table.row([
                    plain(address.as_str()).into(),
                    time::ago(*at, now).into(),
                    mail.into(),
                    plain(reason).into(),
                ]);
            }
        }
        table.print(&mut out)?;
        out.flush()?;
        match found.len() {
            0 => explain("No suppressed addresses."),
            n if n == self.limit => explain(&format!("{n} shown, there may be more: --limit N")),
            _ => {}
        }
        Ok(())
    }
}

impl Release {
    async fn run(self, settings: &Settings) -> Result<()> {
        let store = open::store(&settings.load(&self.store.settings())?.config).await?;
        let now = Clock::system().now();
        let Which { addresses, reason, .. } = &self.which;
        let addresses =
            if addresses.is_empty() { all(store.as_ref(), reason.as_deref()).await? } else { addresses.clone() };
        let mut out = Out::new();
        for address in &addresses {
            let was_suppressed = if self.dry_run {
                store.suppression(address).await?.is_some()
            } else {
                store.release_address(address).await?
            };
            if !was_suppressed {
                out.flush()?;
                bail!("{} is not suppressed; `encargo mail suppressed list` shows who is", plain(address.as_str()));
            }
            if self.json {
                out.json(&ReleasedJson { address: address.as_str(), action: "release" })?;
            } else {
                out.line(&plain(address.as_str()))?;
            }
        }
        let mails = if self.redrive { self.redrive(store.as_ref(), &addresses, now, &mut out).await? } else { 0 };
        out.flush()?;
        explain(&self.summary(addresses.len() as u64, mails));
        Ok(())
    }

    /// Drives the dead mails of these addresses again, those that died of it and those that others died of before; and
    /// whatever died of the same words.
    async fn redrive(
        &self,
        store: &dyn Store,
        addresses: &[EmailAddress],
        now: Timestamp,
        out: &mut Out,
    ) -> Result<u64> {
        let theirs: HashSet<_> = addresses.iter().map(|address| address.as_str().to_ascii_lowercase()).collect();
        let words = self.which.reason.as_ref().map(|reason| reason.to_lowercase());
        let mut mails = 0;
        for item in store.dead(None, DEAD_MAX).await? {
            let (Some(order), DeadId::Mail(_)) = (item.order, &item.id) else { continue };
            let by_word = words.as_ref().is_some_and(|words| item.reason.to_lowercase().contains(words));
            let by_address = matches!(item.class, Some(Class::Address | Class::Suppressed)) && !theirs.is_empty();
            let is_theirs = by_word
                || by_address
                    && store
                        .order(order)
                        .await?
                        .is_some_and(|(view, _)| theirs.contains(&view.order.email.as_str().to_ascii_lowercase()));
            if is_theirs && (self.dry_run || store.decide(&item.id, Action::Redrive, now).await?) {
                mails += 1;
                if self.json {
                    out.json(&DecidedJson { id: item.id.to_string(), action: "redrive" })?;
                } else {
                    out.line(&item.id.to_string())?;
                }
            }
        }
        Ok(mails)
    }

    fn summary(&self, addresses: u64, mails: u64) -> String {
        let addresses = format!("{addresses} address{}", if addresses == 1 { "" } else { "es" });
        let again = if self.redrive { format!(" and redrive {}", count(mails, "mail")) } else { String::new() };
        if self.dry_run {
            return format!("Would release {addresses}{again}; nothing was changed.");
        }
        if self.redrive {
            return format!("Released {addresses}; {} will be tried again.", count(mails, "mail"));
        }
        format!("Released {addresses}. Their dead mails stay dead: `encargo dead redrive` tries them again.")
    }
}

/// All addresses, or those with this text in their refusal.
async fn all(store: &dyn Store, reason: Option<&str>) -> Result<Vec<EmailAddress>> {
    let mut addresses: Vec<EmailAddress> = Vec::new();
    loop {
        let after = addresses.last().cloned();
        let query = SuppressedQuery { containing: None, reason: reason.map(str::to_owned), after, limit: PAGE };
        let page = store.suppressed(query).await?;
        let is_last = page.len() < PAGE;
        addresses.extend(page.into_iter().map(|found| found.address));
        if is_last {
            return Ok(addresses);
        }
    }
}
