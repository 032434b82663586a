//! The child's side: NVML in a process of its own, so that a hung or crashed driver costs only this process.
//!
//! It writes messages to stdout and ends when stdin closes, which also happens when the parent dies. Deliberately
//! absent: a polite shutdown of NVML, which can hang.
#![expect(unsafe_code, reason = "leaving a process without running a hung library's exit handlers")]

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::clock::{Clock, SystemClock};
use crate::nvml::NvmlSource;
use crate::protocol::{self, Message};
use crate::source::{Source, SourceError};
use crate::ticks::Ticks;

/// The hidden first argument by which both host programs come here.
pub const SAMPLER_ENTRY: &str = "__sampler";
/// Sets the time between frames, in milliseconds.
pub(crate) const INTERVAL_ARGUMENT: &str = "--interval-ms";
/// Sets the library's path.
pub(crate) const LIBRARY_ARGUMENT: &str = "--library";

/// Status when the arguments are wrong, as in `sysexits.h`.
const EXIT_USAGE: u8 = 64;

struct Arguments {
    interval: Duration,
    library: Option<PathBuf>,
}

/// Runs the sampler process; `args` are those after [`SAMPLER_ENTRY`].
///
/// Returns only where the arguments are wrong or the source cannot be had. Once frames flow, the process ends from
/// within, when stdin closes or nobody reads stdout any more.
#[must_use]
pub fn child_main(args: &[String]) -> ExitCode {
    let Some(arguments) = parse(args) else { return ExitCode::from(EXIT_USAGE) };
    if thread::Builder::new().name("stdin".to_owned()).spawn(end_with_stdin).is_err() {
        return ExitCode::FAILURE;
    }
    let mut buffer = Vec::new();
    match sample(&arguments, &mut buffer) {
        Ok(never) => match never {},
        Err(error) => {
            // Where the parent is gone there is nobody left to tell.
            let _ = protocol::write(&mut io::stdout(), &mut buffer, &error.into());
            leave(0)
        }
    }
}

fn parse(args: &[String]) -> Option<Arguments> {
    let mut arguments = Arguments { interval: Duration::from_secs(1), library: None };
    let mut args = args.iter();
    while let Some(name) = args.next() {
        let value = args.next()?;
        match name.as_str() {
            INTERVAL_ARGUMENT => {
                let interval = Duration::from_millis(value.parse().ok()?);
                arguments.interval = crate::sampler::checked_interval(interval).ok()?;
            }
            LIBRARY_ARGUMENT => arguments.library = Some(value.into()),
            _ => return None,
        }
    }
    Some(arguments)
}

fn sample(arguments: &Arguments, buffer: &mut Vec<u8>) -> Result<std::convert::Infallible, SourceError> {
    let clock = Arc::new(SystemClock);
    let mut source =
        NvmlSource::open(arguments.library.as_deref(), arguments.interval, Arc::clone(&clock) as Arc<dyn Clock>)?;
    let mut out = io::stdout().lock();
    let mut say = |message: &Message| {
        if protocol::write(&mut out, buffer, message).is_err() {
            leave(0);
        }
    };
    let mut ticks = Ticks::new(Instant::now(), arguments.interval);
    loop {
        thread::sleep(ticks.next().saturating_duration_since(Instant::now()));
        ticks.take(Instant::now());
        let frame = source.poll(clock.now());
        if source.take_changed() {
            say(&Message::Machine(source.machine()?));
        }
        say(&Message::Frame(frame));
    }
}

/// Ends the process when the parent closes its end, or dies.
fn end_with_stdin() {
    let mut scratch = [0_u8; 64];
    loop {
        match io::stdin().read(&mut scratch) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(read) if read > 0 => {}
            Ok(_) | Err(_) => leave(0),
        }
    }
}

/// Ends the process at once.
fn leave(status: i32) -> ! {
    // SAFETY: `_exit` has no preconditions. It skips exit handlers and library destructors, which could wait for a
    // lock that a hung reader thread holds; nothing of ours is left to write.
    unsafe { nix::libc::_exit(status) }
}
