//! What this deployment calls what the contract tells of.

use crate::{
    config::{Config, Topics},
    contract::Deployment,
    fulfilment,
    role::Role,
    tracking,
};

/// The names of topics and groups.
pub fn deployment(config: &Config) -> Deployment {
    let Topics { orders, states, commands, outcomes, dead, .. } = config.topics.clone();
    Deployment {
        topics: [
            ("orders", orders),
            ("states", states),
            ("commands", commands),
            ("outcomes", outcomes),
            ("dead", dead),
        ],
        groups: [(Role::Fulfilment, fulfilment::GROUP), (Role::Tracking, tracking::GROUP)],
    }
}
