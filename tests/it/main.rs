//! The integration tests: one binary, a file per promise or part.

mod catalog;
mod flow;
mod harness;
mod kill;
mod mail;
