//! Amounts of memory in words.

use crate::units::{GIB, KIB, MIB};

/// Most memory that is taken as meant, bytes: beyond any card.
pub(super) const SIZE_MAX: u64 = 1 << 44;

/// Whole bytes of a number with a unit, such as `22.5GiB`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = [("GiB", GIB), ("MiB", MIB), ("KiB", KIB)]
        .into_iter()
        .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?.trim(), bytes)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let scaled = whole.parse::<u128>().ok()? * scale + fraction.parse::<u128>().ok()?;
    u64::try_from(scaled * u128::from(unit) / scale).ok().filter(|bytes| *bytes <= SIZE_MAX)
}
