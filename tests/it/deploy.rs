//! As a service of the system or in a container: what the service manager is told, and what the unit and the image allow.

mod container;
mod service;
