use std::{sync::Arc, time::Duration};

use super::Invalid;

/// One state of the flow and how long an order stays in it before the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The state's name on the wire (`estado`).
    pub state: Arc<str>,
    /// Time until the next state; unused on the last one.
    pub dwell: Duration,
}

/// The states of an order, in order. An event's sequence number is its state's place, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow(Vec<Step>);

impl Flow {
    /// The states of the old services.
    pub const STATES: [&'static str; 4] = ["recibido", "preparando", "entregando", "finalizado"];
    /// Most states a flow can have; sequence numbers stay one byte.
    pub const STEPS_MAX: usize = 100;

    /// Checks the steps: at least one, names short, plain and different from each other.
    pub fn new(steps: Vec<Step>) -> Result<Self, Invalid> {
        if steps.is_empty() || steps.len() > Self::STEPS_MAX {
            return Err(Invalid::because("flow: must have 1 to 100 states"));
        }
        for (i, step) in steps.iter().enumerate() {
            let plain = step.state.chars().all(|c| c.is_alphanumeric() || "-_ ".contains(c));
            if step.state.trim().is_empty() || step.state.len() > 64 || !plain {
                return Err(Invalid::because(
                    "flow: a state's name must have 1 to 64 bytes of letters, digits, - and _",
                ));
            }
            if steps[..i].iter().any(|other| other.state == step.state) {
                return Err(Invalid(format!("flow: the state {:?} is there twice", step.state).into()));
            }
        }
        Ok(Self(steps))
    }

    /// The four states of the old services, with the same dwell in each.
    pub fn standard(dwell: Duration) -> Self {
        Self(Self::STATES.map(|state| Step { state: state.into(), dwell }).into())
    }

    /// The steps in order; `steps()[seq - 1]` is the step with that sequence number.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Number of states, which is also the last sequence number.
    pub fn last_seq(&self) -> u8 {
        self.0.len() as u8
    }

    /// The step of a sequence number, counted from 1.
    pub fn step(&self, seq: u8) -> Option<&Step> {
        self.0.get(usize::from(seq).checked_sub(1)?)
    }

    /// The sequence number of a state, counted from 1.
    pub fn seq_of(&self, state: &str) -> Option<u8> {
        self.0.iter().position(|step| &*step.state == state).map(|i| i as u8 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_are_places_from_one() {
        let flow = Flow::standard(Duration::from_secs(8));
        assert_eq!(flow.seq_of("recibido"), Some(1));
        assert_eq!(flow.seq_of("finalizado"), Some(flow.last_seq()));
        assert_eq!(flow.step(2).map(|s| &*s.state), Some("preparando"));
        assert_eq!((flow.step(0), flow.step(5), flow.seq_of("perdido")), (None, None, None));
    }

    #[test]
    fn refuses_flows_that_cannot_be_told_apart() {
        let step = |state: &str| Step { state: state.into(), dwell: Duration::ZERO };
        for states in [vec![], vec![step("")], vec![step("a"), step("a")], vec![step("a\r\nb")]] {
            assert!(Flow::new(states).is_err());
        }
    }
}
