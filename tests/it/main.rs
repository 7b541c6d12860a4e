//! The integration tests: one binary, a file per promise or part.

mod agreement;
mod catalog;
mod chance;
mod cli;
mod commands;
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
mod mail;
mod mail_seen;
mod mailbox;
mod overload;
mod pages;
mod roles;
mod setup;
mod shop;
mod store;
mod support;
mod tracking;
mod upgrade;
mod web;
