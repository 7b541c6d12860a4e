//! Pauses that grow, and never agree.

use std::time::Duration;

use crate::env::Random;

/// Exponential backoff with full jitter above a floor: between `min` and `min` · 2^`attempt`, at most `max`.
///
/// The jitter spreads what failed together (AWS Architecture Blog, "Exponential Backoff And Jitter").
pub(super) fn backoff(random: &Random, min: Duration, max: Duration, attempt: u32) -> Duration {
    let ceiling = min.saturating_mul(1_u32.checked_shl(attempt).unwrap_or(u32::MAX)).min(max).max(min);
    min + random.spread(ceiling.saturating_sub(min))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_within_their_bounds() {
        let (min, max) = (Duration::from_secs(5), Duration::from_mins(10));
        let random = Random::seeded(1);
        for attempt in [1, 2, 3, 7, 31, 32, 33, u32::MAX] {
            let ceiling = max.min(min * 2_u32.saturating_pow(attempt).min(1_000));
            for _ in 0..50 {
                let delay = backoff(&random, min, max, attempt);
                assert!(delay >= min && delay <= ceiling, "{attempt}: {delay:?}");
            }
        }
        let delays: std::collections::HashSet<_> = (0..50).map(|_| backoff(&random, min, max, 9)).collect();
        assert!(delays.len() > 40, "spread over the range");
    }
}
