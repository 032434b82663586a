//! What runs on this machine, read from /proc.

use std::fs;
use std::time::{Duration, Instant};

/// Processes whose command line holds `part`; those that have ended and only await their parent are left out.
pub fn running(part: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let zombie = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'));
            *pid != std::process::id() && !zombie && String::from_utf8_lossy(&command).contains(part)
        })
        .collect()
}

/// Waits until `holds` is true, looking often.
///
/// # Panics
/// When it is not within `limit`.
pub fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
