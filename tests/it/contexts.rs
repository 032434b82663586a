//! The driver's context of an engine: from published figures at first, from this machine after the first start.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use dualgpuopt_test_support::cli::{Cli, Finished, Running, dualgpuopt};
use dualgpuopt_test_support::nvml::Described;
use dualgpuopt_test_support::places;
use dualgpuopt_test_support::processes::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// What the described engine takes on each card outside its buffers.
const CONTEXTS: [u64; 2] = [431 * MIB, 207 * MIB];

struct Rig {
    folder: tempfile::TempDir,
    described: Described,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let described = Described::two_cards(folder.path());
        Self { folder, described }
    }

    /// The command line on the described cards, all with the same settings.
    fn cli(&self, args: &[&str]) -> Cli {
        let model = places::model("tiny.gguf");
        dualgpuopt(args.iter().map(Path::new).chain([model.as_path()]))
            .env("XDG_CONFIG_HOME", self.folder.path().join("config"))
            .env("DUALGPUOPT_POLL_INTERVAL", "0.1")
            .env("DUALGPUOPT_NVML_LIBRARY", places::built("libnvidia_ml.so"))
            .env("DUALGPUOPT_TEST_NVML", &self.described.path)
    }

    /// The devices of a plan, which uses both cards.
    fn planned(&self) -> Vec<Value> {
        let plan: Finished = self.cli(&["plan", "--pin", "gpus=all", "--json"]).run();
        let devices = plan.json()["plan"]["devices"].as_array().expect("devices").clone();
        assert_eq!(devices.iter().filter(|device| device["memory"]["weights"] != 0).count(), 2, "{devices:?}");
        devices
    }

    fn start(&self, more: &[&str]) -> Running {
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|it| it.local_addr()).expect("a free port").port();
        let port = port.to_string();
        let mut args = vec!["run", "--pin", "gpus=all", "--port", &port];
        args.splice(0..0, more.iter().copied());
        self.cli(&args).start()
    }
}

fn stop(mut run: Running) {
    let pid = i32::try_from(run.child.id()).expect("a process id fits");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("our own child can be signalled");
    assert_eq!(run.ended(Duration::from_secs(30)), Some(0));
}

#[test]
fn a_start_measures_the_context_and_later_plans_count_it() {
    let mut rig = Rig::new();
    let first = rig.planned();
    let memory = |device: &Value, part: &str| device["memory"][part].as_u64().expect("bytes");
    for device in &first {
        let context = &device["driver_context"];
        assert_eq!(context["source"]["kind"], "published", "{device}");
        assert_eq!(context["high"], memory(device, "driver_context"));
        assert!(context["low"].as_u64() < context["high"].as_u64(), "{device}");
    }

    let mut run = rig.start(&[]);
    run.says("Loading the model.");
    for (card, device) in first.iter().enumerate() {
        let buffers: u64 = ["weights", "kv_cache", "compute"].map(|part| memory(device, part)).iter().sum();
        rig.described.more_used(card, buffers + CONTEXTS[card]);
    }
    run.says("Ready: http://");
    let kept = rig.folder.path().join("config/app.dualgpuoptimizer/contexts.json");
    until("both cards are measured", Duration::from_secs(30), || {
        fs::read_to_string(&kept).is_ok_and(|text| text.contains("RTX 3090") && text.contains("RTX 3060"))
    });
    stop(run);
    rig.described.more_used(0, 0);
    rig.described.more_used(1, 0);

    for (device, measured) in rig.planned().iter().zip(CONTEXTS) {
        let context = &device["driver_context"];
        assert_eq!(context["source"]["kind"], "measured", "{device}");
        assert_eq!((memory(device, "driver_context"), context["low"].as_u64()), (measured, Some(measured)));
    }
    let text = rig.cli(&["plan", "--pin", "gpus=all", "--explain"]).run().stdout;
    assert!(text.contains("431.0 MiB, measured on this machine on 20"), "{text}");
}

#[test]
fn an_engine_that_takes_no_memory_of_a_card_is_not_measured() {
    let rig = Rig::new();
    let mut run = rig.start(&["--verbose"]);
    run.says("Ready: http://");
    let said = run.says("was not measured");
    assert!(said.contains("too little for a context"), "{said}");
    stop(run);
    assert!(!rig.folder.path().join("config/app.dualgpuoptimizer/contexts.json").exists());
}
