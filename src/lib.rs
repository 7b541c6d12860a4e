//! Encargo takes orders over HTTP, moves each one through its states on time, and tells the customer at every state.
//!
//! The modules in reading order follow the path of one order.

pub mod domain;

pub mod clock;
pub mod eventlog;
pub mod mail;
pub mod sqlite;
pub mod store;
