//! The sampler process dies, hangs, or cannot be killed.

use std::time::{Duration, Instant};

use dualgpuopt_core::gpu::{Metric, SourceHealth};
use dualgpuopt_core::reading::Why;
use dualgpuopt_gpu::{SamplerChoice, SamplerConfig, SamplerEvent};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Bench, FIRST, INTERVAL, SECOND, Watch, eventually, library, sample, two_cards};

/// Patience where every child hangs anyway.
const IMPATIENT: Duration = Duration::from_millis(120);

#[test]
fn a_child_that_crashes_is_replaced_and_frames_are_numbered_on() {
    let bench = Bench::new(&two_cards());
    let mut watch = bench.start();
    let before = watch.frame(|frame| frame.seq == 3);
    bench.signal(Signal::SIGKILL);
    let health = watch.health(|health| *health != SourceHealth::Live);
    let SourceHealth::Recovering { message, attempt: 1, attempts_max: 3 } = health else { panic!("{health:?}") };
    assert_eq!(message, "The process that reads the NVIDIA driver ended unexpectedly.");
    let blank = watch.frame(|_| true);
    assert_eq!(sample(&blank, FIRST).silent(), Some(Why::TimedOut));
    assert!(sample(&blank, FIRST).answered_at.is_some_and(|at| at.mono_ms >= before.at.mono_ms));
    watch.live();
    watch.frame(|frame| sample(frame, SECOND).get(Metric::Power).value().is_some());
    assert_eq!(bench.spawned(), 2);
}

#[test]
fn a_child_that_falls_silent_is_replaced() {
    let bench = Bench::new(&two_cards());
    let mut watch = bench.start();
    watch.frame(|_| true);
    bench.signal(Signal::SIGSTOP);
    let health = watch.health(|health| *health != SourceHealth::Live);
    let SourceHealth::Recovering { message, .. } = health else { panic!("{health:?}") };
    assert_eq!(message, "The NVIDIA driver did not answer for 0.3 s.");
    let blank = watch.frame(|frame| sample(frame, FIRST).silent() == Some(Why::TimedOut));
    assert!(sample(&blank, SECOND).answered_at.is_some());
    watch.live();
}

#[test]
fn a_driver_that_never_starts_is_given_up_after_three_replacements_and_can_be_retried() {
    let mut machine = two_cards();
    machine["faults"] = json!([{ "call": "nvmlInit_v2", "hang_ms": 60_000 }]);
    let mut bench = Bench::new(&machine);
    bench.patience = IMPATIENT;
    let mut watch = bench.start_with(Some(library()), IMPATIENT / 3);
    let health = watch.health(|health| matches!(health, SourceHealth::Failed { .. }));
    assert_eq!(bench.spawned(), 4, "the first and three replacements, then {health:?}");
    bench.describe(&two_cards());
    watch.sampler.retry();
    watch.live();
}

#[test]
fn children_that_cannot_be_killed_are_never_more_than_three() {
    let mut machine = two_cards();
    machine["faults"] = json!([{ "call": "nvmlInit_v2", "hang_ms": 60_000 }]);
    let mut bench = Bench::unkillable(&machine);
    bench.patience = IMPATIENT;
    // Closing stdin would end them; stopped, they are as deaf as in D state.
    let mut watch = bench.start_with(Some(library()), IMPATIENT / 3);
    for children in 1..=3 {
        eventually("a child is started", || bench.spawned() == children);
        bench.signal(Signal::SIGSTOP);
    }
    let health = watch.health(|health| matches!(health, SourceHealth::Failed { .. }));
    let SourceHealth::Failed { message } = health else { unreachable!("matched above") };
    assert!(message.starts_with("3 processes hang in the NVIDIA driver"), "{message}");
    watch.sampler.retry();
    watch.health(|health| *health == SourceHealth::Starting);
    watch.health(|health| matches!(health, SourceHealth::Failed { .. }));
    assert_eq!(bench.spawned(), 3);
}

#[test]
fn stopping_takes_no_time_even_while_the_driver_hangs() {
    let mut machine = two_cards();
    machine["faults"] = json!([{ "call": "nvmlInit_v2", "hang_ms": 60_000 }]);
    let bench = Bench::new(&machine);
    let watch = bench.start();
    eventually("a child is started", || bench.spawned() == 1);
    let begun = Instant::now();
    watch.sampler.stop();
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_child_ends_by_itself_when_its_parent_is_gone() {
    let bench = Bench::unkillable(&two_cards());
    let mut watch = bench.start();
    watch.frame(|_| true);
    // Nobody kills it: its stdin closes, as when the parent dies.
    watch.sampler.stop();
    eventually("the child ends", || bench.all_ended());
}

#[test]
fn simulated_cards_need_no_child() {
    let bench = Bench::new(&two_cards());
    let cards = vec!["4090".to_owned(), "3060".to_owned()];
    let config = SamplerConfig {
        choice: SamplerChoice::Simulated { cards },
        interval: INTERVAL,
        recovery_max: 3,
        patience_min: Duration::from_millis(300),
    };
    let mut watch = Watch::start(config, &bench);
    assert_eq!(watch.event(), SamplerEvent::Health(SourceHealth::Live));
    let frame = watch.frame(|frame| frame.seq == 3);
    assert_eq!(frame.gpus.len(), 2);
    assert_eq!(watch.machine.map(|machine| machine.gpus[1].name.clone()).as_deref(), Some("NVIDIA GeForce RTX 3060"));
    assert_eq!(bench.spawned(), 0);
}
