//! How much system RAM is free, where the system tells.

use dualgpuopt_core::units::{Bytes, KIB};

/// RAM that programs can take now without others being swapped out; absent where the system does not tell it. Source: Linux's
/// `/proc/meminfo`, *MemAvailable* (proc_meminfo(5)).
#[must_use]
pub fn available() -> Option<Bytes> {
    parse(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse(text: &str) -> Option<Bytes> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(KIB).map(Bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_is_read_and_nothing_else_is_guessed() {
        let text = "MemTotal:       32768000 kB\nMemFree:         1000000 kB\nMemAvailable:   16384000 kB\n";
        assert_eq!(parse(text), Some(Bytes(16_384_000 * 1024)));
        assert_eq!(parse("MemTotal:       32768000 kB\n"), None);
        assert_eq!(parse("MemAvailable: lots kB\n"), None);
    }
}
