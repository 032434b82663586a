//! What the simulated machine is asked to do: pauses, prompts, answers, one after the other, on all cards at once.

use super::random::Random;

/// A phase of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing to do.
    Idle,
    /// A prompt is read: compute-bound, all units busy.
    Prefill,
    /// Tokens are made one by one: memory-bound; with layers split over cards, each waits for the others.
    Decode,
}

/// The phases in their order, each of random length.
#[derive(Clone, Debug)]
pub(super) struct Work {
    random: Random,
    phase: Phase,
    left_s: f64,
}

impl Work {
    /// Work that begins with a pause.
    pub(super) fn new(mut random: Random) -> Self {
        let left_s = random.between(4.0, 8.0);
        Self { random, phase: Phase::Idle, left_s }
    }

    /// The phase after `step_s` more seconds.
    pub(super) fn advance(&mut self, step_s: f64) -> Phase {
        self.left_s -= step_s;
        if self.left_s <= 0.0 {
            let (next, shortest, longest) = match self.phase {
                Phase::Idle => (Phase::Prefill, 1.5, 5.0),
                Phase::Prefill => (Phase::Decode, 12.0, 45.0),
                Phase::Decode => (Phase::Idle, 6.0, 20.0),
            };
            self.phase = next;
            self.left_s = self.random.between(shortest, longest);
        }
        self.phase
    }
}
