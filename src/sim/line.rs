//! The flow of a simulated shop, as plain data: the services are given a flow that is made of it, the model knows only this.

use std::time::Duration;

use fastrand::Rng;

use crate::{
    audit,
    domain::{
        Flow, Step,
        flow::{Dwell, Leave, Parts},
    },
};

/// The name of all versions.
const NAME: &str = "shop";

/// How a state is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// After a time.
    Timer(Duration),
    /// When somebody says so.
    Command,
    /// By whichever comes first.
    Either(Duration),
}

/// One version: its states, in order, each with how it is left; the last one is an end.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) version: u32,
    pub(super) states: Vec<(&'static str, Option<Left>)>,
}

impl Left {
    /// The time, where there is one.
    pub(super) const fn dwell(self) -> Option<Duration> {
        match self {
            Self::Timer(dwell) | Self::Either(dwell) => Some(dwell),
            Self::Command => None,
        }
    }
}

impl Line {
    /// The states of the old services.
    pub(super) fn standard(dwell: Duration) -> Self {
        Self::of(1, &Flow::STATES, || Left::Timer(dwell))
    }

    /// A version in which people have their part.
    pub(super) fn draw(rng: &mut Rng, version: u32, dwell: impl Fn(&mut Rng) -> Duration) -> Self {
        let longer: [&'static str; 5] = ["recibido", "preparando", "horneando", "entregando", "finalizado"];
        let names = if rng.bool() { &longer[..] } else { &Flow::STATES };
        Self::of(version, names, || match rng.u32(0..4) {
            0 => Left::Command,
            1 => Left::Either(dwell(rng)),
            _ => Left::Timer(dwell(rng)),
        })
    }

    fn of(version: u32, names: &[&'static str], mut left: impl FnMut() -> Left) -> Self {
        let last = names.len() - 1;
        let states = names.iter().enumerate().map(|(i, name)| (*name, (i < last).then(&mut left)));
        Self { version, states: states.collect() }
    }

    /// How events name it.
    pub(super) fn id(&self) -> String {
        format!("{NAME}@{}", self.version)
    }

    pub(super) fn flow(&self) -> Flow {
        let step = |&(state, left): &(&str, Option<Left>)| {
            let leave = left.map(|left| match left {
                Left::Timer(dwell) => Leave::Timer(Dwell::always(dwell)),
                Left::Command => Leave::Command { expect: None },
                Left::Either(dwell) => Leave::Either { dwell: Dwell::always(dwell), expect: None },
            });
            Step { leave, ..Step::timer(state, Duration::ZERO) }
        };
        let (name, steps) = (NAME.to_owned(), self.states.iter().map(step).collect());
        let parts = Parts { name, version: self.version, steps, cancelled: None, refused: None };
        Flow::of(parts).expect("plain names and short times")
    }

    /// The states with their times, as the auditor takes them.
    pub(super) fn rules(&self) -> audit::Line {
        self.states.iter().map(|(state, left)| ((*state).to_owned(), left.and_then(Left::dwell))).collect()
    }
}
