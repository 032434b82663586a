//! Engines that behave badly, and one that behaves well: what the launcher is tested against. Unix only, like the tests.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "engines print")]

#[cfg(unix)]
mod behaviours;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    behaviours::behave()
}

#[cfg(not(unix))]
fn main() {
    println!("not supported on this system");
    eprintln!("see behaviours.rs");
}
