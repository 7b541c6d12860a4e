//! What measures and tries the system from outside: customers that order by a schedule ([`load`]), a shop that changes their
//! orders ([`shop`]), a mail server that keeps account
//! and misbehaves as it is told ([`sink`]), a reader of metrics ([`scrape`]), and the system as a process ([`process`]).
//!
//! It reads `/metrics` and `/proc`, speaks HTTP and SMTP, and shares no state with what it measures. Commands, tests and benches
//! use this one kit.

pub mod load;
pub mod process;
pub mod scrape;
pub mod shop;
pub mod sink;
pub mod stats;
pub mod usage;
