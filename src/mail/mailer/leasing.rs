//! How mails come in: those that were leased as they were made are handed over, others are leased from the ledger.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{Deps, Mailer, destinations::Admission, queue::Queue};
use crate::{
    mail::Result,
    store::{
        self,
        handover::{Handed, Handover},
        ledger::Mail,
    },
};

/// A due time that has passed already must not make a busy loop.
const WAIT_MIN: Duration = Duration::from_millis(10);

/// What to do after a look into the ledger.
enum Next {
    Again,
    Wait(Duration),
    /// Nothing was due, and nothing new can be before the time that was found last.
    WaitAsBefore,
}

/// What is handed over to a mailer is nobody's once that is gone.
pub(super) struct Taking(pub(super) Handover);

impl Drop for Taking {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Mailer {
    /// Takes mails in until `stop`.
    pub(super) async fn lease_loop(&self, queue: &Queue, stop: &CancellationToken) -> Result<()> {
        let Deps { handover, env, .. } = &self.deps;
        let (mut looks, mut due, mut knows_due) = (true, env.clock.monotonic(), false);
        while !stop.is_cancelled() {
            // armed before anything is asked, so that no call between asking and waiting is lost
            let rung = handover.rung();
            tokio::pin!(rung);
            rung.as_mut().enable();
            if self.accept(queue) {
                (looks, knows_due) = (true, false);
            }
            if looks {
                // before it looks for room, so that none that comes meanwhile is missed
                self.progress.wants_room.store(true, SeqCst);
                match self.lease(queue, knows_due).await {
                    Ok(Next::Again) => continue,
                    Ok(Next::Wait(wait)) => due = env.clock.monotonic() + wait,
                    Ok(Next::WaitAsBefore) => {}
                    Err(e) => {
                        handover.offer(0, self.options.lease);
                        self.store_failed(e, stop).await?;
                        continue;
                    }
                }
            }
            (looks, knows_due) = tokio::select! {
                biased;
                () = stop.cancelled() => (false, false),
                () = &mut rung => (false, false),
                // what is to be tried again waits for longer than anybody does here
                () = self.progress.bell.notified() => (true, true),
                () = env.clock.sleep_until(due) => (true, false),
            };
        }
        Ok(())
    }

    /// Takes what was handed over; returns whether there may be more in the ledger.
    pub(super) fn accept(&self, queue: &Queue) -> bool {
        let (handed, is_called) = self.deps.handover.take();
        for Handed { mails, grant } in handed {
            self.leases.hold(&mails, grant.leasing.until, grant.expires);
            self.enqueue(queue, mails);
        }
        is_called
    }

    fn enqueue(&self, queue: &Queue, mails: Vec<Mail>) {
        self.deps.metrics.in_flight.inc_by(mails.len() as i64);
        queue.push(mails);
    }

    /// Leases once, if there is room and the destination can be reached. Says how many mails may be handed over from now on:
    /// none while there are others to be leased, which go first.
    async fn lease(&self, queue: &Queue, knows_due: bool) -> store::Result<Next> {
        let Deps { ledger, env, metrics, handover, .. } = &self.deps;
        let in_flight = metrics.in_flight.get() as usize; // nobody else adds to it
        let most = self.in_flight_max();
        let (limit, most) = match self.destinations.admit() {
            Admission::Closed(wait) => return Ok(self.wait_without(wait.max(WAIT_MIN))),
            Admission::Probe if in_flight > 0 => return Ok(self.wait_without(self.options.poll)),
            Admission::Probe => (1, in_flight + 1),
            Admission::Open(window) => (self.options.lease_max.min(window).min(most), most.min(window)),
        };
        // a small lease costs as much as a large one: wait for more room, which the next settlement makes
        if most.saturating_sub(in_flight) < limit {
            return Ok(self.wait_without(self.options.poll));
        }
        let mails = self.leases.take(limit).await?;
        let count = mails.len();
        self.enqueue(queue, mails);
        if count == limit {
            handover.offer(0, self.options.lease);
            return Ok(Next::Again);
        }
        self.progress.wants_room.store(false, SeqCst);
        handover.offer(limit.min(most - in_flight - count), self.options.lease);
        if count > 0 {
            return Ok(Next::Wait(self.options.poll)); // or until the first of these is settled
        }
        if knows_due {
            return Ok(Next::WaitAsBefore);
        }
        let due = ledger.next_due().await?.map(|due| due.since(env.clock.now()));
        Ok(Next::Wait(due.unwrap_or(self.options.poll).clamp(WAIT_MIN, self.options.poll)))
    }

    /// Mails wait in the ledger for so long.
    fn wait_without(&self, wait: Duration) -> Next {
        self.deps.handover.offer(0, self.options.lease);
        Next::Wait(wait)
    }

    /// What can wait for its turn at a bounded rate and still be sent before its lease ends.
    fn in_flight_max(&self) -> usize {
        let Some(rate) = self.deps.transport.rate_max() else { return self.options.in_flight_max };
        let in_time = (self.options.lease / 4).as_secs().saturating_mul(rate.get().into()) as usize;
        self.options.in_flight_max.min(in_time.max(1))
    }
}
