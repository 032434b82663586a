//! How sure a prediction is.
//!
//! Half widths are natural logarithms that nine of ten rows stay within when their kind of card was left out of the fit.
//! `core/tests/speed.rs` holds that 85 to 95 of a hundred do.

use crate::speed::Predicted;
use crate::speed::calibration::Calibration;

/// What a prediction is about, as far as that says how sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// Dense models of 4 bits and more on one GeForce card.
    Plain,
    /// Routed experts, fewer than 4 bits, professional and datacentre cards, on one GPU.
    Unusual,
    /// Layers shared over several GPUs.
    Several,
    /// Matrices shared over several GPUs, or a part of the model in system RAM.
    Shared,
}

/// Half width for decode, then for prefill.
const WIDTHS: [(Confidence, [f64; 2]); 4] = [
    (Confidence::Plain, [0.17, 0.30]),
    (Confidence::Unusual, [0.24, 0.40]),
    (Confidence::Several, [0.24, 0.50]),
    (Confidence::Shared, [0.30, 0.60]),
];

/// Half width left after one measured run of the same cards; it falls with the root of their number down to [`MEASURED_MIN`].
const MEASURED: f64 = 0.06;

/// Half width that repeated runs of the same start keep.
const MEASURED_MIN: f64 = 0.02;

/// Whether a prompt is read or tokens are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Decode,
    Prefill,
}

/// A value with its interval.
pub(crate) fn predicted(value: f64, confidence: Confidence, phase: Phase) -> Predicted {
    let widths = WIDTHS.iter().find(|(it, _)| *it == confidence).map_or([1.0; 2], |(_, widths)| *widths);
    around(value, if phase == Phase::Decode { widths[0] } else { widths[1] })
}

fn around(value: f64, width: f64) -> Predicted {
    Predicted { value, low: value * (-width).exp(), high: value * width.exp() }
}

/// A prediction moved by what was measured on the same cards.
pub(crate) fn calibrated(predicted: Predicted, factor: f64, measured: u32) -> Predicted {
    if measured == 0 || !Calibration::is_sound(factor) {
        return predicted;
    }
    let before = (predicted.high / predicted.value).ln();
    let width = (MEASURED / f64::from(measured).sqrt()).max(MEASURED_MIN);
    around(predicted.value * factor, if before.is_finite() { width.min(before) } else { width })
}

impl Confidence {
    /// What a prediction of this kind rests on, one sentence.
    #[must_use]
    pub fn basis(self) -> &'static str {
        match self {
            Self::Plain => "From the card's datasheet, fitted to published runs of dense models on GeForce cards.",
            Self::Unusual => {
                "From the card's datasheet, fitted to few published runs of such cards and models: one measured run is better."
            }
            Self::Several => "From the cards' datasheets, fitted to published runs by layers over several GPUs.",
            Self::Shared => {
                "From the cards' datasheets and links; owners of the same cards differ by 15 %: one measured run is better."
            }
        }
    }
}
