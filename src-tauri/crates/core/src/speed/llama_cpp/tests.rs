//! Laws that hold for any model and card.

use proptest::prelude::*;

use crate::plan::CacheType;
use crate::speed::llama_cpp::{Rates, Sharing, Stage, costs, rates};
use crate::speed::work::{AttentionWork, UnitWork, Weights, Work};
use crate::speed::{Build, Calibration, CardSpeed, Link, MemoryKind, Setting};

fn work(layers: usize, bytes: f64, routed: bool, recurrent: bool) -> Work {
    let kind = Weights { bytes, values: bytes * 1.7 };
    let layer = |at: usize| UnitWork {
        dense: [Weights::default(), kind, kind, Weights::default(), Weights::default()],
        experts: if routed { [Weights::default(), Weights::default(), kind, kind, kind] } else { Default::default() },
        tensors: 11.0,
        attention: (!recurrent || at % 4 == 3).then_some(AttentionWork {
            heads: 32.0,
            key_length: 128.0,
            value_length: 128.0,
            k_row: 1024.0,
            v_row: 1024.0,
            window: (at % 2 == 1).then_some(1024.0),
        }),
        recurrent: recurrent && at % 4 != 3,
    };
    let mut units: Vec<_> = (0..layers).map(layer).collect();
    units.push(UnitWork { attention: None, recurrent: false, ..layer(0) });
    Work { units, embedding: 4096.0, experts_used: if routed { 0.0625 } else { 1.0 } }
}

prop_compose! {
    fn a_card()(
        bandwidth_mb_s in 50_000_u32..8_000_000,
        memory in prop::sample::select(vec![MemoryKind::Gddr, MemoryKind::Hbm, MemoryKind::Unified]),
        sms in 4_u32..200,
        boost_mhz in 800_u32..3000,
        capability in prop::sample::select(vec![520_u32, 610, 700, 750, 800, 860, 890, 900, 1000, 1200, 1210]),
        geforce: bool,
        generation in 1_u8..=7,
        lanes in prop::sample::select(vec![1_u8, 4, 8, 16]),
        p2p: bool,
        nvlink: bool,
    ) -> CardSpeed {
        let link = Link { generation, lanes, p2p, nvlink };
        CardSpeed { bandwidth_mb_s, memory, sms, boost_mhz, capability, geforce, link }
    }
}

prop_compose! {
    fn a_setting()(
        build in prop::option::of(1000_u32..12_000),
        flash_attention: bool,
        cache in prop::sample::select(CacheType::ALL.to_vec()),
        depth in 0_u64..1_000_000,
        prompt in 1_u64..300_000,
        micro_batch in 1_u64..4096,
        parallel in 1_u64..64,
        ram_bandwidth_mb_s in prop::option::of(5000_u32..500_000),
    ) -> Setting {
        let build = Build(build);
        Setting {
            build, flash_attention, cache_k: cache, cache_v: cache, depth, prompt, micro_batch, batch: 2048, parallel,
            ram_bandwidth_mb_s,
        }
    }
}

prop_compose! {
    fn a_model()(layers in 1_usize..24, bytes in 1e3_f64..3e8, routed: bool, recurrent: bool) -> Work {
        work(layers, bytes, routed, recurrent)
    }
}

/// The same placement for any number of units: RAM first, then each GPU its run, some experts in RAM.
fn stages(units: usize, gpus: usize, in_ram: usize, experts: usize) -> Vec<Stage> {
    let on_gpus = units.saturating_sub(in_ram).max(1);
    let place = |at: usize| match at.checked_sub(in_ram) {
        None => Stage::Ram,
        Some(at) if at < experts => Stage::GpuExpertsInRam(at * gpus / on_gpus),
        Some(at) => Stage::Gpu(at * gpus / on_gpus),
    };
    (0..units).map(place).collect()
}

fn sound(rates: &Rates) -> bool {
    [rates.decode, rates.throughput, rates.prefill].iter().all(|it| {
        let all = [it.low, it.value, it.high];
        all.iter().all(|value| value.is_finite() && *value > 0.0) && it.low <= it.value && it.value <= it.high
    }) && rates.parts.iter().all(|part| part.us.is_finite() && part.us > 0.0)
}

