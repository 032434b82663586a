//! Two clocks that travel together: one orders and ages, the other only labels.

use serde::{Deserialize, Serialize};

/// An instant on both clocks. Made by hosts; the core never reads a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct Stamp {
    /// Milliseconds on a clock that never goes back and counts suspend (`CLOCK_BOOTTIME` on Linux). Orders, ages, paces.
    pub mono_ms: u64,
    /// Milliseconds since 1970-01-01 UTC. A label: it may jump either way.
    pub wall_ms: u64,
}

impl Stamp {
    /// How long before `now` this instant was, in milliseconds; 0 where it is not in the past.
    #[must_use]
    pub const fn age_ms(self, now: Self) -> u64 {
        now.mono_ms.saturating_sub(self.mono_ms)
    }
}
