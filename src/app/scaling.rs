use crate::{config::Config, domain::Flow, forecast::Load, role::Role, scale};

/// How it is decided how many instances of each role are wanted.
pub fn scaling(config: &Config) -> scale::Settings {
    let of = &config.scale;
    let rules = scale::Rules {
        load: f64::from(of.load) / 100.0,
        start: of.start,
        down_after: of.down_after,
        ..scale::Rules::default()
    };
    let capacity = [of.intake, of.fulfilment, of.tracking, of.mail];
    let capacity = capacity.map(|per_s| (per_s > 0).then_some(f64::from(per_s)));
    scale::Settings { rules, capacity, zero: of.zero.iter().filter_map(|name| Role::named(name)).collect() }
}

/// What an order means for each role: as many states as the flow has, and a mail for each of them.
pub fn loads(config: &Config, flow: &Flow) -> [Load; Role::ALL.len()] {
    let states = flow.steps().len() as f64;
    let mails = if config.mail_url().is_off() { 0.0 } else { states };
    let is_shared = config.log_url().is_shared();
    Role::ALL.map(|role| {
        let per_order = [1.0, 1.0, states, mails][role as usize];
        let shares = match role {
            _ if !is_shared => Some(1),
            Role::Fulfilment | Role::Tracking => Some(config.log.partitions),
            Role::Intake | Role::Mail => None,
        };
        Load { per_order, shares }
    })
}
