//! What cards say, and what becomes of it.

use std::fs;

use dualgpuopt_core::gpu::{GpuId, Metric, SourceHealth, SourceKind};
use dualgpuopt_core::reading::{Reading, Why};
use dualgpuopt_core::units::Bytes;
use serde_json::json;

use crate::support::{Bench, FIRST, SECOND, card, sample, two_cards};

const GIB: f64 = 1_073_741_824.0;

#[test]
fn facts_and_readings_of_two_cards_come_through() {
    let bench = Bench::new(&two_cards());
    let mut watch = bench.start();
    let frame = watch.frame(|_| true);
    assert_eq!(watch.healths, [SourceHealth::Starting, SourceHealth::Live]);

    let machine = watch.machine.clone().expect("the machine comes before its first frame");
    assert_eq!(machine.source, SourceKind::Nvml);
    assert_eq!(machine.driver_version.as_deref(), Some("570.133.07"));
    assert_eq!(machine.nvml_version.as_deref(), Some("12.570.133.07"));
    assert_eq!(machine.cuda_version.as_deref(), Some("12.8"));
    let gpu = &machine.gpus[1];
    assert_eq!((&gpu.id, gpu.index), (&GpuId(SECOND.to_owned()), 1));
    assert_eq!(gpu.name, "NVIDIA GeForce RTX 3090");
    assert_eq!(gpu.pci_bus_id.as_deref(), Some("00000000:02:00.0"));
    assert_eq!(gpu.memory_total, Some(Bytes::gib(24)));
    assert_eq!(gpu.compute_capability, Some((8, 6)));
    assert_eq!((gpu.pcie_generation_max, gpu.pcie_width_max), (Some(4), Some(16)));

    let sample = sample(&frame, SECOND);
    let values: Vec<_> = Metric::ALL.iter().map(|&metric| sample.get(metric)).collect();
    let expected = [
        2.0 * GIB,
        21.5 * GIB,
        24.0 * GIB,
        0.5 * GIB,
        63.0,
        40.0,
        51.0,
        201.5,
        350.0,
        45.0,
        1695.0,
        9751.0,
        4.0,
        8.0,
        1_500_000.0,
        20_000.0,
        2.0,
        4.0,
    ];
    assert_eq!(values, expected.map(Reading::Value));
    assert!(sample.answered_at.is_some_and(|at| at.mono_ms >= frame.at.mono_ms));
    assert_eq!(frame.problems, Vec::<String>::new());
}

#[test]
fn insane_values_are_not_supported_and_come_back_when_sane() {
    let mut machine = two_cards();
    let sick = &mut machine["cards"][1];
    sick["temperature_c"] = json!(255);
    sick["utilization"] = json!([101, u32::MAX]);
    sick["power_mw"] = json!(u32::MAX);
    sick["fans_percent"] = json!([u32::MAX]);
    sick["memory"]["used"] = json!(u64::MAX);
    sick["pcie"]["generation"] = json!(0);
    sick["event_reasons"] = json!(u64::MAX);
    sick["performance_state"] = json!(32);
    let bench = Bench::new(&machine);
    let mut watch = bench.start();
    let frame = watch.frame(|_| true);
    for metric in [
        Metric::Temperature,
        Metric::GpuUtilization,
        Metric::MemoryUtilization,
        Metric::Power,
        Metric::Fan,
        Metric::MemoryUsed,
        Metric::MemoryFree,
        Metric::PcieGeneration,
        Metric::ThrottleReasons,
        Metric::PerformanceState,
    ] {
        assert_eq!(sample(&frame, SECOND).get(metric), Reading::Missing(Why::NotSupported), "{metric:?}");
        assert!(sample(&frame, FIRST).get(metric).value().is_some(), "{metric:?}");
    }
    bench.describe(&two_cards());
    let healed = |metric| move |frame: &_| sample(frame, SECOND).get(metric).value().is_some();
    watch.frame(healed(Metric::Temperature));
    watch.frame(healed(Metric::MemoryUsed));
}

#[test]
fn what_a_card_does_not_support_is_asked_once_per_card() {
    let mut machine = two_cards();
    machine["faults"] = json!([
        { "call": "nvmlDeviceGetPowerUsage", "code": 3 },
        { "call": "nvmlDeviceGetClockInfo", "card": SECOND, "code": 4 },
    ]);
    let bench = Bench::new(&machine);
    machine["calls_file"] = json!(bench.path("calls"));
    bench.describe(&machine);
    let mut watch = bench.start();
    let frame = watch.frame(|frame| frame.seq == 8);
    assert_eq!(sample(&frame, FIRST).get(Metric::Power), Reading::Missing(Why::NotSupported));
    assert_eq!(sample(&frame, SECOND).get(Metric::SmClock), Reading::Missing(Why::NoPermission));
    let calls = fs::read_to_string(bench.path("calls")).expect("the library wrote it");
    let count = |line: &str| calls.lines().filter(|&call| call == line).count();
    assert_eq!(count(&format!("nvmlDeviceGetPowerUsage {FIRST}")), 1);
    assert_eq!(count(&format!("nvmlDeviceGetPowerUsage {SECOND}")), 1);
    assert!(count(&format!("nvmlDeviceGetUtilizationRates {FIRST}")) >= 8);
    assert_eq!(count(&format!("nvmlDeviceGetClockInfo {SECOND}")), 2, "a refusal rests, for either clock");
}

