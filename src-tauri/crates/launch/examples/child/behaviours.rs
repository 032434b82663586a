//! What the child can do; each is a function.

use std::env::{args, args_os};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write, stderr, stdout};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::process::{ExitCode, exit, id};
use std::thread::{park, sleep};
use std::time::{Duration, Instant};

use dualgpuopt_launch::spawn;
use nix::sys::signal::{SigSet, Signal};

fn number(index: usize) -> u64 {
    args().nth(index).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("argument {index} must be a number"))
}

/// Behaves as the first argument says.
pub(crate) fn behave() -> ExitCode {
    match args().nth(1).as_deref() {
        Some("http_ready") => http_ready(number(2), Duration::from_millis(number(3))),
        Some("flood") => flood(number(2), number(3)),
        Some("burst") => burst(number(2)),
        Some("stubborn") => stubborn(),
        Some("leaver") => leaver(),
        Some("middle") => middle(),
        Some("worker") => worker(),
        Some("garbage") => garbage(),
        Some("argv") => argv(),
        Some("environment") => std::env::vars().for_each(|(name, value)| println!("{name}={value:?}")),
        Some("exit") => {
            eprintln!("{}", args().nth(3).unwrap_or_default());
            return ExitCode::from(u8::try_from(number(2)).expect("an exit code"));
        }
        Some("abort") => std::process::abort(),
        other => panic!("unknown behaviour {other:?}"),
    }
    ExitCode::SUCCESS
}

/// Loads for a while, is ready then, ends on SIGTERM by default.
fn http_ready(port: u64, loading: Duration) {
    let began = Instant::now();
    let port = u16::try_from(port).expect("a port");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    eprintln!("listening");
    for connection in listener.incoming() {
        let mut connection = connection.expect("loopback connects");
        let mut lines = BufReader::new(connection.try_clone().expect("sockets can be shared")).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        let status = match (first.starts_with("GET /health "), began.elapsed() >= loading) {
            (false, _) => "404 Not Found",
            (true, false) => "503 Service Unavailable",
            (true, true) => "200 OK",
        };
        let _ = write!(connection, "HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
    }
}

/// So many lines a second for so many seconds; says at last how long it really took.
fn flood(per_second: u64, seconds: u64) {
    let began = Instant::now();
    let mut output = stderr().lock();
    for tick in 0..seconds * 100 {
        for line in 0..per_second / 100 {
            writeln!(output, "line {} of the flood, as long as such lines are", tick * per_second / 100 + line)
                .expect("stderr");
        }
        sleep((began + Duration::from_millis((tick + 1) * 10)).saturating_duration_since(Instant::now()));
    }
    writeln!(output, "took {} ms", began.elapsed().as_millis()).expect("stderr");
}

/// So many lines as fast as they go; then takes the file away that its last argument names, as a sign.
fn burst(lines: u64) {
    let mut output = stdout().lock();
    for line in 0..lines {
        writeln!(output, "line {line} {}", "x".repeat(80)).expect("stdout");
    }
    output.flush().expect("stdout");
    std::fs::remove_file(args().nth(3).expect("the sign's path")).expect("the sign is there");
    sleep_for_ever();
}

fn deaf() {
    [Signal::SIGTERM, Signal::SIGINT].into_iter().collect::<SigSet>().thread_block().expect("signals can be blocked");
}

/// Ignores SIGTERM, and has a worker that left its session and its parent, and ignores SIGTERM too.
fn stubborn() {
    deaf();
    println!("worker {}", spawn_worker());
    sleep_for_ever();
}

/// Ends by itself, but leaves such a worker behind.
fn leaver() {
    println!("worker {}", spawn_worker());
}

/// Starts `middle`, which starts `worker` and ends: the double fork. Gives the worker's process id.
fn spawn_worker() -> u32 {
    let own = std::env::current_exe().expect("Linux knows our file");
    let mut middle = spawn::piped(own.as_os_str(), &["middle"]).expect("we can be started");
    let mut text = String::new();
    middle.stdout.read_to_string(&mut text).expect("it says the worker's id");
    middle.child.wait().expect("our child");
    text.trim().parse().expect("a process id")
}

fn middle() {
    nix::unistd::setsid().expect("we lead no group");
    let own = std::env::current_exe().expect("Linux knows our file");
    let mut worker = spawn::piped(own.as_os_str(), &["worker"]).expect("we can be started");
    let mut text = String::new();
    BufReader::new(&mut worker.stdout).read_line(&mut text).expect("it says that it is deaf");
    println!("{}", worker.child.id());
    exit(0);
}

fn worker() {
    deaf();
    println!("deaf {}", id());
    sleep_for_ever();
}

fn sleep_for_ever() {
    loop {
        park();
    }
}

/// One line of a megabyte, bytes that are no text, escapes, a progress bar, and an end without newline.
fn garbage() {
    let mut raw = vec![b'x'; 1_000_000];
    raw.extend_from_slice(
        b"\n\xff\xfe\x00\x1b]0;title\x07\x1b[31merror\x1b[0m\n 10%\r 50%\r100%\n\x1b]52;c;never closed\n",
    );
    raw.extend_from_slice("no newline \u{e9}".as_bytes());
    stdout().write_all(&raw).expect("stdout");
}

/// Every argument, as hexadecimal bytes.
fn argv() {
    for arg in args_os().skip(2).collect::<Vec<OsString>>() {
        println!("arg:{}", arg.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }
}
