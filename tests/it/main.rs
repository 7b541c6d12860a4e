//! The integration tests: one binary, one file per subject.

mod catalog;
mod idempotency;
mod ids;
mod intake;
mod overload;
mod support;
mod web;
