//! What the tests share: a launcher whose events are kept, and questions to `/proc`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dualgpuopt_core::command::LaunchSpec;
use dualgpuopt_core::session::{LogLine, SessionId, SessionState, SessionView};
use dualgpuopt_launch::{LaunchEvent, Launcher, Sink};

/// Longest that anything here may take; much more than it does, as test machines are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A built example of this crate.
pub(crate) fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("Linux knows our file");
    let profile = own.parent().and_then(|deps| deps.parent()).expect("target/<profile>/deps/<test>");
    let path = profile.join("examples").join(name);
    assert!(path.is_file(), "{} is missing: build with `cargo test -p dualgpuopt-launch --examples`", path.display());
    path
}

/// A launcher and all it said.
pub(crate) struct Rig {
    pub(crate) launcher: Launcher,
    events: Arc<Mutex<Vec<LaunchEvent>>>,
}

impl Rig {
    pub(crate) fn new(grace: Duration) -> Self {
        let events: Arc<Mutex<Vec<LaunchEvent>>> = Arc::default();
        let sink: Sink = {
            let events = Arc::clone(&events);
            Arc::new(move |event| events.lock().expect("no test panics while holding it").push(event))
        };
        Self { launcher: launcher(grace, sink), events }
    }

    pub(crate) fn events(&self) -> Vec<LaunchEvent> {
        self.events.lock().expect("no test panics while holding it").clone()
    }

    /// Every state the session was told to be in, without repeats.
    pub(crate) fn states(&self) -> Vec<SessionState> {
        let mut states: Vec<SessionState> = Vec::new();
        for event in self.events() {
            if let LaunchEvent::State(view) = event {
                states.push(view.state);
            }
        }
        states.dedup();
        states
    }

    /// All lines told.
    pub(crate) fn lines(&self) -> Vec<LogLine> {
        let logs = self.events().into_iter().filter_map(|event| match event {
            LaunchEvent::Log(batch) => Some(batch.lines),
            LaunchEvent::State(_) => None,
        });
        logs.flatten().collect()
    }

    pub(crate) fn view(&self, id: SessionId) -> SessionView {
        self.launcher.list().into_iter().find(|view| view.id == id).expect("the session is on the list")
    }

    pub(crate) async fn until_ended(&self, id: SessionId) -> SessionView {
        until("the session ends", || {
            let view = self.view(id);
            view.state.ended().then_some(view)
        })
        .await
    }

    /// The engine's process id, once it runs.
    pub(crate) async fn until_runs(&self, id: SessionId) -> u32 {
        until("the engine runs", || self.view(id).pid).await
    }

    /// The rest of the first line that starts with `prefix`, once it was told.
    pub(crate) async fn until_said(&self, prefix: &str) -> String {
        let said = || self.lines().into_iter().find_map(|line| line.text.strip_prefix(prefix).map(str::to_owned));
        until(prefix, said).await
    }
}

pub(crate) fn launcher(grace: Duration, sink: Sink) -> Launcher {
    Launcher::new(example("app"), Arc::new(|| 1_700_000_000_000), sink).with_grace(grace)
}

/// The child with a behaviour, on a free port that is also the last `{port}` of its arguments.
pub(crate) fn child(args: &[&str]) -> LaunchSpec {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback listens");
    let port = listener.local_addr().expect("bound").port();
    LaunchSpec {
        title: "test".into(),
        program: example("child").display().to_string(),
        args: args.iter().map(|arg| arg.replace("{port}", &port.to_string())).collect(),
        env: Vec::new(),
        host: "127.0.0.1".into(),
        port,
        health_path: "/health".into(),
    }
}

/// Looks again until there is an answer.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a process runs; one that only waits to be reaped does not.
pub(crate) fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z")
}

pub(crate) fn parent(pid: u32) -> u32 {
    stat(pid).and_then(|fields| fields[1].parse().ok()).expect("it runs")
}

fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

pub(crate) fn kill(pid: u32, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("Linux ids are positive i32"));
    nix::sys::signal::kill(pid, signal).expect("the process is ours");
}
