//! What goes to the terminal. A closed pipe is an ordinary end, so every write can fail.

use std::io::{self, Write as _};

/// Writes a line to stdout and flushes it, so that whoever reads a pipe has it at once.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Writes a line to stderr. That it cannot be written is nothing that could still be told.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "dualgpuopt: {text}");
}

/// Writes a line of progress to stderr, without a prefix.
pub(crate) fn progress(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
