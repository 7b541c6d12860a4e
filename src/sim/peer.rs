//! A mail server that misbehaves: it accepts, puts off, refuses, is slow, or does not say what it did.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fastrand::Rng;

use crate::{
    audit,
    clock::Clock,
    mail::{About, Message, Outcome, Refusal, Scope, Transport},
};

pub(super) struct Peer {
    rng: Mutex<Rng>,
    clock: Clock,
    /// Answers take up to this time when they are slow.
    slow_max: Duration,
    of_thousand: AtomicU64,
    arrived: Mutex<Vec<audit::Mail>>,
}

impl Peer {
    pub(super) fn new(rng: Rng, clock: Clock, slow_max: Duration) -> Self {
        let (rng, of_thousand, arrived) = (Mutex::new(rng), AtomicU64::new(0), Mutex::default());
        Self { rng, clock, slow_max, of_thousand, arrived }
    }

    /// It misbehaves with so many of 1,000 mails from now on.
    pub(super) fn set(&self, of_thousand: u64) {
        self.of_thousand.store(of_thousand, Ordering::Relaxed);
    }

    /// What it has accepted, in that order.
    pub(super) fn arrived(&self) -> Vec<audit::Mail> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn accept(&self, message: &Message) {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let mail = audit::parse_mail(&String::from_utf8_lossy(&message.raw)).expect("a mail has its headers");
        let arrival = Some(arrived.len() as u64);
        arrived.push(audit::Mail { arrival, ..mail });
    }

    fn draw(&self) -> (Option<u32>, Duration) {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let misbehaves = rng.u64(0..1_000) < self.of_thousand.load(Ordering::Relaxed);
        (misbehaves.then(|| rng.u32(0..9)), self.slow_max.mul_f64(rng.f64()))
    }

    async fn take(&self, message: &Message) -> Outcome {
        let (how, time) = self.draw();
        let text = || "by chance".to_owned();
        match how {
            Some(0) => return Outcome::Ambiguous(text()),
            Some(1) => return Outcome::Transient(Scope::Mail, text()),
            Some(2) => return Outcome::Busy(text()),
            Some(3) => return Outcome::Unreachable(text()),
            Some(4) => {
                return Outcome::Refused(Refusal {
                    about: About::Mailbox,
                    words: "550 no such user".into(),
                    text: text(),
                });
            }
            Some(5) => return Outcome::Permanent(text()),
            Some(6) => self.clock.sleep(time).await,
            _ => {}
        }
        self.accept(message);
        match how {
            Some(7) => Outcome::Ambiguous(text()),
            Some(8) => {
                self.clock.sleep(time).await;
                Outcome::Sent(text())
            }
            _ => Outcome::Sent(text()),
        }
    }
}

#[async_trait]
impl Transport for Peer {
    fn name(&self) -> String {
        "smtp://peer.example".into()
    }

    fn concurrency(&self) -> usize {
        2
    }

    fn batch_max(&self) -> usize {
        2
    }

    async fn deliver(&self, messages: Vec<Message>) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(messages.len());
        for message in &messages {
            outcomes.push(self.take(message).await);
        }
        outcomes
    }

    async fn probe(&self) -> Result<String, String> {
        Ok(self.name())
    }

    async fn close(&self) {}
}
