//! The real llama.cpp server, started from a plan, asked, stopped, and gone.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use dualgpuopt_test_support::cli::{Running, dualgpuopt};
use dualgpuopt_test_support::places;
use dualgpuopt_test_support::processes::{running, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A copy of the tiny model under a name of its own, so that its processes can be told from others.
fn tiny(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::copy(places::model("tiny.gguf"), &path).expect("the model can be copied");
    path
}

fn start(path: &std::path::Path) -> (Running, u16) {
    // One of the system's choice: tests run side by side, and two that look for a free one may find the same.
    let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|it| it.local_addr()).expect("a free port").port();
    let port = port.to_string();
    let args = ["run".as_ref(), path.as_os_str(), "--mock".as_ref(), "--port".as_ref(), port.as_ref()];
    let mut run = dualgpuopt(args).start();
    let ready = run.says("Ready: http://");
    let port = ready.trim_end().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port in the address");
    (run, port)
}

fn post(port: u16, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the engine listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout can be set");
    let head =
        format!("POST {path} HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer in UTF-8");
    answer
}

fn signal(run: &Running, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(run.child.id()).expect("a process id fits"));
    kill(pid, signal).expect("our own child can be signalled");
}

#[test]
fn run_starts_answers_and_stops_without_a_trace() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let model = tiny(&folder, "run-and-stop.gguf");
    let (mut run, port) = start(&model);
    let chat = r#"{"messages":[{"role":"user","content":"hello"}],"max_tokens":8}"#;
    let answer = post(port, "/v1/chat/completions", chat);
    assert!(answer.starts_with("HTTP/1.") && answer.contains("\"completion_tokens\""), "{answer}");
    signal(&run, Signal::SIGINT);
    assert_eq!(run.ended(Duration::from_secs(30)), Some(0));
    let path = model.to_string_lossy();
    assert_eq!(running(&path), Vec::<u32>::new());
}

#[test]
fn killing_the_program_leaves_no_engine() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let model = tiny(&folder, "killed.gguf");
    let (mut run, _) = start(&model);
    let path = model.to_string_lossy();
    assert!(running(&path).len() > 1, "the program and the engine run");
    signal(&run, Signal::SIGKILL);
    assert_eq!(run.ended(Duration::from_secs(10)), None);
    until("no process of the engine", Duration::from_secs(30), || running(&path).is_empty());
}

#[test]
fn an_engine_that_is_not_there_ends_with_5_and_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let model = tiny(&folder, "no-engine.gguf");
    let args = ["run".as_ref(), model.as_os_str(), "--mock".as_ref(), "--engine".as_ref(), "/nonexistent/x".as_ref()];
    let run = dualgpuopt(args).run();
    assert_eq!(run.code, Some(5), "{run:?}");
    assert!(run.stderr.contains("/nonexistent/x cannot be found"), "{}", run.stderr);
}
