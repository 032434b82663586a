//! Compute buffers against llama.cpp's own allocator, in bytes.
//!
//! What the engine makes of its flags is taken from the row, so that nothing but the compute buffers is tested here.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use dualgpuopt_core::engine::llama_cpp::compute::{ComputeBuffers, ComputeModel, Unplanned};
use dualgpuopt_core::engine::llama_cpp::flags::{Flags, Place, SplitMode};
use dualgpuopt_core::engine::llama_cpp::settled::Settled;
use serde_json::Value;
use support::{Row, folder};

/// Names a folder with all recorded rows, laid out like `tests/fixtures/ground-truth`.
const ALL_ROWS: &str = "DUALGPUOPT_GROUND_TRUTH";

/// What the row says became of the flags.
fn settled(row: &Row, layers: usize) -> Settled {
    let number = |key: &str| row.record[key].as_u64().expect("a number");
    let text = row.record["layers"].as_str().expect("a place per unit");
    let gpu = |digit: u32| Place::Gpu(usize::try_from(digit).expect("a digit"));
    let units = match row.flags.split_mode {
        SplitMode::Tensor => vec![Place::Gpu(0); layers + 1],
        _ => text.chars().map(|c| c.to_digit(10).map_or(Place::Host, gpu)).collect(),
    };
    let slots = row.flags.parallel.unwrap_or(4);
    let unified = row.flags.kv_unified.unwrap_or(true);
    Settled {
        devices: row.flags.devices.len(),
        context: number("n_ctx"),
        context_per_stream: number("n_ctx_seq"),
        streams: if unified { 1 } else { slots },
        parallel: slots,
        batch: number("n_batch"),
        micro_batch: number("n_ubatch"),
        flash_attention: row.record["fa"].as_bool().expect("on or off"),
        units,
        copies: number("copies"),
    }
}

/// What llama.cpp allocated.
fn truth(row: &Row) -> ComputeBuffers {
    let mut truth = ComputeBuffers { devices: vec![0; row.flags.devices.len()], host: 0 };
    for device in row.record["devices"].as_array().expect("devices") {
        let name = device["name"].as_str().expect("a name");
        let index: usize = name.trim_start_matches("CUDA").parse().expect("CUDAn");
        truth.devices[index] = device["compute"].as_u64().expect("bytes");
    }
    truth.host = row.record["host"]["compute"].as_u64().expect("bytes");
    truth
}

/// What a row is about, for the count.
fn regimes(row: &Row) -> Vec<String> {
    let flags = row.record["flags"].as_object().expect("flags");
    let mut regimes = vec![
        "all".to_owned(),
        row.model.clone(),
        format!("{} GPUs", row.flags.devices.len()),
        format!("{} copies", row.record["copies"]),
    ];
    for (key, value) in flags {
        match (key.as_str(), value) {
            ("devices" | "ctx" | "free_mib" | "mg", _) => {}
            (_, Value::String(text)) => regimes.push(format!("{key} {text}")),
            _ => regimes.push(key.clone()),
        }
    }
    regimes
}

/// What came of a folder's rows.
#[derive(Default)]
struct Outcome {
    /// Exact and all rows by regime.
    regimes: BTreeMap<String, [usize; 2]>,
    /// Rows that differ, in words.
    wrong: Vec<String>,
}

/// Checks every row of the folder that the engine allocated and whose architecture is described.
fn check(folder: &Path) -> Outcome {
    let mut models: BTreeMap<String, Result<(ComputeModel, usize), Unplanned>> = BTreeMap::new();
    let mut outcome = Outcome::default();
    for row in support::rows().into_iter().filter(|row| !row.record["error"].is_string()) {
        let model = models.entry(row.model.clone()).or_insert_with(|| {
            let facts = support::model(&row.model);
            ComputeModel::new(&facts).map(|model| (model, facts.layers.len()))
        });
        let (model, layers) = match model {
            Ok((model, layers)) => (&*model, *layers),
            Err(Unplanned::Architecture { .. }) => continue,
            Err(other) => panic!("{}: {other}", row.model),
        };
        let found = model.buffers(&row.flags, &settled(&row, layers));
        let truth = truth(&row);
        let exact = found.as_ref() == Ok(&truth);
        for regime in regimes(&row) {
            let [right, all] = outcome.regimes.entry(regime).or_default();
            *right += usize::from(exact);
            *all += 1;
        }
        if !exact {
            outcome.wrong.push(format!("{} {}: {found:?}, llama.cpp {truth:?}", row.model, row.record["flags"]));
        }
    }
    outcome
}

/// Fails where a row differs, and says which and how many.
fn demand_exact(outcome: &Outcome, rows: usize) {
    let mut text = String::new();
    for (regime, [exact, all]) in &outcome.regimes {
        writeln!(text, "{regime}: {exact} of {all}").expect("a String takes it");
    }
    let shown: Vec<_> = outcome.wrong.iter().take(20).cloned().collect();
    assert!(outcome.wrong.is_empty(), "{}\n{text}", shown.join("\n"));
    let all = outcome.regimes.get("all").map_or(0, |[_, all]| *all);
    assert!(all >= rows, "only {all} rows were found, {rows} or more expected");
}

#[test]
fn recorded_compute_buffers_come_out_byte_for_byte() {
    demand_exact(&check(&folder()), 40);
}

#[test]
#[ignore = "needs DUALGPUOPT_GROUND_TRUTH, a folder with all recorded rows"]
fn all_recorded_compute_buffers_come_out_byte_for_byte() {
    let all = std::env::var_os(ALL_ROWS).unwrap_or_else(|| panic!("{ALL_ROWS} names no folder with recorded rows"));
    demand_exact(&check(&PathBuf::from(all)), 1330);
}

#[test]
fn layers_of_a_repeating_run_do_not_change_the_buffers() {
    // The same 70B model cut elsewhere between two GPUs: only what lies at the cut matters, never how many layers.
    let facts = support::model("llama-3.3-70b-q4_k_m");
    let model = ComputeModel::new(&facts).expect("the graph is described");
    let row = support::rows()
        .into_iter()
        .find(|row| row.model == facts.name && row.flags.devices.len() == 2 && row.record["copies"] == 4)
        .expect("the model has rows on two GPUs");
    let flags: Flags = row.flags.clone();
    let mut found = (4..76).map(|cut| {
        let mut settled = settled(&row, facts.layers.len());
        settled.units = (0..81).map(|unit| Place::Gpu(usize::from(unit >= cut))).collect();
        model.buffers(&flags, &settled).expect("the flags are described")
    });
    let first = found.next().expect("there are cuts");
    assert!(found.all(|buffers| buffers == first));
}
