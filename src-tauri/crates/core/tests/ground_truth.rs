//! Our rules against what llama.cpp itself allocated, byte for byte.

mod support;

use std::collections::BTreeMap;

use dualgpuopt_core::engine::llama_cpp::flags::{Place, SplitMode};
use dualgpuopt_core::engine::llama_cpp::layout::{GpuBytes, Layout, layout};
use dualgpuopt_core::engine::llama_cpp::refused::Refused;
use dualgpuopt_core::model::ModelFacts;
use serde_json::Value;
use support::{Row, models, rows};

/// Rows whose every number comes out.
const EXACT: usize = 190;
/// Rows that llama.cpp refuses, and we for the same reason.
const REFUSED: usize = 27;
/// Rows with `-sm tensor`, which is not planned yet.
const TENSOR_SPLIT: usize = 14;

/// Where layers lie, as rows write it: one character per unit.
fn layers(layout: &Layout) -> String {
    let digit = |place: &Place| match place {
        Place::Host => 'c',
        Place::Gpu(gpu) => char::from_digit(u32::try_from(*gpu).expect("few GPUs"), 10).expect("fewer than ten GPUs"),
    };
    layout.settled.units.iter().map(digit).collect()
}

/// What differs between a layout and a record, in words.
fn differences(layout: &Layout, record: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            found.push(format!("{what}: ours {ours}, llama.cpp {theirs}"));
        }
    };
    let settled = &layout.settled;
    compare("layers", format!("{:?}", layers(layout)), record["layers"].to_string());
    for (key, ours) in [
        ("n_ctx", settled.context),
        ("n_ctx_seq", settled.context_per_stream),
        ("n_batch", settled.batch),
        ("n_ubatch", settled.micro_batch),
        ("copies", settled.copies),
    ] {
        compare(key, ours.to_string(), record[key].to_string());
    }
    compare("fa", settled.flash_attention.to_string(), record["fa"].to_string());
    for (gpu, bytes) in layout.devices.iter().enumerate() {
        let GpuBytes { weights, kv_cache, compute, .. } = *bytes;
        let name = format!("CUDA{gpu}");
        let theirs = record["devices"].as_array().expect("a list").iter().find(|d| d["name"] == name.as_str());
        for (part, ours) in [("model", weights), ("kv", kv_cache), ("compute", compute)] {
            let theirs = theirs.map_or("0".to_owned(), |device| device[part].to_string());
            compare(&format!("{name} {part}"), ours.to_string(), theirs);
        }
    }
    let host = layout.host;
    for (part, ours) in
        [("model", host.weights), ("kv", host.kv_cache), ("compute", host.compute), ("output", host.output)]
    {
        compare(&format!("host {part}"), ours.to_string(), record["host"][part].to_string());
    }
    found
}

/// Whether a refusal is the one that llama.cpp made.
fn same_refusal(refused: &Refused, error: &str) -> bool {
    match refused {
        Refused::RowSplit => error.contains("does not support split buffers"),
        Refused::QuantisedVWithoutFlashAttention { .. } => error.contains("quantized V cache requires flash_attn"),
        Refused::TensorSplitWithoutFlashAttention => error.contains("SPLIT_MODE_TENSOR requires flash_attn"),
        _ => false,
    }
}

/// What came of a row, and its differences.
fn check(row: &Row, model: &ModelFacts) -> (&'static str, Vec<String>) {
    let error = row.record["error"].as_str();
    match (layout(model, &row.flags), error) {
        (Ok(layout), None) => ("exact", differences(&layout, &row.record)),
        (Err(refused), Some(error)) if same_refusal(&refused, error) => ("refused alike", Vec::new()),
        (Err(Refused::TensorSplit), None) if row.flags.split_mode == SplitMode::Tensor => ("not planned", Vec::new()),
        (ours, theirs) => ("differs", vec![format!("ours {ours:?}, llama.cpp {theirs:?}")]),
    }
}

#[test]
fn every_recorded_allocation_comes_out_byte_for_byte() {
    let rows = rows();
    let models = models(&rows);
    let mut counts = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in &rows {
        let (outcome, differences) = check(row, &models[&row.model]);
        *counts.entry(outcome).or_insert(0) += 1;
        if !differences.is_empty() {
            wrong.push(format!("{} {}\n    {}", row.model, row.record["flags"], differences.join("\n    ")));
        }
    }
    let shown: Vec<_> = wrong.iter().take(20).cloned().collect();
    assert!(wrong.is_empty(), "{} of {} rows differ:\n{}", wrong.len(), rows.len(), shown.join("\n"));
    // Each row is accounted for: none was skipped in silence.
    let expected = [("exact", EXACT), ("not planned", TENSOR_SPLIT), ("refused alike", REFUSED)];
    assert_eq!(counts, BTreeMap::from(expected));
}