#[test]
fn a_refresh_of_two_cards_costs_at_most_35_calls() {
    let mut machine = two_cards();
    let bench = Bench::new(&machine);
    machine["calls_file"] = json!(bench.path("calls"));
    bench.describe(&machine);
    let mut watch = bench.start();
    watch.frame(|frame| frame.seq == 20);
    let calls = fs::read_to_string(bench.path("calls")).expect("the library wrote it");
    let utilization = calls.lines().filter(|call| call.contains("UtilizationRates")).count();
    let passes = utilization.div_ceil(2);
    assert!(passes >= 20);
    // Facts and the census are not part of a refresh; leaving them in only makes this stricter.
    assert!(calls.lines().count() <= 35 * passes, "{} calls in {passes} refreshes", calls.lines().count());
}

#[test]
fn older_forms_of_calls_take_over() {
    let mut machine = two_cards();
    machine["faults"] = json!([
        { "call": "nvmlDeviceGetMemoryInfo_v2", "card": FIRST, "code": 13 },
        { "call": "nvmlDeviceGetMemoryInfo_v2", "card": SECOND, "code": 999 },
        { "call": "nvmlDeviceGetTemperatureV", "code": 13 },
        { "call": "nvmlDeviceGetCurrentClocksEventReasons", "code": 13 },
    ]);
    let bench = Bench::new(&machine);
    let mut watch = bench.start();
    let frame = watch.frame(|_| true);
    for uuid in [FIRST, SECOND] {
        let sample = sample(&frame, uuid);
        assert_eq!(sample.get(Metric::MemoryUsed), Reading::Value(2.5 * GIB), "version 1 counts the reserve as used");
        assert_eq!(sample.get(Metric::MemoryReserved), Reading::Missing(Why::NotSupported));
        assert_eq!(sample.get(Metric::Temperature), Reading::Value(51.0));
        assert_eq!(sample.get(Metric::ThrottleReasons), Reading::Value(4.0));
    }
    let machine = watch.machine.expect("the machine comes before its first frame");
    assert_eq!(machine.gpus[0].memory_total, Some(Bytes::gib(24)));
}

#[test]
fn a_lost_card_is_lost_alone_and_read_again_when_back() {
    let bench = Bench::new(&two_cards());
    let mut watch = bench.start();
    watch.frame(|_| true);
    let mut machine = two_cards();
    machine["faults"] = json!([{ "call": "*", "card": SECOND, "code": 15 }]);
    bench.describe(&machine);
    let frame = watch.frame(|frame| sample(frame, SECOND).silent() == Some(Why::Lost));
    assert!(sample(&frame, FIRST).get(Metric::Power).value().is_some());
    assert!(sample(&frame, SECOND).answered_at.is_some_and(|at| at.mono_ms <= frame.at.mono_ms));
    bench.describe(&two_cards());
    watch.frame(|frame| sample(frame, SECOND).get(Metric::PowerLimit).value().is_some());
}

#[test]
fn a_card_keeps_its_identity_when_places_change_and_a_new_one_is_seen() {
    let bench = Bench::new(&two_cards());
    let mut watch = bench.start();
    watch.frame(|_| true);
    const THIRD: &str = "GPU-33333333-3333-3333-3333-333333333333";
    let mut machine = two_cards();
    let mut second = card(SECOND, 2);
    second["temperature_c"] = json!(77);
    machine["cards"] = json!([card(THIRD, 3), second, card(FIRST, 1)]);
    bench.describe(&machine);
    let frame = watch.frame(|frame| frame.gpus.len() == 3);
    assert_eq!(watch.machine.as_ref().map(|machine| machine.gpus.len()), Some(3));
    assert_eq!(sample(&frame, SECOND).get(Metric::Temperature), Reading::Value(77.0));
    assert_eq!(sample(&frame, FIRST).get(Metric::Temperature), Reading::Value(51.0));
}

#[test]
fn a_machine_without_cards_is_live_and_empty() {
    let mut machine = two_cards();
    machine["cards"] = json!([]);
    let bench = Bench::new(&machine);
    let mut watch = bench.start();
    let frame = watch.frame(|_| true);
    assert!(frame.gpus.is_empty());
    assert_eq!(watch.machine.map(|machine| machine.gpus.len()), Some(0));
}
