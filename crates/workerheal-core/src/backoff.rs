//! Exponential backoff with a cap and jitter, as a pure function of the attempt.

use std::time::Duration;

/// How long to wait before the next attempt: `initial * factor^(n-1)`, at most `max`, give or
/// take `jitter`. Valid by construction.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    initial: Duration,
    factor: f64,
    max: Duration,
    jitter: f64,
}

/// An invalid setting, described for the author of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBackoff {
    /// A wait of zero would restart in a tight loop.
    #[error("`initial` must be longer than zero")]
    Initial,
    /// A factor below 1 would shrink the waits.
    #[error("`factor` must be a number from 1 to 100")]
    Factor,
    /// The cap would cut off the first wait.
    #[error("`max` must not be shorter than `initial`")]
    Max,
    /// Jitter can be at most the whole wait.
    #[error("`jitter` must be a number from 0 to 1")]
    Jitter,
}

impl Backoff {
    /// A backoff that starts at `initial`, grows by `factor` up to `max`, and varies by the share
    /// `jitter` (0.1 is ten per cent either way) so that workers that failed together do not
    /// return together.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names it.
    pub fn new(initial: Duration, factor: f64, max: Duration, jitter: f64) -> Result<Self, InvalidBackoff> {
        if initial.is_zero() {
            return Err(InvalidBackoff::Initial);
        }
        if !(1.0..=100.0).contains(&factor) {
            return Err(InvalidBackoff::Factor);
        }
        if max < initial {
            return Err(InvalidBackoff::Max);
        }
        if !(0.0..=1.0).contains(&jitter) {
            return Err(InvalidBackoff::Jitter);
        }
        Ok(Self { initial, factor, max, jitter })
    }

    /// The wait after `failures` failed attempts in a row. The first attempt is made at once.
    ///
    /// `random` is a number from 0 (inclusive) to 1 (exclusive) that picks the place in the jitter.
    #[must_use]
    pub fn wait(&self, failures: u32, random: f64) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let exponent = i32::try_from(doublings).unwrap_or(i32::MAX);
        // Infinity is fine here: the cap takes care of it.
        let grown = self.initial.as_secs_f64() * self.factor.powi(exponent);
        let capped = grown.min(self.max.as_secs_f64());
        let spread = 1.0 + self.jitter * (2.0 * random.clamp(0.0, 1.0) - 1.0);
        Duration::try_from_secs_f64(capped * spread).unwrap_or(self.max)
    }
}

impl Default for Backoff {
    /// 1 s, 2 s, 4 s, ... up to 5 min, give or take a tenth.
    fn default() -> Self {
        Self { initial: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(300), jitter: 0.1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_attempt_is_made_at_once_and_then_waits_double() {
        let backoff = Backoff::new(Duration::from_secs(1), 2.0, Duration::from_secs(300), 0.0).unwrap();
        let waits: Vec<u64> = (0..12).map(|n| backoff.wait(n, 0.5).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn the_jitter_goes_from_shorter_to_longer_waits() {
        let backoff = Backoff::new(Duration::from_secs(10), 2.0, Duration::from_secs(300), 0.2).unwrap();
        assert_eq!([0.0, 0.5, 1.0].map(|random| backoff.wait(1, random).as_secs()), [8, 10, 12]);
    }

    #[test]
    fn settings_without_sense_are_refused_by_name() {
        let second = Duration::from_secs(1);
        for (initial, factor, max, jitter, why) in [
            (Duration::ZERO, 2.0, second, 0.1, InvalidBackoff::Initial),
            (second, 0.5, second, 0.1, InvalidBackoff::Factor),
            (second, f64::NAN, second, 0.1, InvalidBackoff::Factor),
            (second, 2.0, Duration::from_millis(999), 0.1, InvalidBackoff::Max),
            (second, 2.0, second, 1.5, InvalidBackoff::Jitter),
            (second, 2.0, second, f64::NAN, InvalidBackoff::Jitter),
        ] {
            assert_eq!(Backoff::new(initial, factor, max, jitter), Err(why));
        }
    }

    prop_compose! {
        fn any_backoff()(
            initial in 1u64..100_000, factor in 1.0f64..100.0, more in 0u64..10_000_000, jitter in 0.0f64..=1.0,
        ) -> Backoff {
            let initial = Duration::from_millis(initial);
            Backoff::new(initial, factor, initial + Duration::from_millis(more), jitter).unwrap()
        }
    }

    proptest! {
        #[test]
        fn a_wait_stays_within_the_cap_and_its_jitter(backoff in any_backoff(), n in any::<u32>(), random in 0.0f64..1.0) {
            let wait = backoff.wait(n, random).as_secs_f64();
            prop_assert!(wait <= backoff.max.as_secs_f64() * (1.0 + backoff.jitter) + 1e-6);
            if n > 0 {
                prop_assert!(wait >= backoff.initial.as_secs_f64() * (1.0 - backoff.jitter) - 1e-6);
            }
        }

        #[test]
        fn without_a_change_of_luck_waits_never_shrink(backoff in any_backoff(), n in 0u32..1000, random in 0.0f64..1.0) {
            prop_assert!(backoff.wait(n, random) <= backoff.wait(n + 1, random));
        }
    }
}
