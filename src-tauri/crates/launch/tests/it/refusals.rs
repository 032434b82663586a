//! Engines that do not start, or end at once: each with its own words.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use dualgpuopt_core::command::LaunchSpec;
use dualgpuopt_core::session::SessionState;
use dualgpuopt_launch::LaunchError;

use crate::rig::{Rig, child, until};

async fn failure(spec: LaunchSpec) -> (String, String) {
    let rig = Rig::new(Duration::from_secs(20));
    let id = rig.launcher.start(spec).await.expect("it passes the checks");
    match rig.until_ended(id).await.state {
        SessionState::Failed { message, hint } => (message, hint),
        other => panic!("{other:?}"),
    }
}

/// An executable file with this content.
fn program(content: &[u8]) -> tempfile::TempPath {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(content).expect("a temporary file");
    file.as_file().set_permissions(PermissionsExt::from_mode(0o755)).expect("our file");
    file.into_temp_path()
}

#[tokio::test]
async fn nothing_is_started_where_the_checks_refuse() {
    let rig = Rig::new(Duration::from_secs(20));
    let refused = rig.launcher.start(LaunchSpec { program: "/no/such/engine".into(), ..child(&[]) }).await;
    assert!(matches!(refused, Err(LaunchError::ProgramMissing { .. })), "{refused:?}");
    assert!(rig.launcher.list().is_empty() && rig.events().is_empty());
}

#[tokio::test]
async fn a_port_that_another_session_will_use_is_taken() {
    let rig = Rig::new(Duration::from_secs(20));
    let spec = child(&["stubborn"]);
    let id = rig.launcher.start(spec.clone()).await.expect("it can start");
    let refused = rig.launcher.start(spec.clone()).await;
    assert!(matches!(refused, Err(LaunchError::PortTaken { .. })), "{refused:?}");
    assert_ne!(rig.launcher.free_port(spec.port), Some(spec.port));
    rig.launcher.stop(id, true).expect("it is there");
    rig.until_ended(id).await;
    let again = rig.launcher.start(spec).await.expect("the port is free again");
    rig.launcher.stop(again, true).expect("it is there");
    rig.until_ended(again).await;
}

#[tokio::test]
async fn an_instant_exit_is_told_with_what_the_engine_said() {
    let (message, hint) = failure(child(&["exit", "3", "error: invalid argument: --no-such"])).await;
    assert_eq!(
        message,
        "child ended before it was ready (exit code 3): it does not accept an argument. \
         It said: error: invalid argument: --no-such"
    );
    assert_eq!(hint, "The engine may be of another version than the command is made for.");
}

#[tokio::test]
async fn a_crash_is_told_with_its_signal() {
    let (message, _) = failure(child(&["abort"])).await;
    assert_eq!(message, "child ended before it was ready (signal 6, aborted).");
}

#[tokio::test]
async fn a_file_that_is_no_program_is_told_as_such() {
    let no_program = program(b"\x7fELF but not really");
    let spec = LaunchSpec { program: no_program.display().to_string(), ..child(&[]) };
    let (message, hint) = failure(spec).await;
    assert!(message.contains("could not be started: Exec format error"), "{message}");
    assert!(hint.contains("the build for this system and processor"), "{hint}");
}

#[tokio::test]
async fn a_script_without_its_interpreter_is_told_as_such() {
    let script = program(b"#!/no/such/interpreter\n");
    let spec = LaunchSpec { program: script.display().to_string(), ..child(&[]) };
    let (message, hint) = failure(spec).await;
    assert!(message.contains("could not be started: No such file or directory"), "{message}");
    assert!(hint.contains("interpreter"), "{hint}");
}

#[tokio::test]
async fn a_warden_that_cannot_start_is_told() {
    let events = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = {
        let events = std::sync::Arc::clone(&events);
        std::sync::Arc::new(move |event| events.lock().expect("nobody panics while holding it").push(event))
    };
    let launcher = dualgpuopt_launch::Launcher::new("/no/such/host".into(), std::sync::Arc::new(|| 0), sink);
    launcher.start(child(&["stubborn"])).await.expect("it passes the checks");
    let state = until("an end", || launcher.list().into_iter().map(|view| view.state).find(SessionState::ended)).await;
    let SessionState::Failed { message, .. } = state else { panic!("{state:?}") };
    assert!(message.contains("/no/such/host"), "{message}");
}
