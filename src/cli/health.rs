use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use super::{
    Settings,
    http::{by_proxy, client_for, root_cause},
    output::{Out, plain},
};

/// Flags of `encargo health`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  encargo health\n  encargo health --url http://shop.example:9000\n\n\
                        The status is 0 when it is ready, 1 when it is not or does not answer.")]
pub(super) struct Health {
    /// Where operations are [default: http:// and ops.listen]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

impl Health {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode> {
        let base = match self.url {
            Some(url) => url,
            None => format!("http://{}", settings.load(&[])?.config.ops.listen),
        };
        let url = format!("{}/readyz", base.trim_end_matches('/'));
        let answer = client_for(&url)?.get(&url).send().await;
        let answer = answer
            .map_err(|error| anyhow::anyhow!("{url} does not answer{}: {}", by_proxy(&url), root_cause(&error)))?;
        let is_ready = answer.status().is_success();
        let checks = answer.text().await.with_context(|| format!("{url} breaks off its answer"))?;
        let mut out = Out::new();
        out.line(&plain(checks.trim_end()))?;
        out.flush()?;
        Ok(if is_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
