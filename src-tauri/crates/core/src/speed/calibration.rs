//! What measured runs on the same cards say about predictions for them.

use serde::{Deserialize, Serialize};

/// Factors between what was measured and what was predicted, for one set of cards and one engine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
pub struct Calibration {
    /// Measured over predicted decode speed, 0.1 to 10.
    pub decode: f64,
    /// Measured over predicted prefill speed, 0.1 to 10.
    pub prefill: f64,
    /// Runs that this rests on; zero: none, and nothing is changed.
    pub measured: u32,
}

/// Beyond this the prediction was not about the run that was measured.
const FACTOR_MAX: f64 = 10.0;

impl Calibration {
    /// The factors of one or more runs, each measured and predicted (decode, prefill), tokens per second: their geometric
    /// means. Pairs that are no numbers above zero, or beyond a factor of ten, are left out.
    #[must_use]
    pub fn of(runs: &[[(f64, f64); 2]]) -> Self {
        let mean = |at: usize| {
            let factors = runs.iter().map(|run| run[at].0 / run[at].1).filter(|factor| Self::is_sound(*factor));
            let (sum, count) = factors.fold((0.0, 0_u32), |(sum, count), factor| (sum + factor.ln(), count + 1));
            (if count == 0 { 1.0 } else { (sum / f64::from(count)).exp() }, count)
        };
        let ((decode, measured), (prefill, _)) = (mean(0), mean(1));
        Self { decode, prefill, measured }
    }

    /// Whether a factor can be meant.
    #[must_use]
    pub fn is_sound(factor: f64) -> bool {
        factor.is_finite() && (1.0 / FACTOR_MAX..=FACTOR_MAX).contains(&factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_averaged_and_nonsense_is_left_out() {
        let found = Calibration::of(&[
            [(40.0, 50.0), (1000.0, 800.0)],
            [(62.5, 50.0), (f64::NAN, 800.0)],
            [(0.0, 50.0), (1.0, 800.0)],
        ]);
        assert!((found.decode - 1.0).abs() < 1e-12 && (found.prefill - 1.25).abs() < 1e-12, "{found:?}");
        assert_eq!(found.measured, 2);
        assert_eq!(Calibration::of(&[]), Calibration { decode: 1.0, prefill: 1.0, measured: 0 });
    }
}
