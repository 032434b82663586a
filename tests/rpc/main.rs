//! Random plans, run by the real llama.cpp: two to four `ggml-rpc-server` processes on the CPU stand for GPUs, and the log of
//! `llama-server` must put every layer, the output and every expert where the plan said.
//!
//! `make rpc-check` builds the engine and runs this; `DUALGPUOPT_TEST_LLAMA` names the folder of its programs.

#![expect(clippy::disallowed_methods, reason = "the suite starts the engine")]

mod engine;
mod random;

use std::path::{Path, PathBuf};
use std::process::Command;

use dualgpuopt_core::engine::flags_by_version::{Engine, FlagTable, Version};
use dualgpuopt_core::engine::llama_cpp::command::{Start, command};
use dualgpuopt_core::plan::Plan;
use dualgpuopt_model::ModelCache;
use dualgpuopt_test_support::places::root;

use engine::{Said, Servers};
use random::Random;

/// Plans that are run.
const PLANS: u64 = 30;
/// Layers of the model that is run; each has experts.
const LAYERS: u32 = 10;

fn programs() -> PathBuf {
    let folder = std::env::var_os("DUALGPUOPT_TEST_LLAMA").expect("DUALGPUOPT_TEST_LLAMA is set by `make rpc-check`");
    PathBuf::from(folder)
}

/// A model with experts in every layer.
fn model(folder: &Path) -> PathBuf {
    let python = root().join(".cache/venv/bin/python");
    let status = Command::new(python)
        .arg(root().join("tests/fixtures/make_models.py"))
        .args(["--experts", "--layers", &LAYERS.to_string()])
        .arg(folder)
        .status()
        .expect("python runs");
    assert!(status.success(), "the model could not be made");
    folder.join("tiny-moe.gguf")
}

/// What a plan says, as the engine's log would.
fn promised(plan: &Plan) -> Said {
    let mut units = vec!["CPU".to_owned(); usize::try_from(plan.layers_in_ram).expect("few layers")];
    for (device, at) in plan.order.iter().enumerate() {
        let count = plan.split[usize::try_from(*at).expect("few GPUs")];
        units.extend((0..count).map(|_| format!("RPC{device}")));
    }
    let experts = plan.experts_in_ram.iter().filter(|layer| **layer >= plan.layers_in_ram);
    Said { units, experts: experts.copied().collect() }
}

#[test]
fn thirty_random_plans_end_where_they_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = model(folder.path());
    let probe = ModelCache::new().probe(&path).expect("the model is sound");
    let flags = FlagTable::published(Engine::LlamaCpp, Some(&Version::build(11_434)));
    let program = programs().join("llama-server");
    let mut kinds = [0; 4];
    for seed in 1..=PLANS {
        let plan = Random::new(seed).plan(&probe.facts, LAYERS);
        let servers = Servers::start(&programs(), plan.order.len());
        let start = Start {
            model_path: path.to_str().expect("UTF-8"),
            title: "tiny",
            program: program.to_str().expect("UTF-8"),
            host: "127.0.0.1",
            port: engine::free_port(),
        };
        let (spec, problems) = command(start, &plan, &flags);
        assert_eq!(problems, [], "plan {seed}");
        let said = servers.run(&spec);
        assert_eq!(said, promised(&plan), "plan {seed}: {}", spec.posix().expect("no NUL bytes"));
        let split = plan.order.len() > 1;
        let marks = [split, plan.layers_in_ram > 0, !plan.experts_in_ram.is_empty(), !plan.order.is_sorted()];
        kinds.iter_mut().zip(marks).for_each(|(count, mark)| *count += u32::from(mark));
    }
    let [split, layers, experts, turned] = kinds;
    println!(
        "{PLANS} plans as promised: {split} over several devices, {layers} with layers in RAM, {experts} with experts in RAM, {turned} in another order"
    );
    assert!(kinds.iter().all(|count| *count >= 3), "{kinds:?} show little");
}

#[test]
fn the_table_of_flags_is_what_the_server_prints() {
    let printed = Command::new(programs().join("llama-server")).arg("--help").output().expect("it runs");
    let told = FlagTable::told(None, &String::from_utf8_lossy(&printed.stdout)).expect("it lists flags");
    let table = FlagTable::published(Engine::LlamaCpp, Some(&Version::build(11_434)));
    let names = |table: &FlagTable| table.flags().map(|(flag, _)| flag.to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&told), names(&table));
    let differing: Vec<_> = told
        .flags()
        .filter(|(flag, takes)| {
            let ours = table.takes(flag);
            std::mem::discriminant(*takes) != std::mem::discriminant(ours.expect("the same names"))
        })
        .collect();
    assert!(differing.is_empty(), "{differing:?}");
}
