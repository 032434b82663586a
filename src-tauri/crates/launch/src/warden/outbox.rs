//! What the warden has to say, on its way to an app that may be slow. Log lines are bounded: when the queue is full the
//! oldest go and are counted, so that the newest, which tell why an engine died, survive. Everything else is never dropped.

use std::collections::VecDeque;
use std::io::{BufWriter, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::protocol::Said;

/// Most log lines waiting for the app.
pub(super) const LINES_WAITING_MAX: usize = 8_192;

/// Most bytes of log text waiting for the app.
pub(super) const BYTES_WAITING_MAX: usize = 4 * 1024 * 1024;

/// Most messages handed to the writer at once.
const WRITTEN_AT_ONCE_MAX: usize = 256;

/// The queue. The lock guards it between two log readers, the main thread and the writer; a channel cannot drop its oldest.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Said>,
    lines: usize,
    bytes: usize,
    dropped: u64,
    /// No more will come, or nobody listens any more.
    closed: bool,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is whole between any two statements that could panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message; never waits.
    pub(super) fn push(&self, said: Said) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        if let Said::Log { text, .. } = &said {
            queue.lines += 1;
            queue.bytes += text.len();
        }
        queue.waiting.push_back(said);
        while queue.lines > LINES_WAITING_MAX || queue.bytes > BYTES_WAITING_MAX {
            queue.drop_oldest_line();
        }
        self.changed.notify_one();
    }

    /// After this nothing is taken, and [`Self::write_to`] returns once the queue is empty.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Writes messages as they come until the box is closed and empty, or nobody reads any more.
    pub(super) fn write_to(&self, output: impl Write) {
        let mut output = BufWriter::new(output);
        loop {
            let batch = self.take();
            if batch.is_empty() {
                return;
            }
            let written = batch.iter().try_for_each(|said| {
                serde_json::to_writer(&mut output, said)?;
                output.write_all(b"\n")
            });
            if written.and_then(|()| output.flush()).is_err() {
                let mut queue = self.lock();
                queue.closed = true;
                queue.waiting.clear();
                return;
            }
        }
    }

    /// The next messages, the count of dropped lines stamped in; none once closed and empty.
    fn take(&self) -> Vec<Said> {
        let mut queue = self.lock();
        while queue.waiting.is_empty() && !queue.closed {
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let count = queue.waiting.len().min(WRITTEN_AT_ONCE_MAX);
        let mut batch: Vec<Said> = queue.waiting.drain(..count).collect();
        let so_far = queue.dropped;
        for said in &mut batch {
            match said {
                Said::Log { text, dropped, .. } => {
                    queue.lines -= 1;
                    queue.bytes -= text.len();
                    *dropped = so_far;
                }
                Said::Exited { dropped, .. } => *dropped = so_far,
                Said::Started { .. } | Said::CannotStart { .. } => {}
            }
        }
        batch
    }
}

impl Queue {
    fn drop_oldest_line(&mut self) {
        let oldest = self.waiting.iter().position(|said| matches!(said, Said::Log { .. }));
        if let Some(Said::Log { text, .. }) = oldest.and_then(|index| self.waiting.remove(index)) {
            self.lines -= 1;
            self.bytes -= text.len();
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dualgpuopt_core::session::{Exit, LogStream};

    fn line(text: String) -> Said {
        Said::Log { stream: LogStream::Err, text, truncated: false, dropped: 0 }
    }

    fn written(outbox: &Outbox) -> Vec<Said> {
        let mut bytes = Vec::new();
        outbox.close();
        outbox.write_to(&mut bytes);
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).expect("our own line")).collect()
    }

    #[test]
    fn a_full_queue_drops_the_oldest_lines_counts_them_and_keeps_the_rest() {
        let outbox = Outbox::default();
        outbox.push(Said::Started { pid: 1, containment: String::new(), mark: String::new() });
        for number in 0..LINES_WAITING_MAX + 100 {
            outbox.push(line(number.to_string()));
        }
        outbox.push(Said::Exited { exit: Exit { code: Some(0), signal: None }, dropped: 0 });
        let all = written(&outbox);
        assert!(matches!(all.first(), Some(Said::Started { .. })));
        assert!(matches!(all.last(), Some(Said::Exited { dropped: 100, .. })));
        assert_eq!(all.len(), LINES_WAITING_MAX + 2);
        let Said::Log { text, dropped, .. } = &all[1] else { panic!("{:?}", all[1]) };
        assert_eq!((text.as_str(), *dropped), ("100", 100));
    }

    #[test]
    fn long_lines_are_bounded_by_bytes() {
        let outbox = Outbox::default();
        for _ in 0..1_000 {
            outbox.push(line("x".repeat(16 * 1024)));
        }
        assert_eq!(written(&outbox).len(), BYTES_WAITING_MAX / (16 * 1024));
    }

    #[test]
    fn when_nobody_reads_any_more_the_box_empties_and_takes_nothing() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let outbox = Outbox::default();
        outbox.push(line("a".into()));
        outbox.write_to(Gone);
        outbox.push(line("b".into()));
        assert!(outbox.lock().waiting.is_empty());
    }
}
