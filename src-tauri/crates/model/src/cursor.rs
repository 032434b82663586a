//! A bounded, buffered walk forward over a file's header: what is not wanted is skipped without being copied.
//!
//! Every length is held against the bytes that remain before anything is done with it. The buffer is the only allocation
//! here whose size does not depend on what the caller keeps.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

/// Most bytes read at once. Vocabularies of 128,000 tokens take about 5 MB, so a header is read in some twenty calls.
const BUFFER_BYTES: u64 = 256 << 10;

/// Longest header walked, bytes. Published headers end at about 30 MB, nearly all of it vocabulary.
pub(crate) const HEADER_BYTES_MAX: u64 = 128 << 20;

/// Why the walk ended.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The file ends before what was to be read.
    Ended {
        /// Where the piece begins, bytes from the file's start.
        at: u64,
        /// Length of the piece, bytes.
        needed: u64,
    },
    /// The header goes on beyond [`HEADER_BYTES_MAX`].
    TooLong,
    /// The system refused to read.
    Io(io::Error),
}

pub(crate) struct Cursor<R> {
    inner: R,
    buffer: Box<[u8]>,
    /// The unread part of the buffer.
    begin: usize,
    end: usize,
    /// Position in the file of the next unread byte.
    at: u64,
    /// Length of the file.
    len: u64,
}

impl<R: Read + Seek> Cursor<R> {
    /// Starts at the beginning of `inner`, which is `len` bytes long.
    pub(crate) fn new(inner: R, len: u64) -> Self {
        let size = usize::try_from(len.clamp(8, BUFFER_BYTES)).expect("BUFFER_BYTES fits in usize");
        Self { inner, buffer: vec![0; size].into_boxed_slice(), begin: 0, end: 0, at: 0, len }
    }

    /// Position of the next byte.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Bytes from here to the end of the file.
    pub(crate) fn remaining(&self) -> u64 {
        self.len - self.at
    }

    /// The next `N` bytes; `N` is at most 8.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        if self.end - self.begin < N {
            self.refill(N)?;
        }
        let bytes = self.buffer[self.begin..self.begin + N].try_into().expect("the slice is N long");
        self.advance(N);
        Ok(bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Stop> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Stop> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next `len` bytes in `out`, which is emptied first. The caller bounds `len`.
    pub(crate) fn bytes(&mut self, len: u64, out: &mut Vec<u8>) -> Result<(), Stop> {
        self.check(len)?;
        out.clear();
        let mut left = usize::try_from(len).expect("check: below HEADER_BYTES_MAX");
        while left > 0 {
            if self.begin == self.end {
                self.refill(1)?;
            }
            let piece = left.min(self.end - self.begin);
            out.extend_from_slice(&self.buffer[self.begin..self.begin + piece]);
            self.advance(piece);
            left -= piece;
        }
        Ok(())
    }

    /// Passes over `len` bytes.
    pub(crate) fn skip(&mut self, len: u64) -> Result<(), Stop> {
        self.check(len)?;
        let buffered = self.end - self.begin;
        match usize::try_from(len) {
            Ok(piece) if piece <= buffered => self.advance(piece),
            _ => {
                self.at += len;
                self.begin = 0;
                self.end = 0;
                self.inner.seek(SeekFrom::Start(self.at)).map_err(Stop::Io)?;
            }
        }
        Ok(())
    }

    /// Whether the next `len` bytes exist and belong to a header of permitted length.
    fn check(&self, len: u64) -> Result<(), Stop> {
        if len > self.remaining() {
            return Err(Stop::Ended { at: self.at, needed: len });
        }
        if self.at + len > HEADER_BYTES_MAX {
            return Err(Stop::TooLong);
        }
        Ok(())
    }

    fn advance(&mut self, by: usize) {
        self.begin += by;
        self.at += by as u64;
    }

    /// Makes at least `need` bytes available, reading as much as the buffer holds.
    fn refill(&mut self, need: usize) -> Result<(), Stop> {
        self.check(need as u64)?;
        self.buffer.copy_within(self.begin..self.end, 0);
        self.end -= self.begin;
        self.begin = 0;
        while self.end < need {
            match self.inner.read(&mut self.buffer[self.end..]) {
                // The file has become shorter since its length was asked.
                Ok(0) => return Err(Stop::Ended { at: self.at, needed: need as u64 }),
                Ok(got) => self.end += got,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Stop::Io(error)),
            }
        }
        Ok(())
    }
}
