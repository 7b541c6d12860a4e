use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use subtle::ConstantTimeEq as _;

use crate::{clock::Monotonic, env::Env, pages::Visit};

/// Most sessions at a time; for one more the oldest ends.
const SESSIONS_MAX: usize = 100;
/// How long a session lasts: a day's work.
pub(super) const LASTS: Duration = Duration::from_hours(12);

/// Who is logged in at this process. A restart ends all.
#[derive(Default)]
pub(super) struct Sessions(Mutex<VecDeque<Session>>);

struct Session {
    /// What its cookie holds.
    secret: String,
    visit: Visit,
    ends: Monotonic,
}

/// 128 bits of chance, as text.
pub(super) fn random(env: &Env) -> Result<String, getrandom::Error> {
    let mut random = [0; 16];
    env.random.fill(&mut random)?;
    Ok(format!("{:032x}", u128::from_be_bytes(random)))
}

impl Sessions {
    /// A new session: the secret of its cookie, and its name, which is none.
    pub(super) fn begin(&self, env: &Env) -> Result<(String, String), getrandom::Error> {
        let [secret, form, name] = [random(env)?, random(env)?, random(env)?];
        let (name, now) = (name[..6].to_owned(), env.clock.monotonic());
        let mut sessions = self.alive(now);
        if sessions.len() >= SESSIONS_MAX {
            sessions.pop_front();
        }
        let visit = Visit { form, session: Some(name.clone()) };
        sessions.push_back(Session { secret: secret.clone(), visit, ends: now + LASTS });
        Ok((secret, name))
    }

    /// The session of a cookie.
    pub(super) fn find(&self, now: Monotonic, secret: &str) -> Option<Visit> {
        let sessions = self.alive(now);
        sessions.iter().find(|session| session.is_of(secret)).map(|session| session.visit.clone())
    }

    /// Ends the session of a cookie.
    pub(super) fn end(&self, now: Monotonic, secret: &str) {
        self.alive(now).retain(|session| !session.is_of(secret));
    }

    fn alive(&self, now: Monotonic) -> MutexGuard<'_, VecDeque<Session>> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner); // whole after each step
        sessions.retain(|session| session.ends > now);
        sessions
    }
}

impl Session {
    fn is_of(&self, secret: &str) -> bool {
        self.secret.as_bytes().ct_eq(secret.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, domain::Timestamp};

    #[test]
    fn sessions_are_bounded_in_number_and_in_time_and_end_when_told() {
        let env = Env::simulated(Clock::manual(Timestamp::from_millis(0)), 7);
        let (sessions, now) = (Sessions::default(), env.clock.monotonic());
        let secrets: Vec<_> = (0..=SESSIONS_MAX).map(|_| sessions.begin(&env).unwrap().0).collect();
        assert!(sessions.find(now, &secrets[0]).is_none(), "the oldest has gone");
        let (second, last) =
            (sessions.find(now, &secrets[1]).unwrap(), sessions.find(now, &secrets[SESSIONS_MAX]).unwrap());
        assert!(second.form != last.form && second.session != last.session);
        for wrong in ["", "x", &secrets[1][1..], &format!("{}0", secrets[1])] {
            assert!(sessions.find(now, wrong).is_none(), "{wrong}");
        }
        sessions.end(now, &secrets[1]);
        assert!(sessions.find(now, &secrets[1]).is_none() && sessions.find(now, &secrets[2]).is_some());
        assert!(sessions.find(now + LASTS, &secrets[2]).is_none());
        assert!(sessions.0.lock().unwrap().is_empty(), "and nothing of them is kept");
    }
}
