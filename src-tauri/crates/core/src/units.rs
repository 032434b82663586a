//! Quantities with their unit in the type, and how they read to a person.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

/// One kibibyte, in bytes.
pub const KIB: u64 = 1 << 10;
/// One mebibyte, in bytes.
pub const MIB: u64 = 1 << 20;
/// One gibibyte, in bytes.
pub const GIB: u64 = 1 << 30;

/// An amount of memory in bytes. Shown in GiB or MiB (1024-based); arithmetic is explicit about what may not underflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, specta::Type)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// No memory at all.
    pub const ZERO: Self = Self(0);

    /// `n` mebibytes.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n * MIB)
    }

    /// `n` gibibytes.
    #[must_use]
    pub const fn gib(n: u64) -> Self {
        Self(n * GIB)
    }

    /// The difference, or zero where `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The amount in GiB, for display and ratios only.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "display only; 53 bits are 8 PiB")]
    pub fn as_gib(self) -> f64 {
        self.0 as f64 / GIB as f64
    }

    /// The amount in MiB, for display and ratios only.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "display only; 53 bits are 8 PiB")]
    pub fn as_mib(self) -> f64 {
        self.0 as f64 / MIB as f64
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Bytes {
    /// GiB with two decimals from 1 GiB on, else MiB with one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= GIB { write!(f, "{:.2} GiB", self.as_gib()) } else { write!(f, "{:.1} MiB", self.as_mib()) }
    }
}

/// A count as people read it: digits in groups of three, parted by commas.
#[must_use]
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_parted_by_commas() {
        assert_eq!([0, 999, 1000, 131_072, 10_485_760].map(thousands), ["0", "999", "1,000", "131,072", "10,485,760"]);
    }

    #[test]
    fn reads_in_the_unit_a_person_expects() {
        assert_eq!(Bytes::gib(24).to_string(), "24.00 GiB");
        assert_eq!(Bytes::mib(512).to_string(), "512.0 MiB");
        assert_eq!(Bytes(4_294_967_296 + 1_073_741_824 / 2).to_string(), "4.50 GiB");
    }
}
