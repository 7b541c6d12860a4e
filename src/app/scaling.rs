use crate::{config::Config, role::Role, scale};

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
