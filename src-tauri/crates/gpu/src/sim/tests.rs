//! Laws of the simulated machine.

use proptest::prelude::*;

use super::*;

fn at(mono_ms: u64) -> Stamp {
    Stamp { mono_ms, wall_ms: 0 }
}

fn names(cards: &[&str]) -> Vec<String> {
    cards.iter().map(|&card| card.to_owned()).collect()
}

fn value(sample: &GpuSample, metric: Metric) -> f64 {
    sample.get(metric).value().expect("the simulator knows this metric")
}

#[test]
fn no_names_are_two_3090() {
    let machine = SimSource::new(&[], 1).and_then(|mut sim| sim.machine()).expect("the default exists");
    let gpus: Vec<_> = machine.gpus.iter().map(|gpu| (gpu.id.0.as_str(), gpu.name.as_str())).collect();
    assert_eq!(
        gpus,
        [
            ("GPU-sim03090-0000-4000-8000-000000000001", "NVIDIA GeForce RTX 3090"),
            ("GPU-sim03090-0000-4000-8000-000000000002", "NVIDIA GeForce RTX 3090"),
        ]
    );
    assert_eq!(machine.gpus[0].memory_total, Some(Bytes::gib(24)));
}

#[test]
fn names_are_matched_leniently() {
    for name in ["3090", "rtx 3090", "RTX-3090", "NVIDIA GeForce RTX 3090", " rtx3090 "] {
        assert_eq!(cards::find(name).map(|card| card.name), Some("NVIDIA GeForce RTX 3090"), "{name}");
    }
    assert_eq!(cards::find("4060 Ti 16GB").map(|card| card.memory_gib), Some(16));
    assert_eq!(cards::find("3060 12GB").map(|card| card.memory_gib), Some(12));
    assert_eq!(cards::find("RTX A6000").map(|card| card.memory_gib), Some(48));
    assert!(CARDS.len() >= 12);
}

#[test]
fn the_speed_of_every_simulated_card_is_known() {
    for card in CARDS {
        assert!(dualgpuopt_core::card::speed_of(&facts(card, 0)).is_some(), "{}", card.name);
    }
}

#[test]
fn an_unknown_card_is_refused_with_those_known() {
    let error = SimSource::new(&names(&["3090", "voodoo 2"]), 1).expect_err("no such card");
    let words = error.to_string();
    assert!(words.starts_with("There is no simulated card named \"voodoo 2\". Known cards: 3060, 3070,"), "{words}");
    assert!(SimSource::new(&names(&["3090"; 17]), 1).is_err());
}

#[test]
fn the_same_time_gives_the_same_numbers_however_often_it_is_asked() {
    let mut often = SimSource::new(&[], 7).expect("the default exists");
    let mut seldom = SimSource::new(&[], 7).expect("the default exists");
    let mut other = SimSource::new(&[], 8).expect("the default exists");
    for ms in (0..=60_000).step_by(130) {
        often.poll(at(ms));
    }
    seldom.poll(at(0));
    other.poll(at(0));
    let (often, seldom, other) = (often.poll(at(60_000)), seldom.poll(at(60_000)), other.poll(at(60_000)));
    assert_eq!(often.gpus, seldom.gpus);
    assert_ne!(other.gpus, seldom.gpus);
}

#[test]
fn load_warms_the_card_and_the_fan_follows() {
    let mut sim = SimSource::new(&names(&["4090"]), 3).expect("known card");
    let first = sim.poll(at(0));
    let idle_gib = value(&first.gpus[0], Metric::MemoryUsed) / 1_073_741_824.0;
    assert!((0.3..=0.9).contains(&idle_gib), "{idle_gib}");
    let (mut busy, mut hottest, mut fastest) = (0, 0.0_f64, 0.0_f64);
    for ms in (0..600_000).step_by(1000) {
        let sample = &sim.poll(at(ms)).gpus[0];
        busy += u32::from(value(sample, Metric::GpuUtilization) > 70.0);
        hottest = hottest.max(value(sample, Metric::Temperature));
        fastest = fastest.max(value(sample, Metric::Fan));
    }
    assert!(value(&first.gpus[0], Metric::Temperature) < 35.0);
    assert!(busy > 200 && (55.0..90.0).contains(&hottest) && fastest > 30.0, "{busy} {hottest} {fastest}");
}

#[test]
fn a_week_of_sleep_is_survived_at_once() {
    let mut sim = SimSource::new(&[], 3).expect("the default exists");
    sim.poll(at(0));
    let frame = sim.poll(at(7 * 24 * 3_600_000));
    assert_eq!(frame.seq, 2);
}

proptest! {
    #[test]
    fn physics_holds_at_any_time(seed: u64, card in 0..CARDS.len(), steps in prop::collection::vec(1_u64..20_000, 1..60)) {
        let mut sim = SimSource::new(&names(&[CARDS[card].short[0], "3060"]), seed).expect("known cards");
        let mut now = 0;
        for step in steps {
            now += step;
            for sample in &sim.poll(at(now)).gpus {
                let sum = value(sample, Metric::MemoryUsed) + value(sample, Metric::MemoryFree) + value(sample, Metric::MemoryReserved);
                prop_assert!((sum - value(sample, Metric::MemoryTotal)).abs() < 1.0);
                prop_assert!(value(sample, Metric::MemoryFree) >= 0.0);
                prop_assert!(value(sample, Metric::Power) <= value(sample, Metric::PowerLimit));
                prop_assert!((0.0..=100.0).contains(&value(sample, Metric::GpuUtilization)));
                prop_assert!((20.0..90.0).contains(&value(sample, Metric::Temperature)));
                prop_assert_eq!(sample.metrics.len(), Metric::ALL.len());
            }
        }
    }
}
