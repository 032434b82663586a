//! What the sampler process says to its parent: one JSON object a line, on stdout.

use std::io::{self, BufRead, Read, Write};

use dualgpuopt_core::gpu::{Frame, Machine};
use serde::{Deserialize, Serialize};

use crate::source::{GPUS_MAX, SourceError};

/// Longest line believed: 16 GPUs need some 16 KiB.
pub(crate) const LINE_BYTES_MAX: u64 = 256 * 1024;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub(crate) enum Message {
    /// The machine, first and whenever it changes.
    Machine(Machine),
    /// A frame.
    Frame(Frame),
    /// There is no such source here. The last line.
    Absent {
        /// What is missing.
        message: String,
        /// What was looked for.
        looked_for: Vec<String>,
    },
    /// The source refused. The last line.
    Failed {
        /// What happened.
        message: String,
    },
}

impl From<SourceError> for Message {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Absent { message, looked_for } => Self::Absent { message, looked_for },
            other => Self::Failed { message: other.to_string() },
        }
    }
}

/// Why a line could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the sampler process ended")]
    Ended,
    #[error("the sampler process cannot be heard: {0}")]
    Io(#[from] io::Error),
    #[error("the sampler process wrote a line of more than {LINE_BYTES_MAX} bytes")]
    TooLong,
    #[error("the sampler process wrote what is no message: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the sampler process named {0} GPUs, more than {GPUS_MAX}")]
    TooManyGpus(usize),
}

/// Writes one message as one line, in one write.
pub(crate) fn write(out: &mut impl Write, buffer: &mut Vec<u8>, message: &Message) -> io::Result<()> {
    buffer.clear();
    serde_json::to_writer(&mut *buffer, message)?;
    buffer.push(b'\n');
    out.write_all(buffer)?;
    out.flush()
}

/// Reads the next message, never holding more than [`LINE_BYTES_MAX`].
pub(crate) fn read(input: &mut impl BufRead, buffer: &mut Vec<u8>) -> Result<Message, ReadError> {
    buffer.clear();
    let length = input.take(LINE_BYTES_MAX).read_until(b'\n', buffer)?;
    if buffer.last() != Some(&b'\n') {
        let full = u64::try_from(length).is_ok_and(|length| length == LINE_BYTES_MAX);
        return Err(if full { ReadError::TooLong } else { ReadError::Ended });
    }
    let message = serde_json::from_slice(buffer)?;
    match &message {
        Message::Machine(machine) if machine.gpus.len() > GPUS_MAX => Err(ReadError::TooManyGpus(machine.gpus.len())),
        Message::Frame(frame) if frame.gpus.len() > GPUS_MAX => Err(ReadError::TooManyGpus(frame.gpus.len())),
        _ => Ok(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_were_said() {
        let messages = [
            Message::Failed { message: "two\nlines".to_owned() },
            Message::Absent { message: "no".to_owned(), looked_for: vec!["a: b".to_owned()] },
        ];
        let (mut wire, mut buffer) = (Vec::new(), Vec::new());
        for message in &messages {
            write(&mut wire, &mut buffer, message).expect("a vector takes it");
        }
        let mut input = wire.as_slice();
        for message in &messages {
            assert_eq!(&read(&mut input, &mut buffer).expect("written above"), message);
        }
        assert!(matches!(read(&mut input, &mut buffer), Err(ReadError::Ended)));
    }

    #[test]
    fn bad_lines_are_refused_within_bounds() {
        let mut buffer = Vec::new();
        let endless = vec![b'x'; 1 << 20];
        assert!(matches!(read(&mut endless.as_slice(), &mut buffer), Err(ReadError::TooLong)));
        assert!(buffer.capacity() <= 512 * 1024);
        assert!(matches!(read(&mut b"{]\n".as_slice(), &mut buffer), Err(ReadError::Json(_))));
        assert!(matches!(read(&mut b"\xff\n".as_slice(), &mut buffer), Err(ReadError::Json(_))));
        assert!(matches!(read(&mut b"cut off".as_slice(), &mut buffer), Err(ReadError::Ended)));
    }
}
