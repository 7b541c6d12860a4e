use anyhow::Result;
use clap::Args;

use crate::{
    app,
    cli::{
        Settings,
        flags::{LogFlag, StoreFlag},
        output::explain,
    },
};

#[derive(Debug, Args)]
#[command(
    after_help = "Orders and states that only the lost log held are lost. What this one holds is projected again from its\n\
                        beginning: states that the store knows are not mailed a second time. New order numbers begin above all\n\
                        that the store knows. Stop all of Encargo first."
)]
pub(in crate::cli) struct Accept {
    #[command(flatten)]
    log: LogFlag,
    #[command(flatten)]
    store: StoreFlag,
}

impl Accept {
    pub(super) async fn run(self, settings: &Settings) -> Result<()> {
        let flags = [self.log.setting(), self.store.setting()];
        let config = settings.load(&flags)?.config;
        let (differences, first) = app::accept_log(&config).await?;
        if differences.is_empty() {
            explain("Nothing to do: the event log is the one that the store was made from.");
            return Ok(());
        }
        for difference in &differences {
            explain(&format!("{difference}: accepted."));
        }
        explain(&format!("The next order is number {first}. Start Encargo again."));
        Ok(())
    }
}
