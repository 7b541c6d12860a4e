use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use super::{
    Settings, open,
    output::{Out, explain, plain},
};
use crate::{
    clock::Clock,
    domain::{OrderId, wire},
    store::{ledger::MailStatus, mails::Resend as Wanted},
};

/// Flags of `encargo mail resend`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  encargo mail resend 17 --reason 'she deleted it'\n  encargo mail resend 17 --dry-run\n\n\
                        It is the same mail under the same Message-ID, and counts as a repeat."
)]
pub(super) struct Resend {
    /// Number of the order
    id: OrderId,
    /// Why; the order's page on the desk keeps it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Who does it, as that page says
    #[arg(long = "as", value_name = "NAME", default_value = "shop")]
    who: String,
    /// Only say which mail it would be
    #[arg(long)]
    dry_run: bool,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: open::StoreFlag,
}

/// A mail that is sent again, for programs.
#[derive(Serialize)]
struct ResentJson<'a> {
    orderid: u64,
    /// The same, under the name that it had first.
    order: u64,
    /// The number of the order's event that it is about.
    seq: u8,
    estado: &'a str,
    /// Whether it is; with `--dry-run` it is not.
    again: bool,
}

impl Resend {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let (by, reason) = (wire::read_by(&self.who)?, self.reason.as_deref().map(wire::read_reason).transpose()?);
        let store = open::store(&settings.load(&self.store.settings())?.config).await?;
        let Some((view, _)) = store.order(self.id).await? else { bail!("there is no order {}", self.id) };
        let mails = store.mails_of(self.id).await?;
        let Some(last) = mails.iter().rev().find(|mail| !mail.id.is_link()) else {
            bail!("there is no mail about order {}", self.id)
        };
        match last.status {
            MailStatus::Sent => {}
            MailStatus::Pending | MailStatus::Sending => bail!("its last mail is still to be sent: encargo mail queue"),
            MailStatus::Dead => {
                bail!("its last mail was refused: encargo dead redrive mail:{}.{}", self.id, last.id.seq)
            }
            MailStatus::Dropped => bail!("its last mail was given up"),
        }
        if store.suppression(view.recipient()).await?.is_some() {
            bail!("its address gets no mail any more: encargo mail suppressed list");
        }
        let resend = Wanted { id: last.id, attempts: last.attempts, at: Clock::system().now(), by, reason };
        if !self.dry_run && !store.resend(resend).await? {
            bail!("its last mail has changed meanwhile; look again: encargo mail queue --order {}", self.id);
        }
        if self.json {
            let mut out = Out::new();
            let (orderid, order) = (self.id.get(), self.id.get());
            out.json(&ResentJson { orderid, order, seq: last.id.seq, estado: &last.estado, again: !self.dry_run })?;
            out.flush()?;
        } else {
            let what = if self.dry_run { "would be sent" } else { "is sent" };
            explain(&format!("The mail about {} of order {} {what} again.", plain(&last.estado), self.id));
        }
        Ok(ExitCode::SUCCESS)
    }
}
