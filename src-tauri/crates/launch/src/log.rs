//! Bytes of an engine to lines of text, and how grave a line is. Owns the unfinished line; keeping lines is the ring's part.

use dualgpuopt_core::session::LogLevel;

use crate::ansi;

/// Longest line kept, bytes of text. What goes beyond is cut and marked. An engine's longest ordinary line (a chat
/// template in the log) is below 10 KiB.
pub const LOG_LINE_BYTES_MAX: usize = 16 * 1024;

/// One finished line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Text without escape sequences, control characters (but the tab) and line end; at most [`LOG_LINE_BYTES_MAX`] bytes.
    pub text: String,
    /// Whether something was cut.
    pub truncated: bool,
}

/// Cuts a stream of bytes into lines, however the bytes are chunked.
///
/// `\n` and `\r\n` end a line. A `\r` alone starts the line anew, as a progress bar means it; only its last state is kept.
#[derive(Debug, Default)]
pub struct Splitter {
    raw: Vec<u8>,
    truncated: bool,
    /// A `\r` was read and it is not known yet whether `\n` follows.
    returned: bool,
}

impl Splitter {
    /// Takes a chunk and gives every line that it finishes, in order.
    pub fn push(&mut self, chunk: &[u8], mut line: impl FnMut(Line)) {
        for &byte in chunk {
            if byte == b'\n' {
                line(self.take());
                continue;
            }
            if self.returned {
                self.raw.clear();
                self.truncated = false;
                self.returned = false;
            }
            if byte == b'\r' {
                self.returned = true;
            } else if self.raw.len() < LOG_LINE_BYTES_MAX {
                self.raw.push(byte);
            } else {
                self.truncated = true;
            }
        }
    }

    /// The line that the stream's end left unfinished, if there is one.
    pub fn finish(&mut self) -> Option<Line> {
        (!self.raw.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> Line {
        if self.truncated {
            drop_cut_character(&mut self.raw);
        }
        let mut text = ansi::strip(&self.raw);
        let mut truncated = self.truncated;
        // Bytes that are not UTF-8 grow to three bytes each as U+FFFD.
        if text.len() > LOG_LINE_BYTES_MAX {
            text.truncate(text.floor_char_boundary(LOG_LINE_BYTES_MAX));
            truncated = true;
        }
        self.raw.clear();
        self.truncated = false;
        self.returned = false;
        Line { text, truncated }
    }
}

/// Takes off the first bytes of a character whose rest was cut away by the cap, so that the cut leaves no U+FFFD.
fn drop_cut_character(raw: &mut Vec<u8>) {
    if let Err(error) = std::str::from_utf8(raw)
        && error.error_len().is_none()
    {
        raw.truncate(error.valid_up_to());
    }
}

/// How grave a line is, as far as its text tells: llama.cpp's own mark (`0.12.345.678 E text`), else the words *error*,
/// *failed*, *fatal*, *warning* standing alone.
#[must_use]
pub fn level(text: &str) -> LogLevel {
    match llama_cpp_mark(text).0 {
        Some("E") => return LogLevel::Error,
        Some("W") => return LogLevel::Warning,
        Some(_) => return LogLevel::Info,
        None => {}
    }
    let mut level = LogLevel::Info;
    for word in text.split(|c: char| !c.is_alphanumeric() && c != '_') {
        let is = |names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name));
        if is(&["error", "failed", "fatal", "panicked", "traceback"]) {
            return LogLevel::Error;
        }
        if is(&["warning", "warn", "deprecated"]) {
            level = LogLevel::Warning;
        }
    }
    level
}

/// The letter by which llama.cpp marks a line, after the time since start where that is shown, and the rest of the line
/// (`common/log.cpp`: `%d.%02d.%03d.%03d ` and then `I `, `W `, `E ` or `D `). Without a mark the rest is all.
pub(crate) fn llama_cpp_mark(text: &str) -> (Option<&str>, &str) {
    let is_time = |word: &str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    let after_time = text.split_once(' ').filter(|(first, _)| is_time(first)).map_or(text, |(_, rest)| rest);
    match after_time.split_once(' ') {
        Some((mark @ ("I" | "W" | "E" | "D"), rest)) => (Some(mark), rest),
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&[u8]]) -> Vec<Line> {
        let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
        for chunk in chunks {
            splitter.push(chunk, |line| lines.push(line));
        }
        lines.extend(splitter.finish());
        lines
    }

    fn texts(raw: &[u8]) -> Vec<String> {
        lines(&[raw]).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn lines_end_at_newline_and_a_lone_return_starts_anew() {
        assert_eq!(texts(b"one\ntwo\r\n\nlast"), ["one", "two", "", "last"]);
        assert_eq!(texts(b" 10%\r 50%\r100%\nnext\n"), ["100%", "next"]);
        assert_eq!(texts(b"kept\r"), ["kept"]);
        assert_eq!(texts(b"kept\r\r\n"), [""]);
    }

    #[test]
    fn a_line_beyond_the_cap_is_cut_marked_and_does_not_eat_the_next() {
        let mut raw = vec![b'x'; 1_000_000];
        raw.extend_from_slice(b"\nnext\n");
        let lines = lines(&[&raw]);
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].text.len(), lines[0].truncated), (LOG_LINE_BYTES_MAX, true));
        assert_eq!(lines[1], Line { text: "next".into(), truncated: false });
    }

    #[test]
    fn the_cut_does_not_leave_half_a_character() {
        let raw = format!("{}\u{4e2d}\n", "x".repeat(LOG_LINE_BYTES_MAX - 1));
        let line = &lines(&[raw.as_bytes()])[0];
        assert!(line.truncated && line.text.ends_with('x'), "{:?}", line.text.chars().last());
    }

    #[test]
    fn a_line_of_garbage_stays_below_the_cap() {
        let line = &lines(&[&vec![0xff; LOG_LINE_BYTES_MAX]])[0];
        assert!(line.truncated && line.text.len() <= LOG_LINE_BYTES_MAX);
    }

    #[test]
    fn level_comes_from_the_mark_or_from_words() {
        for (text, want) in [
            ("0.00.123.456 E couldn't open", LogLevel::Error),
            ("0.00.123.456 W no mmproj", LogLevel::Warning),
            ("0.00.123.456 I error: only quoted", LogLevel::Info),
            ("E srv start: bad", LogLevel::Error),
            ("error: invalid argument: --foo", LogLevel::Error),
            ("llama_model_load: error loading model: x", LogLevel::Error),
            ("WARNING: slow", LogLevel::Warning),
            ("a warning, then an error", LogLevel::Error),
            ("max_error = 0, 0 errors", LogLevel::Info),
            ("I", LogLevel::Info),
            ("", LogLevel::Info),
        ] {
            assert_eq!(level(text), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn chunking_does_not_change_the_lines(
            raw in proptest::collection::vec(prop_oneof![4 => any::<u8>(), 1 => Just(b'\n'), 1 => Just(b'\r'), 1 => Just(0x1b)], 0..600),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(raw.len() + 1)).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(&raw[from..cut]);
                from = cut;
            }
            chunks.push(&raw[from..]);
            let cut = lines(&chunks);
            prop_assert_eq!(&cut, &lines(&[&raw]));
            for line in cut {
                prop_assert!(line.text.chars().all(|c| c == '\t' || !c.is_control()));
                prop_assert!(line.text.len() <= LOG_LINE_BYTES_MAX);
            }
        }
    }
}
