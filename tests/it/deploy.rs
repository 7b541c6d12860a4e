//! As a service of the system, in a container, or on Kubernetes: what the service manager is told, and what unit, image and manifests say.

mod container;
mod manifests;
mod service;
