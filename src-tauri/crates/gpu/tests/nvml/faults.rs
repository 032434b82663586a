//! Calls that hang, and a driver that will not start.

use std::path::PathBuf;

use dualgpuopt_core::gpu::{Frame, Metric, SourceHealth};
use dualgpuopt_core::reading::Why;
use serde_json::{Value, json};

use crate::support::{Bench, FIRST, INTERVAL, SECOND, library, sample, two_cards};

fn with_fault(fault: &Value) -> Value {
    let mut machine = two_cards();
    machine["faults"] = json!([fault]);
    machine
}

#[test]
fn a_hanging_call_silences_one_card_until_it_returns() {
    let bench = Bench::new(&two_cards());
    let mut watch = bench.start();
    let healthy = watch.frame(|_| true);
    let hang = json!({ "call": "nvmlDeviceGetClockInfo", "card": SECOND, "hang_ms": 60_000 });
    bench.describe(&with_fault(&hang));

    let silent = watch.frame(|frame| sample(frame, SECOND).silent() == Some(Why::TimedOut));
    let answered = sample(&silent, SECOND).answered_at.expect("it answered before");
    assert!(answered.mono_ms >= healthy.at.mono_ms && answered.mono_ms < silent.at.mono_ms);
    assert_eq!(silent.problems, ["GPU 1 (NVIDIA GeForce RTX 3090) does not answer in time."]);
    for _ in 0..10 {
        let fresh = |frame: &Frame| sample(frame, FIRST).answered_at.is_some_and(|at| at.mono_ms >= frame.at.mono_ms);
        let frame = watch.frame(fresh);
        assert!(sample(&frame, FIRST).get(Metric::Power).value().is_some());
        assert_eq!(sample(&frame, SECOND).silent(), Some(Why::TimedOut));
        assert_eq!(sample(&frame, SECOND).answered_at, Some(answered));
    }

    bench.describe(&two_cards());
    let back = watch.frame(|frame| sample(frame, SECOND).get(Metric::Power).value().is_some());
    assert!(sample(&back, SECOND).answered_at.is_some_and(|at| at.mono_ms > answered.mono_ms));
    assert_eq!(watch.healths, [SourceHealth::Starting, SourceHealth::Live], "the process was never in question");
    assert_eq!(bench.spawned(), 1);
}

#[test]
fn a_slow_pcie_call_does_not_keep_a_card_from_answering() {
    let slow = json!({ "call": "nvmlDeviceGetPcieThroughput", "card": SECOND, "hang_ms": 60_000 });
    let bench = Bench::new(&two_cards());
    let mut watch = bench.start();
    watch.frame(|frame| sample(frame, SECOND).get(Metric::PcieSend).value().is_some());
    bench.describe(&with_fault(&slow));
    // The reader is stuck behind its answer, so the card falls silent; it must not take the others along.
    let frame = watch.frame(|frame| sample(frame, SECOND).silent() == Some(Why::TimedOut));
    assert!(sample(&frame, FIRST).get(Metric::PcieSend).value().is_some());
}

#[test]
fn a_missing_library_is_absent_and_names_the_place() {
    let bench = Bench::new(&two_cards());
    let mut watch = bench.start_with(Some(PathBuf::from("/nowhere/libnvidia-ml.so.1")), INTERVAL);
    let health = watch.health(|health| *health != SourceHealth::Starting);
    let SourceHealth::Absent { message, looked_for } = health else { panic!("{health:?}") };
    assert!(message.contains("libnvidia-ml.so.1) could not be loaded"), "{message}");
    assert!(looked_for[0].starts_with("/nowhere/libnvidia-ml.so.1: cannot open"), "{looked_for:?}");
}

#[test]
fn a_library_that_is_not_nvml_is_absent() {
    let bench = Bench::new(&two_cards());
    let mut watch = bench.start_with(Some(PathBuf::from("libc.so.6")), INTERVAL);
    let health = watch.health(|health| *health != SourceHealth::Starting);
    let SourceHealth::Absent { looked_for, .. } = health else { panic!("{health:?}") };
    assert_eq!(looked_for[0], "libc.so.6: not NVIDIA's library");
}

#[test]
fn a_driver_that_is_not_loaded_is_absent_until_the_user_retries() {
    let bench = Bench::new(&with_fault(&json!({ "call": "nvmlInit_v2", "code": 9 })));
    let mut watch = bench.start();
    let health = watch.health(|health| *health != SourceHealth::Starting);
    let SourceHealth::Absent { message, looked_for } = health else { panic!("{health:?}") };
    assert_eq!(message, "The NVIDIA driver is not loaded.");
    let found = format!("{}: found, and answered \"NVIDIA driver is not loaded\"", library().display());
    assert_eq!(looked_for[0], found);

    bench.describe(&two_cards());
    watch.sampler.retry();
    watch.live();
    watch.frame(|frame| sample(frame, FIRST).get(Metric::Power).value().is_some());
}

#[test]
fn a_driver_that_was_replaced_under_us_says_reboot_after_the_last_attempt() {
    let bench = Bench::new(&with_fault(&json!({ "call": "nvmlInit_v2", "code": 18 })));
    let mut watch = bench.start();
    let health = watch.health(|health| matches!(health, SourceHealth::Failed { .. }));
    let SourceHealth::Failed { message } = health else { unreachable!("matched above") };
    assert!(message.contains("Reboot to use the new one."), "{message}");
    let attempts: Vec<_> = watch
        .healths
        .iter()
        .filter_map(|health| match health {
            SourceHealth::Recovering { attempt, attempts_max: 3, .. } => Some(*attempt),
            _ => None,
        })
        .collect();
    assert_eq!(attempts, [1, 2, 3]);
}
