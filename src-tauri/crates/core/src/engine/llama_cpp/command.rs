//! The command line of `llama-server` for a plan, in the flags of the version at hand.
//!
//! Source: common/arg.cpp of the versions in `engine/flags_by_version`. With `--fit` on (the default since December 2025)
//! the server would change what was planned; servers before that refuse the flag. `-fa` takes a value since August 2025;
//! before that it stands alone and is off by default, while plans reckon with it on.

use crate::command::{EnvVar, LaunchSpec};
use crate::engine::flags_by_version::{Engine, FlagProblem, FlagTable, Takes};
use crate::plan::{Plan, PlanMode, batch};

/// Where `llama-server` says that its model is loaded. Source: `tools/server/README.md`.
const HEALTH_PATH: &str = "/health";

/// More layers than any model has (llama.cpp's own limit is 512), so that all of them and the output go to GPUs.
const ALL_LAYERS: &str = "999";

/// Weights of routed experts, as `--n-cpu-moe` names them. Source: `LLM_FFN_EXPS_REGEX` in common/common.h.
const EXPERTS: &str = "ffn_(up|down|gate|gate_up)_(ch|)exps";

/// What is started, apart from the plan.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Path of the model's file, as it is written into the command.
    pub model_path: &'a str,
    /// What the user calls it.
    pub title: &'a str,
    /// The engine's program.
    pub program: &'a str,
    /// Address to listen on.
    pub host: &'a str,
    /// Port to listen on.
    pub port: u16,
}

/// How to start `llama-server` so that it makes exactly this plan, by the flags of its newest version that is described.
///
/// GPUs without a share are hidden from it; the others are named by UUID in the plan's order, which is also the order of
/// `--tensor-split`. `program` and `host` are taken as they are; `title` is what the user calls it.
#[must_use]
pub fn launch_spec(model_path: &str, title: &str, plan: &Plan, program: &str, host: &str, port: u16) -> LaunchSpec {
    let start = Start { model_path, title, program, host, port };
    command(start, plan, &FlagTable::published(Engine::LlamaCpp, None)).0
}

/// How to start the version of `llama-server` that has the flags of `table` so that it makes exactly this plan, and what of
/// the plan that version cannot be told. A problem that [prevents](FlagProblem::prevents) the plan makes the command another
/// plan's.
#[must_use]
pub fn command(start: Start<'_>, plan: &Plan, table: &FlagTable) -> (LaunchSpec, Vec<FlagProblem>) {
    let mut line = Line { table, args: Vec::new(), problems: Vec::new() };
    let request = &plan.request;
    line.flag("-m", not_a_flag(start.model_path));
    line.flag("-c", plan.context.to_string());
    line.flag("-np", request.parallel.to_string());
    line.flag("-b", batch(request.micro_batch).to_string());
    line.flag("-ub", request.micro_batch.to_string());
    line.flag("-ctk", request.cache_k.flag().to_owned());
    line.flag("-ctv", request.cache_v.flag().to_owned());
    line.flash_attention(request.cache_v.is_quantised());
    line.share(plan);
    line.experts(plan);
    if table.has("--fit") {
        line.flag("--fit", "off".to_owned());
    }
    line.flag("--host", start.host.to_owned());
    line.flag("--port", start.port.to_string());

    let uuids: Vec<_> = used(plan).map(|(gpu, _)| plan.devices[gpu].gpu.0.as_str()).collect();
    let spec = LaunchSpec {
        title: start.title.to_owned(),
        program: start.program.to_owned(),
        args: line.args,
        env: vec![
            EnvVar::new("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),
            EnvVar::new("CUDA_VISIBLE_DEVICES", &uuids.join(",")),
        ],
        host: start.host.to_owned(),
        port: start.port,
        health_path: HEALTH_PATH.to_owned(),
    };
    (spec, line.problems)
}

/// Positions of the GPUs that are used in the engine's order, each with its units.
fn used(plan: &Plan) -> impl Iterator<Item = (usize, u32)> {
    let positions = plan.order.iter().filter_map(|&at| usize::try_from(at).ok());
    positions.filter_map(|at| plan.split.get(at).map(|&units| (at, units)))
}

/// Arguments in the flags of a version.
struct Line<'a> {
    table: &'a FlagTable,
    args: Vec<String>,
    problems: Vec<FlagProblem>,
}

impl Line<'_> {
    fn flag(&mut self, name: &str, value: String) {
        self.args.extend([name.to_owned(), value]);
    }

    fn flash_attention(&mut self, needed: bool) {
        match self.table.takes("-fa") {
            Some(Takes::Value(_)) if needed => self.flag("-fa", "on".to_owned()),
            Some(Takes::Value(_)) => {}
            Some(Takes::Nothing) => self.args.push("-fa".to_owned()),
            None if needed => {
                let without = "a quantised V cache cannot be used";
                self.problems.push(FlagProblem::missing(self.table, "-fa", None, without));
            }
            None => {}
        }
    }

    /// How layers or matrices fall on the GPUs. `-ngl` counts from the last layer, the output among them; what it leaves out
    /// are the first layers.
    fn share(&mut self, plan: &Plan) {
        let shares: Vec<u32> = used(plan).map(|(_, units)| units).collect();
        let units: u32 = shares.iter().sum();
        let layers = if plan.layers_in_ram > 0 { units.to_string() } else { ALL_LAYERS.to_owned() };
        self.flag("-ngl", layers);
        let mode = match plan.mode {
            _ if shares.len() < 2 => "none",
            PlanMode::Layer => "layer",
            PlanMode::Tensor => "tensor",
        };
        if plan.mode == PlanMode::Tensor && shares.len() > 1 && !self.table.allows("--split-mode", mode) {
            let without = "the GPUs cannot share every matrix";
            self.problems.push(FlagProblem::missing(self.table, "--split-mode", Some(mode), without));
        }
        self.flag("--split-mode", mode.to_owned());
        if shares.len() > 1 {
            let shares: Vec<_> = shares.iter().map(u32::to_string).collect();
            self.flag("--tensor-split", shares.join(","));
        }
    }

    /// Experts in RAM: by number where they are those of the first layers, else layer by layer.
    fn experts(&mut self, plan: &Plan) {
        let layers = &plan.experts_in_ram;
        let Some(&last) = layers.last() else { return };
        // Layers that lie whole in RAM have their experts there either way.
        let from = layers.iter().position(|&layer| layer >= plan.layers_in_ram).unwrap_or(layers.len());
        let first = (plan.layers_in_ram..=last).eq(layers[from..].iter().copied());
        let (count, pattern) = ("--n-cpu-moe", "--override-tensor");
        if first && self.table.has(count) {
            self.flag(count, last.saturating_add(1).to_string());
        } else if self.table.has(pattern) {
            if first {
                let engine = self.table.words();
                let (flag, instead) = (count.to_owned(), pattern.to_owned());
                self.problems.push(FlagProblem::Instead { engine, flag, instead });
            }
            let layers: Vec<_> = layers.iter().map(u32::to_string).collect();
            self.flag(pattern, format!(r"blk\.({})\.{EXPERTS}=CPU", layers.join("|")));
        } else {
            let without = "experts cannot be kept in RAM";
            self.problems.push(FlagProblem::missing(self.table, pattern, None, without));
        }
    }
}

/// A path that begins with a dash would read as a flag.
fn not_a_flag(path: &str) -> String {
    if path.starts_with('-') { format!("./{path}") } else { path.to_owned() }
}
