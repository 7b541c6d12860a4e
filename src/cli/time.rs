//! Times for people.

use std::time::Duration;

use crate::domain::Timestamp;

/// `3 s`, `5 min`, `2 h`, `4 d`: the largest unit that fits.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// `12 s ago`.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    if at > now + Duration::from_secs(1) {
        return format!("in {}", span(at.since(now)));
    }
    match now.since(at) {
        passed if passed < Duration::from_secs(1) => "just now".into(),
        passed => format!("{} ago", span(passed)),
    }
}

/// `in 3 s`, and once it is past, `4 min late`.
pub(super) fn due(at: Timestamp, now: Timestamp) -> String {
    if now.since(at) >= Duration::from_secs(1) {
        return format!("{} late", span(now.since(at)));
    }
    match at.since(now) {
        left if left < Duration::from_secs(1) => "now".into(),
        left => format!("in {}", span(left)),
    }
}

/// `2026-01-31 12:00:00 UTC`.
pub(super) fn full(at: Timestamp) -> String {
    let text = at.to_string();
    let (day, time) = text.split_once('T').unwrap_or((&text, ""));
    format!("{day} {} UTC", time.split('.').next().unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_long() {
        let now = Timestamp::from_millis(1_764_000_000_000);
        let second = Duration::from_secs(1);
        let passed = [0, 1, 59, 60, 3_599, 3_600, 100_000, 172_800].map(|n| ago(now - second * n, now));
        assert_eq!(
            passed,
            ["just now", "1 s ago", "59 s ago", "1 min ago", "59 min ago", "1 h ago", "27 h ago", "2 d ago"]
        );
        assert_eq!(ago(now + second * 90, now), "in 1 min");
        assert_eq!(
            [due(now + second * 3, now), due(now, now), due(now - second * 3, now)],
            ["in 3 s", "now", "3 s late"]
        );
        assert_eq!(full(now), "2025-11-24 16:00:00 UTC");
    }
}
