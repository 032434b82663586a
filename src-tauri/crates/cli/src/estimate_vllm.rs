//! `dualgpuopt estimate -- vllm serve …`: what a command line of vLLM allocates, and the KV cache that is left.

use std::fmt::Write as _;
use std::process::ExitCode;

use dualgpuopt_app::estimating::Candidate;
use dualgpuopt_app::{environment, estimating, vllm};
use dualgpuopt_core::card::Described;
use dualgpuopt_core::engine::vllm::arguments::read;
use dualgpuopt_core::engine::vllm::bounds::Bounded;
use dualgpuopt_core::engine::vllm::estimate::{Estimate, RankParts};
use dualgpuopt_core::error::AppError;
use dualgpuopt_core::speed::told::SpeedTold;
use dualgpuopt_core::units::{Bytes, thousands};
use serde::Serialize;

use crate::args::{Args, EstimateArgs};
use crate::estimate::{SCHEMA, present, question, speed_text};
use crate::exit::Failure;
use crate::{output, render};

/// `estimate --json`.
#[derive(Serialize)]
struct EstimateJson<'a> {
    schema: u32,
    #[serde(flatten)]
    estimate: &'a Estimate,
    speed: &'a SpeedTold,
}

pub(crate) fn run(args: &Args, options: &EstimateArgs, wanted: Option<&[Described]>) -> Result<ExitCode, Failure> {
    // GPUs that are described are not this machine's, and so its choice among them does not count.
    let here = |name: &str| environment::of_engine(name).filter(|_| wanted.is_none() || !name.starts_with("CUDA_"));
    let arguments = read(&options.command, here).map_err(AppError::from)?;
    let model = vllm::read_model(&arguments)?;
    let (all, mut doubts) = match wanted {
        Some(described) => (estimating::described(described), nameless(described)),
        None => present(args)?,
    };
    let (gpus, doubt) = vllm::visible(&arguments, all)?;
    doubts.extend(doubt);
    let mut estimate = vllm::estimate_on(&model, &arguments, &gpus)?;
    estimate.problems.extend(doubts);
    let speed = vllm::speed_on(&model, &arguments, &gpus, question(options));
    output::line(&if options.json { json(&estimate, &speed) } else { text(&estimate, &gpus) + &speed_text(&speed) })?;
    Ok(ExitCode::SUCCESS)
}

/// A doubt where only free memory was described: the share is one of the total.
fn nameless(described: &[Described]) -> Vec<String> {
    let some = described.iter().any(|gpu| gpu.name.is_none());
    let doubt = "--gpu-memory-utilization is a share of the total, which is not known of GPUs described by their free memory; that \
                 is taken. Name the card, such as \"RTX 4090@free=22GiB\".";
    some.then(|| doubt.to_owned()).into_iter().collect()
}

fn json(estimate: &Estimate, speed: &SpeedTold) -> String {
    serde_json::to_string(&EstimateJson { schema: SCHEMA, estimate, speed })
        .expect("numbers, strings and lists always serialise")
}

fn text(estimate: &Estimate, gpus: &[Candidate]) -> String {
    let mut text = String::new();
    let _ = write!(
        text,
        "{:<22} {:>20} {:>19} {:>19} {:>19} {:>19}",
        "GiB", "Weights", "KV cache", "Activations", "CUDA graphs", "Outside PyTorch"
    );
    for rank in &estimate.vllm.ranks {
        line(&mut text, rank, gpus);
    }
    for (number, candidate) in gpus.iter().enumerate().skip(estimate.vllm.ranks.len()) {
        let _ = write!(text, "\n{} gets nothing.", name(number, candidate));
    }
    if estimate.host.weights_bytes > 0 {
        let _ = write!(text, "\n{:<22} {:>20}", "Host", format!("{:.2}", Bytes(estimate.host.weights_bytes).as_gib()));
    }
    let vllm = &estimate.vllm;
    let length = count(vllm.max_model_len);
    let concurrency = vllm.max_concurrency;
    let _ = write!(
        text,
        "\n\nvLLM {}: up to {} tokens a step and {} requests at once.\nKV cache: {} blocks of {} tokens, {} tokens in all.\n\
         Requests of {length} tokens at once: {:.2} ({:.2} to {:.2}).",
        vllm.version,
        thousands(vllm.max_num_batched_tokens),
        thousands(vllm.max_num_seqs),
        count(vllm.kv_blocks),
        vllm.block_tokens,
        count(vllm.kv_tokens),
        concurrency.value,
        concurrency.low,
        concurrency.high
    );
    for problem in &estimate.problems {
        let _ = write!(text, "\n! {problem}");
    }
    text
}

fn line(text: &mut String, rank: &RankParts, gpus: &[Candidate]) {
    let _ = write!(text, "\n{:<22} {:>20}", name(rank.device, &gpus[rank.device]), gib(rank.weights));
    for bytes in [rank.kv_cache, rank.activations, rank.cuda_graphs, rank.outside] {
        let _ = write!(text, " {:>19}", gib(bytes));
    }
}

fn name(number: usize, candidate: &Candidate) -> String {
    let name = candidate.name.as_deref().map_or(String::new(), |name| format!(" {}", render::short_name(name)));
    format!("CUDA{number}{name}")
}

/// `4.20 (3.10–5.00)`; the value alone where it is known.
fn gib(bytes: Bounded) -> String {
    let [low, value, high] = [bytes.low, bytes.value, bytes.high].map(|bytes| Bytes(bytes).as_gib());
    if bytes.low == bytes.high { format!("{value:.2}") } else { format!("{value:.2} ({low:.2}–{high:.2})") }
}

fn count(number: Bounded) -> String {
    let [low, value, high] = [number.low, number.value, number.high].map(thousands);
    if number.low == number.high { value } else { format!("{value} ({low} to {high})") }
}
