use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::{
    Settings, open,
    output::{Out, explain, plain},
    table::{Cell, Table},
    time,
};
use crate::{
    clock::Clock,
    domain::{OrderId, Timestamp},
    ops::MailJson,
    store::{ledger::MailStatus, mails::MailEntry},
};

/// Flags of `encargo mail queue`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  encargo mail queue\n  encargo mail queue --order 17 --json")]
pub(super) struct Queue {
    /// All mails of this order, also those that do not wait
    #[arg(long, value_name = "ID")]
    order: Option<OrderId>,
    /// Most mails to list
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Print one line of JSON per mail
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: open::StoreFlag,
}

/// A mail as `/ledger` tells it.
#[derive(Serialize)]
struct QueuedJson<'a> {
    #[serde(flatten)]
    mail: MailJson<'a>,
    /// The reason, under the name that it had here first.
    reply: Option<&'a str>,
}

impl Queue {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let store = open::store(&settings.load(&self.store.settings())?.config).await?;
        let mails = match self.order {
            Some(order) => store.mails_of(order).await?,
            None => store.mails_waiting(self.limit).await?,
        };
        let now = Clock::system().now();
        let mut out = Out::new();
        let mut table = Table::new(["MAIL", "STATE", "STATUS", "NEXT TRY", ">TRIES", "LAST ANSWER"]);
        for mail in &mails {
            if self.json {
                out.json(&QueuedJson { mail: mail.into(), reply: mail.reply.as_deref() })?;
            } else {
                table.row(row(mail, now));
            }
        }
        table.print(&mut out)?;
        out.flush()?;
        match (mails.len(), self.order) {
            (0, None) => explain("No mail waits."),
            (0, Some(order)) => explain(&format!("Order {order} has no mails.")),
            (n, None) if n == self.limit => explain(&format!("{n} shown, there may be more: --limit N")),
            _ => {}
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn row(mail: &MailEntry, now: Timestamp) -> [Cell; 6] {
    let (status, tone) = super::show::mail_word(Some(mail.status));
    let next = match mail.status {
        MailStatus::Pending => mail.due_at.map_or_else(|| "-".into(), |due| time::due(due, now)),
        MailStatus::Sending => "in flight".into(),
        MailStatus::Sent | MailStatus::Dead | MailStatus::Dropped => "-".into(),
    };
    [
        format!("{}.{}", mail.id.order, mail.id.seq).into(),
        plain(&mail.estado).into(),
        Cell::from(status).tone(tone),
        next.into(),
        u64::from(mail.attempts).into(),
        plain(mail.reply.as_deref().unwrap_or("-")).into(),
    ]
}
