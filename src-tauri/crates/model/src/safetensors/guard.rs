//! Stands between a file and the JSON parser: counts, and refuses texts too long and brackets too deep.
//!
//! The parser collects a text of any length before it hands it on, and passes over ignored values of any depth, for which it
//! keeps a byte per level.

use std::io::{self, Read};

/// Longest text in a JSON document that is read piece by piece, bytes. Tensor names end at some 200; training tools store
/// texts of some 100 kB in `__metadata__`.
pub(crate) const TEXT_BYTES_MAX: u64 = 4 << 20;

/// Deepest nesting read; headers have three levels.
pub(crate) const DEPTH_MAX: u64 = 64;

/// What the guard refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beyond {
    Text,
    Depth,
}

pub(crate) struct Guard<R> {
    inner: R,
    /// Bytes handed on.
    pub(crate) read: u64,
    /// What was too much.
    pub(crate) beyond: Option<Beyond>,
    in_text: bool,
    escaped: bool,
    text_bytes: u64,
    depth: u64,
}

impl<R: Read> Guard<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, read: 0, beyond: None, in_text: false, escaped: false, text_bytes: 0, depth: 0 }
    }

    fn see(&mut self, byte: u8) {
        match (self.in_text, byte) {
            (false, b'"') => (self.in_text, self.text_bytes) = (true, 0),
            (false, b'[' | b'{') => {
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    self.beyond = Some(Beyond::Depth);
                }
            }
            (false, b']' | b'}') => self.depth = self.depth.saturating_sub(1),
            (false, _) => {}
            (true, _) if self.escaped => self.escaped = false,
            (true, b'\\') => self.escaped = true,
            (true, b'"') => self.in_text = false,
            (true, _) => {
                self.text_bytes += 1;
                if self.text_bytes > TEXT_BYTES_MAX {
                    self.beyond = Some(Beyond::Text);
                }
            }
        }
    }
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        for byte in &buffer[..got] {
            self.see(*byte);
        }
        self.read += got as u64;
        match self.beyond {
            Some(_) => Err(io::Error::other("a text is too long or brackets are too deep")),
            None => Ok(got),
        }
    }
}
