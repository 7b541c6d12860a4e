//! `encargo prove`: the system as a process of its own, under customers, a shop and a mail server with bad days, killed and
//! restarted at moments that a seed chooses, and judged from outside.
//!
//! The auditor recounts log and store; what it cannot see there is looked at while it happens: every mail that arrived (`arrivals`),
//! and what the running system says (`watch`). A [`Certificate`] tells what was tried how often and what became of each promise
//! of `docs/guarantees.md`. An error means that the trial could not be made, which says nothing about the promises.

mod arrivals;
mod certificate;
mod judge;
mod page;
mod plan;
mod rest;
mod system;
mod trial;
mod watch;

pub use certificate::{Certificate, Count, Promise, Repeat};
pub use trial::Trial;
