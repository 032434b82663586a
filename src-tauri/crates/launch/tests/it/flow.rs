//! From start to ready to stopped.

use std::time::Duration;

use dualgpuopt_core::session::{Exit, LogStream, SessionState};
use dualgpuopt_launch::{LaunchEvent, SessionError};

use crate::rig::{Rig, child, runs, until};

#[tokio::test]
async fn an_engine_loads_becomes_ready_and_stops_when_asked() {
    let rig = Rig::new(Duration::from_secs(20));
    let id = rig.launcher.start(child(&["http_ready", "{port}", "300"])).await.expect("it can start");
    until("ready", || (rig.view(id).state == SessionState::Ready).then_some(())).await;
    let pid = rig.until_runs(id).await;
    assert_eq!(rig.launcher.forget(id), Err(SessionError::NotEnded(id.0)));

    rig.launcher.stop(id, false).expect("it is there");
    let view = rig.until_ended(id).await;
    let exit = Exit { code: None, signal: Some(15) };
    let stopping = SessionState::Stopping { force_at_ms: 1_700_000_020_000 };
    assert_eq!(
        rig.states(),
        [SessionState::Starting, SessionState::Loading, SessionState::Ready, stopping, SessionState::Stopped { exit }]
    );
    assert!(!runs(pid));
    assert_eq!(view.containment.as_deref(), Some("sub-reaper, own session"));
    assert!(view.ready_at_ms.is_some() && view.ended_at_ms.is_some());

    let ours: Vec<String> =
        rig.lines().into_iter().filter(|line| line.stream == LogStream::App).map(|line| line.text).collect();
    assert_eq!(ours[0], format!("Started child, PID {pid}"));
    assert!(ours[1].starts_with("Ready after 0.") || ours[1].starts_with("Ready after "), "{}", ours[1]);
    assert_eq!(&ours[2..], ["Stopping; by force in 20 s", "Stopped"]);
    assert_eq!(rig.launcher.log(id, 0, 1_000).expect("it is there").lines, rig.lines());

    rig.launcher.stop(id, true).expect("stopping what has ended changes nothing");
    rig.launcher.forget(id).expect("it has ended");
    assert!(rig.launcher.list().is_empty());
    assert_eq!(rig.launcher.stop(id, false), Err(SessionError::Unknown(id.0)));
    assert_eq!(rig.launcher.log(id, 0, 1), Err(SessionError::Unknown(id.0)));
}

#[tokio::test]
async fn lines_that_led_to_a_state_are_told_before_it() {
    let rig = Rig::new(Duration::from_secs(20));
    let id =
        rig.launcher.start(child(&["exit", "3", "error: invalid argument: --no-such"])).await.expect("it can start");
    rig.until_ended(id).await;
    let events = rig.events();
    let last = events.last().expect("there are events");
    assert!(matches!(last, LaunchEvent::State(view) if view.state.ended()), "{last:?}");
}

#[tokio::test]
async fn stop_all_ends_several_and_returns_when_they_have_ended() {
    let rig = Rig::new(Duration::from_secs(20));
    let mut pids = Vec::new();
    for _ in 0..3 {
        let id = rig.launcher.start(child(&["http_ready", "{port}", "0"])).await.expect("it can start");
        pids.push(rig.until_runs(id).await);
    }
    rig.launcher.stop_all().await;
    assert!(rig.launcher.list().iter().all(|view| matches!(view.state, SessionState::Stopped { .. })));
    assert!(!pids.into_iter().any(runs));
}

#[tokio::test]
async fn a_stop_before_ready_stops_too() {
    let rig = Rig::new(Duration::from_secs(20));
    let id = rig.launcher.start(child(&["http_ready", "{port}", "3600000"])).await.expect("it can start");
    rig.launcher.stop(id, false).expect("it is there");
    let view = rig.until_ended(id).await;
    assert!(matches!(view.state, SessionState::Stopped { .. }), "{:?}", view.state);
    assert!(!rig.states().contains(&SessionState::Ready));
}
