//! One recorded start against our rules, part by part.

use std::collections::BTreeMap;

use dualgpuopt_core::engine::llama_cpp::flags::{Place, SplitMode};
use dualgpuopt_core::engine::llama_cpp::layout::{Parts, parts};
use dualgpuopt_core::engine::llama_cpp::refused::Refused;
use dualgpuopt_core::model::ModelFacts;
use serde_json::Value;

use super::Row;

/// The parts of a start that are compared, in the order in which they are told.
pub const PARTS: [&str; 6] = ["settled", "layers", "weights", "KV", "output", "compute"];

/// What came of a row.
pub enum Outcome {
    /// Allocated by both: for each of [`PARTS`], what differs in words; empty where nothing does.
    Allocated([String; PARTS.len()]),
    /// Refused by both for the same reason.
    RefusedAlike,
    /// One refuses what the other takes, or for another reason.
    Disagree(String),
}

/// Compares our rules with what llama.cpp did.
pub fn compare(row: &Row, model: &ModelFacts) -> Outcome {
    let error = row.record["error"].as_str();
    match (parts(model, &row.flags), error) {
        (Ok(ours), None) => Outcome::Allocated(differences(&ours, row)),
        (Err(refused), Some(error)) if same_refusal(&refused, error) => Outcome::RefusedAlike,
        (ours, theirs) => Outcome::Disagree(format!("ours {:?}, llama.cpp {theirs:?}", ours.map(|_| "allocated"))),
    }
}

/// Whether a refusal is the one that llama.cpp made.
fn same_refusal(refused: &Refused, error: &str) -> bool {
    match refused {
        Refused::RowSplit => error.contains("does not support split buffers"),
        Refused::QuantisedVWithoutFlashAttention { .. } => error.contains("quantized V cache requires flash_attn"),
        Refused::TensorSplitWithoutFlashAttention => error.contains("SPLIT_MODE_TENSOR requires flash_attn"),
        Refused::TensorSplit { arch } => {
            error.contains(&format!("SPLIT_MODE_TENSOR not implemented for architecture '{arch}'"))
        }
        Refused::LatentCacheTypes { k, v } => {
            error.contains(&format!("does not support different K ({}) and V ({}) cache types", k.flag(), v.flag()))
        }
        _ => false,
    }
}

/// Where layers lie, as rows write it: one character per unit; nothing where all GPUs have a part of each.
fn layers(ours: &Parts, row: &Row) -> String {
    if row.flags.split_mode == SplitMode::Tensor {
        return String::new();
    }
    let digit = |place: &Place| match place {
        Place::Host => 'c',
        Place::Gpu(gpu) => char::from_digit(u32::try_from(*gpu).expect("few GPUs"), 10).expect("fewer than ten GPUs"),
    };
    ours.settled.units.iter().map(digit).collect()
}

fn differences(ours: &Parts, row: &Row) -> [String; PARTS.len()] {
    let record = &row.record;
    let mut found = [const { String::new() }; PARTS.len()];
    let mut check = |part: usize, what: &str, ours: String, theirs: String| {
        if ours != theirs {
            found[part] += &format!("{what}: ours {ours}, llama.cpp {theirs}; ");
        }
    };
    let settled = &ours.settled;
    for (key, value) in [
        ("n_ctx", settled.context),
        ("n_ctx_seq", settled.context_per_stream),
        ("n_batch", settled.batch),
        ("n_ubatch", settled.micro_batch),
        ("copies", settled.copies),
        ("fa", u64::from(settled.flash_attention)),
    ] {
        let theirs = record[key].as_bool().map_or_else(|| record[key].to_string(), |on| u64::from(on).to_string());
        check(0, key, value.to_string(), theirs);
    }
    check(1, "layers", layers(ours, row), record["layers"].as_str().unwrap_or_default().to_owned());
    let gpus = row.flags.devices.len();
    let no_gpus = || vec![None; gpus];
    let theirs = |part: &str| -> BTreeMap<String, u64> {
        let gpus = record["devices"].as_array().expect("a list").iter();
        gpus.map(|gpu| (gpu["name"].as_str().expect("a name").to_owned(), gpu[part].as_u64().expect("bytes"))).collect()
    };
    let mut places = |part: usize, key: &str, gpus: Vec<Option<u64>>, host: Option<u64>| {
        let theirs = theirs(key);
        for (gpu, bytes) in gpus.into_iter().enumerate() {
            let name = format!("CUDA{gpu}");
            let theirs = theirs.get(&name).copied().unwrap_or(0).to_string();
            check(part, &name, bytes.map_or("unknown".into(), |b| b.to_string()), theirs);
        }
        check(part, "host", host.map_or("unknown".into(), |b| b.to_string()), record["host"][key].to_string());
    };
    let some = |bytes: &[u64]| bytes.iter().copied().map(Some).collect::<Vec<_>>();
    places(2, "model", some(&ours.weights.devices), Some(ours.weights.host));
    match &ours.kv_cache {
        Ok(kv) => places(3, "kv", some(&kv.devices), Some(kv.host)),
        Err(_) => places(3, "kv", no_gpus(), None),
    }
    match &ours.compute {
        Ok(compute) => places(5, "compute", some(&compute.devices), Some(compute.host)),
        Err(_) => places(5, "compute", no_gpus(), None),
    }
    check(4, "output", ours.output.to_string(), record["host"]["output"].to_string());
    found
}

/// What a row is about: its model's architecture and every flag that is out of the ordinary.
pub fn regimes(row: &Row, arch: &str) -> Vec<String> {
    let flags = row.record["flags"].as_object().expect("flags");
    let mut regimes = vec!["all".to_owned(), format!("arch {arch}"), format!("{} GPUs", row.flags.devices.len())];
    if let Some(copies) = row.record["copies"].as_u64() {
        regimes.push(format!("{copies} copies"));
    }
    for (key, value) in flags {
        match (key.as_str(), value) {
            ("devices" | "ctx" | "free_mib" | "mg", _) => {}
            (_, Value::String(text)) => regimes.push(format!("{key} {text}")),
            _ => regimes.push(key.clone()),
        }
    }
    regimes
}
