//! Mailers: the real service on a runtime of its own, which goes on only when it is picked.

use std::sync::{Arc, LazyLock};

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::instance::Shared;
use crate::{
    clock::Monotonic,
    domain::{Flow, Lang},
    faults::FaultyStore,
    mail::{self, Composer, compose},
};

static COMPOSER: LazyLock<Arc<Composer>> = LazyLock::new(|| {
    let options = compose::Options {
        from: "shop@shop.example".parse().expect("an address"),
        from_name: None,
        domain: None,
        deployment: "simulated".into(),
        lang: Lang::Es,
        zone: jiff::tz::TimeZone::UTC,
        track: None,
        handles: None,
        templates: None,
        flow: Flow::standard(std::time::Duration::from_secs(8)),
    };
    Arc::new(Composer::new(options).expect("the built-in templates render"))
});

pub(super) struct Mailer {
    slot: u32,
    process: Option<Process>,
    /// It does nothing before then.
    pub(super) stalled_until: Monotonic,
}

struct Process {
    runtime: Runtime,
    stop: CancellationToken,
    ends: JoinHandle<mail::Result<()>>,
}

impl Mailer {
    pub(super) const fn new(slot: u32) -> Self {
        Self { slot, process: None, stalled_until: Monotonic::ZERO }
    }

    pub(super) fn name(&self) -> String {
        format!("mailer {}", self.slot)
    }

    /// Starts, or has each of its tasks go on so many times; returns what it did.
    pub(super) fn step(&mut self, shared: &Shared, times: u32) -> Result<&'static str, String> {
        if shared.env.clock.monotonic() < self.stalled_until {
            return Ok("stalls");
        }
        let Some(Process { runtime, ends, .. }) = &mut self.process else {
            self.process = Some(start(shared, self.slot));
            return Ok("starts");
        };
        runtime.block_on(async {
            for _ in 0..times {
                tokio::task::yield_now().await;
            }
        });
        if !ends.is_finished() {
            return Ok("goes on");
        }
        let ended = runtime.block_on(ends);
        self.process = None;
        match ended {
            Ok(Ok(())) => Ok("has stopped"),
            Ok(Err(error)) => Err(format!("{} ended: {error}", self.name())),
            Err(error) => Err(format!("{} ended: {error}", self.name())),
        }
    }

    /// It dies: what it holds stays leased.
    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    /// It is to stop in order.
    pub(super) fn stop(&self) {
        if let Some(process) = &self.process {
            process.stop.cancel();
        }
    }
}

fn start(shared: &Shared, slot: u32) -> Process {
    let runtime = Builder::new_current_thread().build().expect("a runtime without I/O");
    let store = FaultyStore::new(Arc::new(shared.store.clone()), shared.trouble.clone(), shared.env.clock.clone());
    let deps = mail::Deps {
        ledger: Arc::new(store),
        composer: COMPOSER.clone(),
        transport: shared.peer.clone(),
        env: shared.env.clone(),
        handover: shared.handovers[slot as usize].clone(),
        metrics: mail::Metrics::register(&mut prometheus_client::registry::Registry::default()),
    };
    let stop = CancellationToken::new();
    let ends = runtime.spawn(mail::Mailer::new(deps, shared.setup.mail()).run(stop.clone()));
    Process { runtime, stop, ends }
}
