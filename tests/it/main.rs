//! The integration tests: one binary, a file per promise or part.

mod access;
mod agreement;
mod bench;
mod browser;
mod catalog;
mod chance;
mod cli;
mod commands;
mod contracts;
mod crowd;
mod deploy;
mod desk;
mod documents;
mod eventlog;
mod faults;
mod flow;
mod flows;
mod foreign;
mod forward;
#[cfg(feature = "kafka")]
mod fulfilment;
mod guard;
mod harness;
mod hostile;
mod idempotency;
mod ids;
mod intake;
mod kill;
mod ledger;
#[cfg(feature = "kafka")]
mod log_check;
mod mail;
mod mail_seen;
mod mailbox;
mod metrics;
mod overload;
mod pages;
mod prove;
mod registry;
mod roles;
mod scale;
mod setup;
mod shop;
#[cfg(feature = "otlp")]
mod spans;
mod store;
mod support;
mod tracking;
mod upgrade;
mod web;
