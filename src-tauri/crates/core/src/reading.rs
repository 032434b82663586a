//! A reading is a value, or the reason there is none. Zero never stands for unknown.

use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, specta::Type)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The device or driver does not offer this, or answered outside the physical range.
    NotSupported,
    /// It exists, but this user may not read it.
    NoPermission,
    /// The device fell off the bus.
    Lost,
    /// The driver did not answer within its deadline.
    TimedOut,
    /// The device is asleep and was not woken for this.
    Asleep,
    /// The last value is too old to be shown as current.
    Stale,
    /// The driver answered with an error that has no reason of its own here.
    Failed,
}

impl Why {
    /// The reason in words, lower case, as it stands in place of a number.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotSupported => "not supported",
            Self::NoPermission => "no permission",
            Self::Lost => "lost",
            Self::TimedOut => "timed out",
            Self::Asleep => "asleep",
            Self::Stale => "stale",
            Self::Failed => "failed",
        }
    }
}

/// One metric of one GPU at one instant. In JSON `{"value": N}` or `{"missing": "REASON"}`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, specta::Type)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// A finite number in the metric's unit.
    Value(
        #[serde(serialize_with = "plain_number", deserialize_with = "finite_number")]
        // A plain number to TypeScript: `f64` would become `number | null`, but a reading is always finite.
        #[specta(type = u32)]
        f64,
    ),
    /// No number, and why.
    Missing(Why),
}

impl Reading {
    /// The number, where there is one.
    #[must_use]
    pub const fn value(self) -> Option<f64> {
        match self {
            Self::Value(v) => Some(v),
            Self::Missing(_) => None,
        }
    }

    /// The reason, where there is no number.
    #[must_use]
    pub const fn why(self) -> Option<Why> {
        match self {
            Self::Value(_) => None,
            Self::Missing(why) => Some(why),
        }
    }
}

/// Whole numbers without a fraction, so that bytes read as bytes.
fn plain_number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    /// Above this an `f64` no longer holds every integer.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53, checked above")]
        serializer.serialize_i64(*value as i64)
    } else {
        serializer.serialize_f64(*value)
    }
}

fn finite_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(deserializer)?;
    if value.is_finite() { Ok(value) } else { Err(serde::de::Error::custom("a reading must be finite")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_a_value_or_a_reason() {
        let json = |r: Reading| serde_json::to_string(&r).expect("a reading always serialises");
        assert_eq!(json(Reading::Value(25_757_220_864.0)), r#"{"value":25757220864}"#);
        assert_eq!(json(Reading::Value(63.5)), r#"{"value":63.5}"#);
        assert_eq!(json(Reading::Missing(Why::NotSupported)), r#"{"missing":"not_supported"}"#);
        assert_eq!(serde_json::from_str::<Reading>(r#"{"value":7}"#).expect("valid"), Reading::Value(7.0));
    }
}
