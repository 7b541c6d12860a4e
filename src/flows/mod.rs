//! Flows outside the order's life: files that people write, what a change of them means, and how long orders would take.
//!
//! Nothing here runs orders. What a flow is and what it allows, `domain::flow` says.

pub mod diff;
pub mod file;
pub mod simulate;
mod words;

pub use words::{exception, keys};
