//! The driver's library through its own process, as the command line shows it.

use std::time::{Duration, Instant};

use dualgpuopt_test_support::cli::dualgpuopt;
use dualgpuopt_test_support::nvml::Described;
use dualgpuopt_test_support::places;
use dualgpuopt_test_support::processes::running;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

#[test]
fn a_call_that_hangs_marks_its_gpu_alone_and_it_recovers() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut described = Described::two_cards(folder.path());
    let mut watch = dualgpuopt(["status", "--watch", "--json"])
        .env("DUALGPUOPT_POLL_INTERVAL", "0.1")
        .env("DUALGPUOPT_NVML_LIBRARY", places::built("libnvidia_ml.so"))
        .env("DUALGPUOPT_TEST_NVML", &described.path)
        .start();
    let mut next = || serde_json::from_str::<Value>(&watch.line()).expect("one object a line");
    let temperature = |frame: &Value, gpu: usize| frame["gpus"][gpu]["metrics"]["temperature_c"].clone();
    let live = json!({"value": 61});
    assert_eq!(temperature(&next(), 1), live);
    described.faults(json!([{
        "call": "nvmlDeviceGetUtilizationRates",
        "card": "GPU-00000001-0000-4000-8000-000000000000",
        "hang_ms": 10_000,
    }]));
    let deadline = Instant::now() + Duration::from_secs(15);
    while temperature(&next(), 1) != json!({"missing": "timed_out"}) {
        assert!(Instant::now() < deadline, "GPU 1 was never marked");
    }
    for _ in 0..3 {
        let frame = next();
        assert_eq!(temperature(&frame, 0), live, "the other GPU goes on");
    }
    described.faults(json!([]));
    let deadline = Instant::now() + Duration::from_secs(25);
    while temperature(&next(), 1) != live {
        assert!(Instant::now() < deadline, "GPU 1 never came back");
    }
}

#[test]
fn a_source_that_is_given_up_ends_watching_with_3() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let described = Described::two_cards(folder.path());
    // A path of its own, by which this test's sampler can be told from others.
    let library = folder.path().join("libnvidia-ml.so.1");
    std::os::unix::fs::symlink(places::built("libnvidia_ml.so"), &library).expect("a link can be made");
    let mut watch = dualgpuopt(["status", "--watch", "--json"])
        .env("DUALGPUOPT_MAX_RECOVERY", "0")
        .env("DUALGPUOPT_NVML_LIBRARY", &library)
        .env("DUALGPUOPT_TEST_NVML", &described.path)
        .start();
    watch.line();
    let samplers = running(&library.to_string_lossy());
    assert_eq!(samplers.len(), 1, "one sampler runs");
    kill(Pid::from_raw(i32::try_from(samplers[0]).expect("a process id fits")), Signal::SIGKILL).expect("killed");
    assert_eq!(watch.ended(Duration::from_secs(20)), Some(3));
}

#[test]
fn a_driver_without_cards_is_no_empty_table() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let script = folder.path().join("none.json");
    std::fs::write(&script, r#"{"driver_version":"570.1","cards":[]}"#).expect("written");
    for args in [&["status"][..], &["plan"]] {
        let model = places::model("tiny.gguf");
        let model = if args[0] == "plan" { vec![model] } else { vec![] };
        let ended = dualgpuopt(args.iter().map(Into::into).chain(model.into_iter().map(std::ffi::OsString::from)))
            .env("DUALGPUOPT_NVML_LIBRARY", places::built("libnvidia_ml.so"))
            .env("DUALGPUOPT_TEST_NVML", &script)
            .run();
        assert_eq!(ended.code, Some(3), "{ended:?}");
        assert!(ended.stderr.contains("lists no GPU"), "{}", ended.stderr);
    }
}
