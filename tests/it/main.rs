//! The integration tests: one binary, a file per promise or part.

mod catalog;
mod eventlog;
mod flow;
mod harness;
mod intake;
mod kill;
mod web;
