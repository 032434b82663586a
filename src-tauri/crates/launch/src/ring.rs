//! The newest lines of one session. Bounded in lines and in bytes; the oldest go first.

use std::collections::VecDeque;

use dualgpuopt_core::session::LogLine;

/// Most lines kept per session.
pub const LOG_LINES_MAX: usize = 20_000;

/// Most bytes of text kept per session. 20,000 ordinary lines are about 2 MB; only floods of long lines reach this.
pub const LOG_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Lines in order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    lines: VecDeque<LogLine>,
    bytes: usize,
    /// Lines that never arrived, as the newest line knew it.
    pub(crate) dropped: u64,
}

impl Ring {
    /// Adds the newest line.
    pub(crate) fn push(&mut self, line: LogLine) {
        self.bytes += line.text.len();
        self.lines.push_back(line);
        while self.lines.len() > LOG_LINES_MAX || self.bytes > LOG_BYTES_MAX {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.text.len();
        }
    }

    /// Kept lines numbered `from_seq` or above, the oldest first, `max` at most.
    pub(crate) fn from(&self, from_seq: u64, max: usize) -> Vec<LogLine> {
        let start = self.lines.partition_point(|line| line.seq < from_seq);
        self.lines.iter().skip(start).take(max).cloned().collect()
    }

    /// The newest lines, the newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &LogLine> {
        self.lines.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dualgpuopt_core::session::{LogLevel, LogStream};

    fn line(seq: u64, bytes: usize) -> LogLine {
        let text = "x".repeat(bytes);
        LogLine { seq, at_ms: 0, stream: LogStream::Err, level: LogLevel::Info, text, truncated: false }
    }

    #[test]
    fn the_oldest_lines_go_first_and_the_rest_stays_in_order() {
        let mut ring = Ring::default();
        for seq in 0..25_000 {
            ring.push(line(seq, 1));
        }
        let kept = ring.from(0, usize::MAX);
        assert_eq!(kept.len(), LOG_LINES_MAX);
        assert_eq!(kept.first().map(|line| line.seq), Some(5_000));
        assert_eq!(ring.from(24_998, 10).len(), 2);
        assert_eq!(ring.from(0, 3).iter().map(|line| line.seq).collect::<Vec<_>>(), [5_000, 5_001, 5_002]);
        assert!(ring.from(25_000, 10).is_empty());
    }

    #[test]
    fn long_lines_are_bounded_by_bytes() {
        let mut ring = Ring::default();
        for seq in 0..5_000 {
            ring.push(line(seq, 16 * 1024));
        }
        assert_eq!(ring.from(0, usize::MAX).len(), LOG_BYTES_MAX / (16 * 1024));
        assert_eq!(ring.newest().next().map(|line| line.seq), Some(4_999));
    }
}
