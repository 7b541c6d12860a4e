//! Faults that a test says one by one: what happens to the next appends to a topic.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use encargo::{
    eventlog::Error,
    faults::{Call, Fault, Faults},
};

/// Taken one by one, first the first; none left, and all is well.
pub struct Script {
    topic: &'static str,
    faults: Mutex<VecDeque<Fault<Error>>>,
}

impl Script {
    pub fn of_appends_to(topic: &'static str) -> Arc<Self> {
        Arc::new(Self { topic, faults: Mutex::default() })
    }

    pub fn then(&self, fault: Fault<Error>) {
        self.faults.lock().unwrap().push_back(fault);
    }
}

impl Faults<Error> for Script {
    fn next(&self, call: Call<'_>) -> Option<Fault<Error>> {
        let is_ours = call == Call { name: "append", of: self.topic };
        if is_ours { self.faults.lock().unwrap().pop_front() } else { None }
    }
}
