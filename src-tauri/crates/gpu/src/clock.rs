//! The clocks, behind a trait so that time is handed in.

use dualgpuopt_core::time::Stamp;
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now, on both clocks.
    fn now(&self) -> Stamp;
}

/// The kernel's clocks: `CLOCK_BOOTTIME`, which counts suspend and is the same in every process, and `CLOCK_REALTIME`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Stamp {
        Stamp { mono_ms: read_ms(ClockId::CLOCK_BOOTTIME), wall_ms: read_ms(ClockId::CLOCK_REALTIME) }
    }
}

fn read_ms(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("Linux 2.6.39 and later have this clock");
    // A wall clock set before 1970 reads as 1970; it is only a label.
    u64::try_from(time.num_milliseconds()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_does_not_go_back_and_the_wall_clock_is_past_2025() {
        let (first, second) = (SystemClock.now(), SystemClock.now());
        assert!(first.mono_ms > 0 && second.mono_ms >= first.mono_ms);
        assert!(first.wall_ms > 1_735_689_600_000);
    }
}
