//! As a service of the system: what the service manager is told, and what the unit allows.

mod service;