fn all_ways(work: &Work, cards: &[CardSpeed], setting: &Setting, in_ram: usize, experts: usize) -> Vec<Rates> {
    let layers = stages(work.units(), cards.len(), in_ram, experts);
    let order: Vec<usize> = (0..cards.len()).collect();
    let shares = vec![1.0; cards.len()];
    let tensor = Sharing::Tensor { order: &order, shares: &shares };
    [Sharing::Layers(&layers), tensor].map(|sharing| rates(work, cards, sharing, setting)).into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_rate_is_a_number_above_zero_within_its_interval(
        work in a_model(), cards in prop::collection::vec(a_card(), 1..5), setting in a_setting(),
        in_ram in 0_usize..10, experts in 0_usize..10,
    ) {
        for rates in all_ways(&work, &cards, &setting, in_ram, experts) {
            prop_assert!(sound(&rates), "{:?}", rates);
            let factors = Calibration { decode: 0.7, prefill: 1.4, measured: 2 };
            let moved = rates.clone().calibrated(&factors);
            prop_assert!(sound(&moved) && (moved.decode.value / rates.decode.value - 0.7).abs() < 1e-9);
            prop_assert!(moved.decode.high / moved.decode.low <= rates.decode.high / rates.decode.low);
        }
    }

    #[test]
    fn more_bandwidth_clocks_or_processors_are_never_slower(
        work in a_model(), cards in prop::collection::vec(a_card(), 1..4), setting in a_setting(),
        more in prop::array::uniform3(0_u32..1_000), in_ram in 0_usize..6,
    ) {
        let better: Vec<_> = cards.iter().map(|card| CardSpeed {
            bandwidth_mb_s: card.bandwidth_mb_s + more[0] * 1000,
            sms: card.sms + more[1] / 10,
            boost_mhz: card.boost_mhz + more[2],
            ..*card
        }).collect();
        let before = all_ways(&work, &cards, &setting, in_ram, 0);
        for (before, after) in before.iter().zip(all_ways(&work, &better, &setting, in_ram, 0)) {
            let slack = 1.0 + 1e-12;
            prop_assert!(after.decode.value * slack >= before.decode.value);
            prop_assert!(after.throughput.value * slack >= before.throughput.value);
            prop_assert!(after.prefill.value * slack >= before.prefill.value);
        }
    }

    #[test]
    fn more_tokens_in_the_cache_are_never_faster(
        work in a_model(), cards in prop::collection::vec(a_card(), 1..4), setting in a_setting(), more in 1_u64..100_000,
    ) {
        let deeper = Setting { depth: setting.depth + more, ..setting.clone() };
        let before = all_ways(&work, &cards, &setting, 0, 0);
        for (before, after) in before.iter().zip(all_ways(&work, &cards, &deeper, 0, 0)) {
            prop_assert!(after.decode.value <= before.decode.value * (1.0 + 1e-12));
            prop_assert!(after.prefill.value <= before.prefill.value * (1.0 + 1e-12));
        }
    }

    #[test]
    fn the_rate_of_a_placement_by_layers_is_the_sum_of_its_costs(
        work in a_model(), cards in prop::collection::vec(a_card(), 1..5), setting in a_setting(),
        in_ram in 0_usize..10, experts in 0_usize..10,
    ) {
        let setting = Setting { parallel: 1, ..setting };
        let layers = stages(work.units(), cards.len(), in_ram, experts);
        let found = rates(&work, &cards, Sharing::Layers(&layers), &setting).decode.value;
        let costs = costs(&work, &cards, &setting);
        let gpu = |stage: &Stage| match *stage {
            Stage::Gpu(gpu) | Stage::GpuExpertsInRam(gpu) => Some(gpu),
            Stage::Ram => None,
        };
        let used: std::collections::BTreeSet<_> = layers.iter().filter_map(gpu).collect();
        let costs = if used.len() > 1 { costs.several } else { costs.alone };
        let own = |(unit, stage): (usize, &Stage)| match *stage {
            Stage::Gpu(device) => costs.on_device[device][unit],
            Stage::GpuExpertsInRam(device) => costs.experts_in_ram[device][unit],
            Stage::Ram => costs.in_ram[unit],
        };
        let crossing = |pair: &[Stage]| match (gpu(&pair[0]), gpu(&pair[1])) {
            (None, Some(to)) => costs.from_ram[to],
            (Some(from), Some(to)) => costs.hop[from][to],
            _ => 0.0,
        };
        let sum: f64 = costs.step
            + layers.iter().enumerate().map(own).sum::<f64>()
            + layers.windows(2).map(crossing).sum::<f64>()
            + used.iter().map(|device| costs.device[*device]).sum::<f64>();
        prop_assert!((found * sum - 1.0).abs() < 1e-9, "{found} and {}", 1.0 / sum);
    }
}
