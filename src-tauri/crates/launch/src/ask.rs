//! Asks a program something that it prints and ends, such as `--help`.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::process::Child;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::spawn;

/// Most that is read of each stream, bytes; the longest help text is some 100 KiB.
const PRINTED_MAX: u64 = 1 << 20;

/// What a program printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printed {
    /// Its standard output; what is no UTF-8 is replaced.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
}

/// Runs a program to its end and gives what it printed. One that has not ended within `limit` is killed. Blocks, on two
/// threads besides the caller's.
///
/// # Errors
/// The program cannot be started, or did not end in time.
pub fn ask(program: &OsStr, args: &[&str], limit: Duration) -> io::Result<Printed> {
    let mut child = spawn::captured(program, args)?;
    let (sender, ended) = channel();
    let streams = [reader(child.stdout.take()), reader(child.stderr.take())];
    let [stdout, stderr] = streams.map(|stream| {
        let sender = sender.clone();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read until a stream broke is what the program said.
            let _ = stream.take(PRINTED_MAX).read_to_end(&mut bytes);
            // The receiver is gone where the limit was reached first.
            let _ = sender.send(());
            String::from_utf8_lossy(&bytes).into_owned()
        })
    });
    drop(sender);
    let in_time = (0..2).all(|_| ended.recv_timeout(limit).is_ok());
    if !in_time {
        end(&mut child);
        let message = format!("{} did not end within {} s", program.to_string_lossy(), limit.as_secs());
        return Err(io::Error::new(io::ErrorKind::TimedOut, message));
    }
    // Both streams are at their end, or longer than is read: nothing more is wanted of it.
    end(&mut child);
    let text = |thread: thread::JoinHandle<String>| thread.join().unwrap_or_default();
    Ok(Printed { stdout: text(stdout), stderr: text(stderr) })
}

fn reader(stream: Option<impl Read + Send + 'static>) -> Box<dyn Read + Send> {
    match stream {
        Some(stream) => Box::new(stream),
        None => Box::new(io::empty()),
    }
}

/// Ends a program that may have ended by itself, and takes its exit status off the system.
fn end(child: &mut Child) {
    // An error says that it has ended.
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> io::Result<Printed> {
        ask(OsStr::new("/bin/sh"), &["-c", script], limit)
    }

    #[test]
    fn both_streams_are_given() {
        let printed = shell("echo out; echo err >&2; exit 3", Duration::from_secs(30)).expect("it ends");
        assert_eq!((printed.stdout.as_str(), printed.stderr.as_str()), ("out\n", "err\n"));
    }

    #[test]
    fn one_that_does_not_end_is_killed_and_named() {
        let error = shell("exec sleep 600", Duration::from_millis(50)).expect_err("it sleeps");
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (io::ErrorKind::TimedOut, "/bin/sh did not end within 0 s")
        );
    }

    #[test]
    fn endless_output_is_cut() {
        let printed = shell("yes", Duration::from_secs(30)).expect("it is ended");
        assert_eq!(printed.stdout.len() as u64, PRINTED_MAX);
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let error = ask(OsStr::new("/no/such/program"), &[], Duration::from_secs(1)).expect_err("it is missing");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
