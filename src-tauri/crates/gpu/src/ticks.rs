//! A beat that skips what it missed, so that nothing bursts after a pause.

use std::time::{Duration, Instant};

/// Equally spaced instants.
pub(crate) struct Ticks {
    next: Instant,
    interval: Duration,
}

impl Ticks {
    /// The first tick is due at `first`.
    pub(crate) fn new(first: Instant, interval: Duration) -> Self {
        Self { next: first, interval }
    }

    /// When the next tick is due.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// Takes the tick that is due at `now`, and all that were missed with it; false where none is due.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next += self.interval;
        if self.next <= now {
            let late_ns = (now - self.next).as_nanos() % self.interval.as_nanos().max(1);
            let left_ns = self.interval.as_nanos() - late_ns;
            self.next = now + Duration::from_nanos(u64::try_from(left_ns).expect("an interval is at most a minute"));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_ticks_are_skipped_and_the_beat_is_kept() {
        let begin = Instant::now();
        let ms = Duration::from_millis;
        let mut ticks = Ticks::new(begin, ms(100));
        assert!(ticks.take(begin));
        assert!(!ticks.take(begin + ms(99)));
        assert!(ticks.take(begin + ms(730)), "six ticks are due, and taken as one");
        assert_eq!(ticks.next(), begin + ms(800));
        assert!(ticks.take(begin + ms(800)));
        assert_eq!(ticks.next(), begin + ms(900));
    }
}
