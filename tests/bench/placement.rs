//! How long the exact search over placements takes by itself, without a model or an engine's allocator.
//!
//! GPUs differ in memory, speed and links where it does not say *alike*, so that nothing can be left out by symmetry.

use dualgpuopt_core::plan::placement::{ByRole, Problem, RamRoom, UnitBytes};
use dualgpuopt_core::speed::{Costs, StageCosts};

fn main() {
    divan::main();
}

const MIB: u64 = 1 << 20;

/// Units of a model: layers that alternate between two sizes, then an output.
fn units(layers: u32, experts_mib: u64) -> Vec<UnitBytes> {
    let layer = |at: u32| UnitBytes {
        fixed: (440 + u64::from(at % 2) * 60) * MIB,
        experts: if at < 3 { 0 } else { (experts_mib + u64::from(at % 3) * experts_mib / 10) * MIB },
        cache: 64 * MIB,
    };
    (0..layers).map(layer).chain([UnitBytes { fixed: 1_000 * MIB, ..UnitBytes::default() }]).collect()
}

/// Times of GPUs that read from 1,000 GB/s on, each a little less than the one before if they are not alike.
fn costs(units: &[UnitBytes], gpus: u32, alike: bool) -> Costs {
    let bytes = |bytes: u64| f64::from(u32::try_from(bytes / MIB).expect("less than 4 PiB")) * 1_048_576.0;
    let number = |gpu: u32| if alike { 0.0 } else { f64::from(gpu) };
    let rate = |gpu: u32| 1.0e12 / (1.0 + 0.07 * number(gpu));
    // One expert in sixteen is read for a token.
    let on =
        |gpu: u32| units.iter().map(|unit| bytes(unit.fixed + unit.cache + unit.experts / 16) / rate(gpu)).collect();
    let away = |gpu: u32| {
        let seconds = |unit: &UnitBytes| bytes(unit.fixed + unit.cache) / rate(gpu) + bytes(unit.experts / 16) / 5.0e10;
        units.iter().map(seconds).collect()
    };
    let hop = |from: u32, to: u32| 2.0e-5 + 1.0e-6 * (number(from) + 2.0 * number(to));
    let stage = StageCosts {
        on_device: (0..gpus).map(on).collect(),
        experts_in_ram: (0..gpus).map(away).collect(),
        device: (0..gpus).map(|_| 1.0e-5).collect(),
        hop: (0..gpus).map(|from| (0..gpus).map(|to| hop(from, to)).collect()).collect(),
        in_ram: units.iter().map(|unit| bytes(unit.fixed + unit.cache + unit.experts / 16) / 5.0e10).collect(),
        from_ram: (0..gpus).map(|to| hop(to, to)).collect(),
        step: 1.0e-4,
    };
    Costs { alone: stage.clone(), several: stage }
}

/// A case: layers, experts of one in MiB, GPUs, whether they are alike, memory of all together in
/// percent of the model, whether there is RAM for it.
#[derive(Clone, Copy, Debug)]
struct Case(u32, u64, u32, bool, u64, bool);

/// Those of 80, 128 and 94 layers may take 5, 100 and 50 ms.
const CASES: [(&str, Case); 6] = [
    ("80 layers, 2 GPUs", Case(80, 0, 2, false, 120, false)),
    ("80 layers, 2 GPUs alike", Case(80, 0, 2, true, 120, false)),
    ("128 layers, 8 GPUs", Case(128, 0, 8, false, 120, false)),
    ("128 layers, 16 GPUs alike", Case(128, 0, 16, true, 140, false)),
    ("94 layers with experts, 2 GPUs and RAM", Case(94, 1_400, 2, false, 40, true)),
    ("94 layers with experts, 4 GPUs and RAM", Case(94, 1_400, 4, false, 40, true)),
];

fn ask(case: Case, ask: impl FnOnce(&Problem<'_>)) {
    let Case(layers, experts, gpus, alike, part, ram) = case;
    let bytes = units(layers, experts);
    let all: u64 = bytes.iter().map(|unit| (unit.fixed + unit.experts + unit.cache) / MIB).sum();
    let costs = costs(&bytes, gpus, alike);
    let room = |gpu: u32| {
        let mib = all * part / 100 / u64::from(gpus);
        let percent = if alike { 100 } else { 100 - u64::from(gpu) };
        i128::from(mib * MIB * percent / 100)
    };
    ask(&Problem {
        bytes,
        every_layer: 4 * MIB,
        compute: ByRole {
            only: 500 * MIB,
            first: 400 * MIB,
            middle: 380 * MIB,
            last: 520 * MIB,
            output_only: 450 * MIB,
        },
        rooms: (0..gpus).map(room).collect(),
        ram: ram.then_some(RamRoom { bytes: all * MIB, experts_only: false }),
        costs: &costs,
        all_gpus: false,
    });
}

/// The fastest placement.
#[divan::bench(args = CASES.map(|case| case.0))]
fn fastest(bencher: divan::Bencher<'_, '_>, name: &str) {
    let case = CASES.iter().find(|case| case.0 == name).expect("one of the cases").1;
    ask(case, |problem| bencher.bench_local(|| problem.fastest().expect("something fits")));
}

/// The placement with most headroom.
#[divan::bench(args = CASES.map(|case| case.0))]
fn roomiest(bencher: divan::Bencher<'_, '_>, name: &str) {
    let case = CASES.iter().find(|case| case.0 == name).expect("one of the cases").1;
    ask(case, |problem| bencher.bench_local(|| problem.roomiest().expect("something fits")));
}
