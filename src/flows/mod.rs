//! Flows outside the order's life: files that people write, what a change of them means, and how long orders would take.
//!
//! The versions in use live in the log ([`topic`]). Nothing here runs orders. What a flow is and what it allows, `domain::flow` says.

pub mod diff;
pub mod file;
pub mod simulate;
pub mod topic;
mod words;

pub use words::{exception, keys};
