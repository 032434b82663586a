//! The only place of the product that makes a process. Arguments travel as a list, never as a text for a shell.
//! Engines are made here too, but become themselves in `warden/exec.rs`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A child with both ends of our pipes to it. Its standard error is ours.
#[derive(Debug)]
pub struct PipedChild {
    /// The process: to wait for or to kill.
    pub child: Child,
    /// Its standard input.
    pub stdin: ChildStdin,
    /// Its standard output.
    pub stdout: ChildStdout,
}

/// Starts `program` with piped input and output. Dropping `stdin` is how the child learns that we are gone.
///
/// # Errors
/// A NUL byte in the program or in an argument, and whatever the system says: not found, not executable, wrong format.
pub fn piped<A: AsRef<OsStr>>(program: &OsStr, args: &[A]) -> io::Result<PipedChild> {
    let mut command = command(program, args)?;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let stdin = child.stdin.take().expect("it was asked for as a pipe");
    let stdout = child.stdout.take().expect("it was asked for as a pipe");
    Ok(PipedChild { child, stdin, stdout })
}

/// Starts `program` without input, and with its output and its errors piped to us.
///
/// # Errors
/// As [`piped`].
pub(crate) fn captured<A: AsRef<OsStr>>(program: &OsStr, args: &[A]) -> io::Result<Child> {
    command(program, args)?.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Becomes another program, with these arguments and with `env` on top of our environment. Comes back only when that
/// fails: with the reason, or, where a program cannot replace another, after the other has ended.
pub fn replace_with<A: AsRef<OsStr>>(program: &OsStr, args: &[A], env: &[(&str, &str)]) -> io::Error {
    let mut command = match command(program, args) {
        Ok(command) => command,
        Err(error) => return error,
    };
    command.envs(env.iter().copied());
    become_it(&mut command)
}

#[cfg(unix)]
fn become_it(command: &mut Command) -> io::Error {
    use std::os::unix::process::CommandExt as _;
    command.exec()
}

#[cfg(not(unix))]
fn become_it(command: &mut Command) -> io::Error {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

/// A command with these arguments, byte for byte.
///
/// # Errors
/// A NUL byte, which no argument can carry.
pub(crate) fn command<A: AsRef<OsStr>>(program: &OsStr, args: &[A]) -> io::Result<Command> {
    refuse_nul("the program's path", program)?;
    for (index, arg) in args.iter().enumerate() {
        refuse_nul(&format!("argument {}", index + 1), arg.as_ref())?;
    }
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let mut command = Command::new(program);
    command.args(args);
    Ok(command)
}

fn refuse_nul(what: &str, text: &OsStr) -> io::Result<()> {
    if text.as_encoded_bytes().contains(&0) {
        let shown = OsString::from(text).to_string_lossy().replace('\0', "\u{2400}");
        let message = format!("{what} contains a NUL byte, which no program can be given: {shown}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_byte_is_refused_in_words() {
        let error = piped(OsStr::new("/bin/true"), &["ok", "a\0b"]).expect_err("NUL must be refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), "argument 2 contains a NUL byte, which no program can be given: a\u{2400}b");
    }

    #[test]
    fn a_missing_program_says_not_found() {
        let error = piped(OsStr::new("/no/such/program"), &[""; 0]).expect_err("it is missing");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
