//! Encargo takes orders over HTTP, moves each one through its states on time, and tells the customer at every state.
//!
//! The modules in reading order follow the path of one order.

pub mod domain;

mod causes;
pub mod clock;
pub mod commands;
pub mod env;
pub mod eventlog;
pub mod faults;
pub mod files;
pub mod reach;
pub mod refusals;
pub mod request;
pub mod role;
pub mod spans;
pub mod sqlite;
pub mod store;
pub mod tls;

pub mod busy;
pub mod catalog;
pub mod contract;
pub mod demand;
pub mod flows;
pub mod forecast;
pub mod intake;
pub mod scale;

pub mod fulfilment;

pub mod forward;

pub mod tracking;

pub mod mail;

pub mod ops;
pub mod pages;
pub mod registry;
pub mod web;
pub mod words;

pub mod app;
pub mod audit;
#[expect(clippy::disallowed_methods, reason = "it measures the world as it is")]
pub mod bench;
#[expect(clippy::disallowed_methods, reason = "a command runs in the world as it is")]
pub mod cli;
pub mod config;
#[cfg(debug_assertions)]
mod flaws;
#[cfg(test)]
mod planted;
#[expect(clippy::disallowed_methods, reason = "it tries the world as it is")]
pub mod prove;
pub mod sim;
pub mod telemetry;
