//! Becoming the engine. Not left to std: its `Command` ends in `execvp`, which hands a file that the kernel does not accept
//! (a program for another processor, a text without `#!` line) to `/bin/sh` as a script. No shell ever reads an engine.

use std::ffi::{CString, NulError, OsString, c_char};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::ptr;

use nix::libc;

/// Program, arguments and environment in the form that the kernel takes, made before the fork, as nothing may be allocated
/// after it.
pub(super) struct Exec {
    program: CString,
    args: Strings,
    env: Strings,
}

/// A list of C strings with its null-ended array of pointers.
struct Strings {
    /// What `pointers` points to. Never touched again: it only has to live as long.
    _texts: Vec<CString>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers lead to the heap memory of `_texts`, which moves with the struct and is never changed; all that is
// done through a shared reference is to read them.
unsafe impl Send for Strings {}
// SAFETY: as above.
unsafe impl Sync for Strings {}

impl Strings {
    fn new(texts: impl Iterator<Item = OsString>) -> Result<Self, NulError> {
        let texts = texts.map(|text| CString::new(text.into_vec())).collect::<Result<Vec<_>, _>>()?;
        let pointers = texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        Ok(Self { _texts: texts, pointers })
    }
}

impl Exec {
    /// # Errors
    /// A NUL byte in any of the strings.
    pub(super) fn new(
        program: &str,
        args: &[String],
        env: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Self, NulError> {
        let joined = env.map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            name
        });
        Ok(Self {
            program: CString::new(program)?,
            args: Strings::new([program].into_iter().chain(args.iter().map(String::as_str)).map(OsString::from))?,
            env: Strings::new(joined)?,
        })
    }

    /// Replaces this process by the program; returns only where the kernel refuses. May be called after a fork: it makes one
    /// system call and does not allocate.
    pub(super) fn exec(&self) -> io::Error {
        // SAFETY: the three arguments are a C string and two null-ended arrays of C strings, all owned by `self` and so
        // alive during the call. Held by the tests of arguments and refusals in tests/it.
        unsafe { libc::execve(self.program.as_ptr(), self.args.pointers.as_ptr(), self.env.pointers.as_ptr()) };
        io::Error::last_os_error()
    }
}
