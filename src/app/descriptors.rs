//! How many files the system lets this process open: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for everything that is no client's connection: log, store, mails, the relay, brokers, a database.
const RESERVE: u64 = 256;

/// Raises the soft limit as far as it is needed and allowed. Returns how many connections each of the listeners may have
/// at a time, so that clients who hold connections to one of them stop neither the others nor the mails.
pub(super) fn connections_max(wanted: usize, listeners: usize) -> usize {
    let needed = (wanted as u64).saturating_mul(listeners as u64).saturating_add(RESERVE);
    let limit = raise(needed);
    let possible = share(limit, listeners);
    if possible < wanted {
        tracing::warn!(
            files = limit,
            connections = possible,
            "this system lets the process open too few files for http.connections_max = {wanted} on {listeners} \
             listeners: raise the limit (ulimit -n, or LimitNOFILE= of systemd) to {needed}"
        );
    }
    possible.min(wanted)
}

fn raise(needed: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let (current, maximum) = (current.unwrap_or(u64::MAX), maximum.unwrap_or(u64::MAX));
    let target = needed.min(maximum);
    if current >= target {
        return current;
    }
    let raised = Rlimit { current: Some(target), maximum: Some(maximum).filter(|max| *max != u64::MAX) };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => target,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files from {current} to {target}");
            current
        }
    }
}

/// One listener's share; of a small limit half is kept back.
fn share(limit: u64, listeners: usize) -> usize {
    let for_clients = limit.saturating_sub(RESERVE).max(limit / 2);
    usize::try_from(for_clients / listeners.max(1) as u64).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_back_is_kept_whatever_the_limit() {
        for (limit, listeners, expected) in
            [(64, 3, 10), (256, 3, 42), (1_024, 3, 256), (1_024, 1, 768), (4_096, 3, 1_280), (2, 3, 1)]
        {
            assert_eq!(share(limit, listeners), expected, "{limit} files, {listeners} listeners");
        }
    }

    #[test]
    fn the_soft_limit_grows_as_needed_and_never_shrinks() {
        let before = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert_eq!(connections_max(1, 1), 1);
        assert!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) >= before);
    }
}
