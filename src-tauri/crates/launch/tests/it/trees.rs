//! Whatever ends, nothing of the engine's tree is left.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::time::Duration;

use dualgpuopt_core::session::{Exit, SessionState};
use dualgpuopt_launch::spawn;
use nix::sys::signal::Signal;

use crate::rig::{Rig, child, example, kill, parent, runs, until};

const SHORT: Duration = Duration::from_millis(200);

async fn until_gone(pids: &[u32]) {
    until("the tree is gone", || (!pids.iter().any(|pid| runs(*pid))).then_some(())).await;
}

/// A stubborn engine: the rig, its session, and the process ids of engine and worker.
async fn stubborn(grace: Duration) -> (Rig, dualgpuopt_core::session::SessionId, [u32; 2]) {
    let rig = Rig::new(grace);
    let id = rig.launcher.start(child(&["stubborn"])).await.expect("it can start");
    let worker = rig.until_said("worker ").await.parse().expect("a process id");
    let pids = [rig.until_runs(id).await, worker];
    assert!(pids.iter().all(|pid| runs(*pid)));
    (rig, id, pids)
}

#[tokio::test]
async fn a_tree_that_ignores_sigterm_and_left_its_session_is_gone_after_the_grace() {
    let (rig, id, pids) = stubborn(SHORT).await;
    rig.launcher.stop(id, false).expect("it is there");
    let view = rig.until_ended(id).await;
    assert!(!pids.into_iter().any(runs), "something is left though the session has ended");
    assert_eq!(view.state, SessionState::Stopped { exit: Exit { code: None, signal: Some(9) } });
}

#[tokio::test]
async fn force_does_not_wait_for_the_grace() {
    let (rig, id, pids) = stubborn(Duration::from_secs(3600)).await;
    rig.launcher.stop(id, false).expect("it is there");
    until("stopping", || matches!(rig.view(id).state, SessionState::Stopping { .. }).then_some(())).await;
    assert!(pids.into_iter().all(runs));
    rig.launcher.stop(id, true).expect("it is there");
    rig.until_ended(id).await;
    assert!(!pids.into_iter().any(runs));
}

#[tokio::test]
async fn what_an_engine_leaves_behind_is_ended() {
    let rig = Rig::new(Duration::from_secs(3600));
    let id = rig.launcher.start(child(&["leaver"])).await.expect("it can start");
    let worker = rig.until_said("worker ").await.parse().expect("a process id");
    let view = rig.until_ended(id).await;
    assert!(!runs(worker));
    let SessionState::Failed { message, .. } = view.state else { panic!("{:?}", view.state) };
    assert_eq!(message, "child ended before it was ready (exit code 0).");
}

#[tokio::test]
async fn a_host_that_is_killed_leaves_nothing() {
    let spec = child(&["stubborn"]);
    let args = ["200", "127.0.0.1", &spec.port.to_string(), &spec.program, "stubborn"];
    let mut host = spawn::piped(example("app").as_os_str(), &args).expect("the example starts");
    let mut lines = BufReader::new(host.stdout).lines().map_while(Result::ok);
    let value = |line: String| serde_json::from_str::<serde_json::Value>(&line).expect("the example prints JSON");
    let mut number_after = |prefix: &str| -> u32 {
        let text = lines
            .by_ref()
            .map(value)
            .find_map(|line| line["text"].as_str().and_then(|text| text.strip_prefix(prefix)).map(str::to_owned));
        text.and_then(|text| text.parse().ok()).expect("the example prints the log")
    };
    let pids = [number_after("Started child, PID "), number_after("worker ")];
    let warden = parent(pids[0]);
    assert!(pids.iter().all(|pid| runs(*pid)));
    host.child.kill().expect("it is our child");
    host.child.wait().expect("it is our child");
    until_gone(&[pids[0], pids[1], warden]).await;
}

#[tokio::test]
async fn a_dropped_launcher_stops_its_engines() {
    let (rig, _, pids) = stubborn(SHORT).await;
    drop(rig);
    until_gone(&pids).await;
}

#[tokio::test]
async fn an_engine_does_not_survive_its_warden() {
    let (rig, id, pids) = stubborn(Duration::from_secs(3600)).await;
    kill(parent(pids[0]), Signal::SIGKILL);
    let view = rig.until_ended(id).await;
    assert!(!pids.into_iter().any(runs), "something is left though the session has ended");
    let SessionState::Failed { message, hint } = view.state else { panic!("{:?}", view.state) };
    assert_eq!(message, "The process that watches over child was killed, and child with it.");
    assert_eq!(hint, "Nothing of it is left; start it again.");
}

#[tokio::test]
async fn a_warden_that_is_asked_to_end_stops_the_tree_first() {
    let (rig, id, pids) = stubborn(SHORT).await;
    kill(parent(pids[0]), Signal::SIGTERM);
    rig.until_ended(id).await;
    assert!(!pids.into_iter().any(runs));
}

#[tokio::test]
async fn a_signal_to_the_hosts_group_reaches_neither_warden_nor_engine() {
    let (rig, id, pids) = stubborn(SHORT).await;
    let group = |pid: u32| {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("Linux ids are positive i32"));
        (nix::unistd::getpgid(Some(pid)).expect("it runs"), nix::unistd::getsid(Some(pid)).expect("it runs"))
    };
    let (host, warden, engine) = (group(std::process::id()), group(parent(pids[0])), group(pids[0]));
    assert!(host.0 != warden.0 && warden.0 != engine.0 && host.0 != engine.0);
    assert!(host.1 != warden.1 && warden.1 != engine.1 && host.1 != engine.1);
    rig.launcher.stop(id, true).expect("it is there");
    rig.until_ended(id).await;
}

#[test]
fn a_warden_without_an_app_ends_at_once() {
    let mut warden = spawn::piped(example("app").as_os_str(), &[OsStr::new("__warden")]).expect("the example starts");
    drop(warden.stdin);
    assert!(!warden.child.wait().expect("it is our child").success());
}
