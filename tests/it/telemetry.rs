//! The driver's library through its own process, as the command line shows it.

use std::time::{Duration, Instant};

use dualgpuopt_test_support::cli::dualgpuopt;
use dualgpuopt_test_support::nvml::Described;
use dualgpuopt_test_support::places;
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
