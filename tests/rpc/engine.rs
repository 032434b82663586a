//! The engine's programs, and what its log says of places.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dualgpuopt_core::command::LaunchSpec;

/// Longest that a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where everything lies, by the engine's log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// Device of each layer, then of the output: `CPU`, `RPC0`, `RPC1`, …
    pub(crate) units: Vec<String>,
    /// Layers on devices whose experts are in RAM, ascending.
    pub(crate) experts: Vec<u32>,
}

/// Stand-ins for GPUs. Dropping them ends them.
pub(crate) struct Servers {
    children: Vec<Child>,
    endpoints: Vec<String>,
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|it| it.local_addr()).expect("a free port").port()
}

impl Servers {
    pub(crate) fn start(programs: &Path, count: usize) -> Self {
        let mut servers = Self { children: Vec::new(), endpoints: Vec::new() };
        for _ in 0..count {
            let port = free_port();
            let child = Command::new(programs.join("ggml-rpc-server"))
                .args(["-H", "127.0.0.1", "-p", &port.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the server starts");
            servers.children.push(child);
            servers.endpoints.push(format!("127.0.0.1:{port}"));
            let since = Instant::now();
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                assert!(since.elapsed() < PATIENCE, "the RPC server on port {port} does not listen");
                std::thread::yield_now();
            }
        }
        servers
    }

    /// Starts the command with these servers for its GPUs, in their order, and reads its log until it listens.
    pub(crate) fn run(&self, spec: &LaunchSpec) -> Said {
        let mut engine = Command::new(&spec.program)
            .args(&spec.args)
            .args(["--rpc", &self.endpoints.join(","), "-lv", "5"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the engine starts");
        let log = BufReader::new(engine.stderr.take().expect("it was asked for as a pipe"));
        let mut lines = Vec::new();
        for line in log.lines() {
            let line = line.unwrap_or_default();
            let listens = line.contains("listening on http");
            lines.push(line);
            if listens {
                break;
            }
        }
        let _ = engine.kill();
        engine.wait().expect("it was ours");
        assert!(lines.iter().any(|line| line.contains("listening on http")), "{}", lines.join("\n"));
        said(&lines)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Reads `load_tensors: layer   3 assigned to device RPC1, …` and `tensor blk.3.ffn_up_exps.weight (…) buffer type
/// overridden to CPU`.
fn said(lines: &[String]) -> Said {
    let units: Vec<String> = lines
        .iter()
        .filter_map(|line| line.split_once(" assigned to device "))
        .map(|(_, rest)| rest.split(',').next().unwrap_or_default().trim().to_owned())
        .collect();
    let overridden = lines.iter().filter(|line| line.contains("buffer type overridden to CPU"));
    let experts: BTreeSet<u32> = overridden
        .filter_map(|line| line.split_once("tensor blk.")?.1.split('.').next()?.parse().ok())
        .filter(|layer: &u32| usize::try_from(*layer).is_ok_and(|at| units.get(at).is_some_and(|unit| unit != "CPU")))
        .collect();
    Said { units, experts: experts.into_iter().collect() }
}
