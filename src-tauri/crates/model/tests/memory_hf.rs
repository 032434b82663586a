//! How much memory hostile Hugging Face files can make the reader take. A program of its own with one test, since all
//! allocations of the process are counted.

#[path = "it/written.rs"]
#[expect(dead_code, reason = "other tests use the rest of it")]
mod written;

use std::alloc::System;
use std::path::Path;

use cap::Cap;
use dualgpuopt_model::{HF_TENSORS_MAX, Opened, open};
use written::save;

#[global_allocator]
static ALLOCATED: Cap<System> = Cap::new(System, usize::MAX);

const MIB: usize = 1 << 20;

/// What `open` says of a file of `weights` more bytes, and most bytes held at once while it ran.
fn opened(path: &Path, bytes: &[u8], weights: u64) -> (String, usize) {
    save(path, bytes, bytes.len() as u64 + weights);
    // The high-water mark never falls, so it is made where we stand: what goes beyond it was held at once by the reader.
    let ballast = vec![0u8; ALLOCATED.max_allocated() - ALLOCATED.allocated()];
    let begun = ALLOCATED.max_allocated();
    let result = open(path);
    let taken = ALLOCATED.max_allocated() - begun;
    drop(ballast);
    let said = match result {
        Ok(Opened::Hf(probe)) => format!("{} tensors", probe.model.tensors.len()),
        Ok(Opened::Gguf(_)) => "a GGUF".to_owned(),
        Err(error) => error.to_string(),
    };
    (said, taken)
}

fn framed(json: &[u8]) -> Vec<u8> {
    [&(json.len() as u64).to_le_bytes(), json].concat()
}

#[test]
fn no_file_takes_more_than_64_mib() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.safetensors");
    small_files_take_little(&path);
    full_tables(&path);
    let config = folder.path().join("config.json");
    let (_, taken) = opened(&config, format!("[{}0]", "{\"\":0},".repeat(1 << 18)).as_bytes(), 0);
    assert!(taken < 64 * MIB, "{taken}");
}

fn small_files_take_little(path: &Path) {
    for (bytes, weights) in [
        ((1u64 << 63).to_le_bytes().to_vec(), 35),
        (1_000_000_000u64.to_le_bytes().to_vec(), 2_000_000_000),
        (100_000_000u64.to_le_bytes().to_vec(), 35),
        (framed(format!("{{\"a\":{}", "[".repeat(100_000)).as_bytes()), 0),
    ] {
        let (said, taken) = opened(path, &bytes, weights);
        assert!(said.contains("x.safetensors: ") && taken < 2 * MIB, "{taken}: {said}");
    }
}

/// As many tensors as are read, with names as long as published ones; and headers that go on beyond every limit.
fn full_tables(path: &Path) {
    let entry = |n: usize| {
        format!(
            "\"language_model.model.layers.10.mlp.experts.{n:08}.gate_up_proj.weight_packed\":{{\"dtype\":\"BF16\",\"shape\":[1,1],\"data_offsets\":[{},{}]}}",
            2 * n,
            2 * n + 2
        )
    };
    let table = |count: usize| {
        let mut json = String::from("{");
        for n in 0..count {
            json.push_str(if n == 0 { "" } else { "," });
            json.push_str(&entry(n));
        }
        json.push('}');
        (framed(json.as_bytes()), 2 * count as u64)
    };
    let (bytes, weights) = table(HF_TENSORS_MAX);
    let (said, taken) = opened(path, &bytes, weights);
    assert!(said == "262144 tensors" && taken < 64 * MIB, "{taken}: {said}");
    let (bytes, weights) = table(HF_TENSORS_MAX + 1);
    let (said, taken) = opened(path, &bytes, weights);
    assert!(said.contains("more than 262144 tensors") && taken < 64 * MIB, "{taken}: {said}");

    let long = format!("{{\"{}", "n".repeat(90_000_000));
    let (said, taken) = opened(path, &framed(long.as_bytes()), 0);
    assert!(said.contains("a text of more than 4194304 bytes") && taken < 64 * MIB, "{taken}: {said}");
    let dims = format!("{{\"a\":{{\"shape\":[{}", "1,".repeat(40_000_000));
    let (said, taken) = opened(path, &framed(dims.as_bytes()), 0);
    assert!(said.contains("invalid length 9") && taken < 64 * MIB, "{taken}: {said}");
}
