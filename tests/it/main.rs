//! All integration tests: one binary, one file for each promise.

mod eventlog;
