//! `dualgpuopt estimate`: what a command line of an engine allocates; here llama-server's, vLLM's in [`crate::estimate_vllm`].

use std::fmt::Write as _;
use std::process::ExitCode;

use dualgpuopt_app::environment;
use dualgpuopt_app::estimating::{self, Candidate};
use dualgpuopt_core::card;
use dualgpuopt_core::engine::llama_cpp::arguments::read;
use dualgpuopt_core::engine::llama_cpp::estimate::{Estimate, Parts};
use dualgpuopt_core::engine::llama_cpp::extra::Extra;
use dualgpuopt_core::engine::llama_cpp::fit::{FitOutcome, FitTold};
use dualgpuopt_core::engine::vllm::arguments::is_command;
use dualgpuopt_core::error::{AppError, Code};
use dualgpuopt_core::speed::start::Question;
use dualgpuopt_core::speed::told::SpeedTold;
use dualgpuopt_core::speed::{Build, Predicted};
use dualgpuopt_core::units::{Bytes, thousands};
use serde::Serialize;

use crate::args::{Args, EstimateArgs};
use crate::exit::Failure;
use crate::host::{self, Host};
use crate::{estimate_vllm, output, render};

/// Version of the JSON form. Fields may be added; none changes its meaning without a new version.
pub(crate) const SCHEMA: u32 = 1;

/// `estimate --json`.
#[derive(Serialize)]
struct EstimateJson<'a> {
    schema: u32,
    #[serde(flatten)]
    estimate: &'a Estimate,
    speed: &'a SpeedTold,
}

pub(crate) fn run(args: &Args, options: &EstimateArgs) -> Result<ExitCode, Failure> {
    let wanted = options.gpus.as_deref().map(card::described).transpose();
    let wanted = wanted.map_err(|error| AppError::new(Code::BadRequest, error.to_string()))?;
    if is_command(&options.command) {
        return estimate_vllm::run(args, options, wanted.as_deref());
    }
    // GPUs that are described are not this machine's, and so its choice among them does not count.
    let here = |name: &str| environment::of_engine(name).filter(|_| wanted.is_none() || !name.starts_with("CUDA_"));
    let arguments = read(&options.command, here).map_err(AppError::from)?;
    // A file that cannot be read is said before a GPU that is not there.
    let (model, arguments) = estimating::read_files(arguments)?;
    let (all, mut doubts) = match &wanted {
        Some(described) => (estimating::described(described), Vec::new()),
        None => present(args)?,
    };
    let (gpus, doubt) = estimating::visible(&arguments, all)?;
    doubts.extend(doubt);
    let mut estimate = estimating::estimate_on(&model, &arguments, &gpus)?;
    estimate.problems.extend(doubts);
    let speed = estimating::speed_on(&model, &arguments, &gpus, question(options));
    output::line(&if options.json { json(&estimate, &speed) } else { text(&estimate, &gpus) + &speed_text(&speed) })?;
    Ok(ExitCode::SUCCESS)
}

/// What is asked about speed.
pub(crate) fn question(options: &EstimateArgs) -> Question {
    Question {
        prompt: u64::from(options.prompt),
        depth: u64::from(options.depth),
        build: Build(options.build),
        ram_bandwidth_mb_s: None,
    }
}

/// Speeds in two lines, or why there are none; each line begins with its break.
pub(crate) fn speed_text(speed: &SpeedTold) -> String {
    let rates = match speed {
        SpeedTold::Rates(rates) => rates,
        SpeedTold::Why { why } => return format!("\nSpeed: not told. {why}"),
    };
    let rate = |rate: Predicted| format!("{:.1} tokens/s ({:.1} to {:.1})", rate.value, rate.low, rate.high);
    let mut text = format!(
        "\nPrefill of {} tokens: {}\nDecode at {} tokens: {}",
        thousands(rates.prompt_tokens),
        rate(rates.prefill_tokens_per_s),
        thousands(rates.depth_tokens),
        rate(rates.decode_tokens_per_s)
    );
    if let Some(all) = rates.throughput_tokens_per_s {
        let _ = write!(text, "; of all requests together: {}", rate(all));
    }
    for note in &rates.notes {
        let _ = write!(text, "\n! {note}");
    }
    text
}

/// This machine's GPUs as they are now.
pub(crate) fn present(args: &Args) -> Result<(Vec<Candidate>, Vec<String>), Failure> {
    let host = Host::start(args, None)?;
    let app = host.app.clone();
    let found = host.runtime.block_on(host::first_frame(&app));
    host.shut_down();
    let (machine, frame) = found?;
    Ok(estimating::present(&app, &machine, &frame))
}

fn json(estimate: &Estimate, speed: &SpeedTold) -> String {
    serde_json::to_string(&EstimateJson { schema: SCHEMA, estimate, speed })
        .expect("numbers, strings and lists always serialise")
}

fn text(estimate: &Estimate, gpus: &[Candidate]) -> String {
    let mut text = String::new();
    let _ = write!(
        text,
        "{:<34} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}  Layers",
        "MiB", "Weights", "KV", "Compute", "Output", "Sum", "Free"
    );
    for (number, (device, candidate)) in estimate.devices.iter().zip(gpus).enumerate() {
        let name = candidate.name.as_deref().map_or(String::new(), |name| format!(" {}", render::short_name(name)));
        let free = Bytes(candidate.gpu.device.free);
        line(&mut text, &format!("{}{name}", device.name), &device.parts, &mib(free.0), &layers(estimate, number));
        if estimate.uncertainty_bytes[number] > 0 {
            let _ = write!(text, ", sum ± {} MiB", mib(estimate.uncertainty_bytes[number]));
        }
    }
    let on_host = estimate.layers.iter().filter(|gpu| **gpu < 0).count();
    line(&mut text, "Host", &estimate.host, "", &count(on_host));
    for extra in &estimate.extra {
        beside(&mut text, extra);
    }
    for problem in &estimate.problems {
        let _ = write!(text, "\n! {problem}");
    }
    if let Some(fit) = estimate.fit.as_ref().filter(|fit| fit.outcome != FitOutcome::Fits) {
        fitted(&mut text, fit);
    }
    text
}

/// What `--fit` does, step by step, and the arguments that do the same.
fn fitted(text: &mut String, fit: &FitTold) {
    for step in &fit.steps {
        let _ = write!(text, "\n  {step}");
    }
    let words: Vec<_> = fit.arguments.iter().map(|word| quoted(word)).collect();
    let _ = write!(text, "\n  To the same effect, add: {} --fit off", words.join(" "));
}

/// A word for a shell. Patterns of overrides hold no quotes.
fn quoted(word: &str) -> String {
    let plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-,.=".contains(&byte));
    if plain { word.to_owned() } else { format!("'{word}'") }
}

/// What is loaded beside the model, where it lies.
fn beside(text: &mut String, extra: &Extra) {
    let what = extra.part.words();
    let homes = extra.devices.iter().map(|device| (device.name.as_str(), &device.parts));
    for (home, parts) in homes.chain([("Host", &extra.host)]).filter(|(_, parts)| parts.sum() > 0) {
        let least = extra.at_least.iter().any(|noted| noted.device == home);
        line(text, &format!("{home} {what}"), parts, "", if least { "at least" } else { "" });
    }
}

fn line(text: &mut String, name: &str, parts: &Parts, free: &str, layers: &str) {
    let _ = write!(
        text,
        "\n{:<34} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}  {}",
        name,
        mib(parts.weights_bytes),
        mib(parts.kv_bytes),
        mib(parts.compute_bytes),
        mib(parts.output_bytes),
        mib(parts.sum()),
        free,
        layers
    );
}

fn mib(bytes: u64) -> String {
    format!("{:.2}", Bytes(bytes).as_mib())
}

/// How many units a GPU has; the last unit is the output.
fn layers(estimate: &Estimate, number: usize) -> String {
    let here = |gpu: &i32| usize::try_from(*gpu).is_ok_and(|gpu| gpu == number);
    let units = estimate.layers.iter().filter(|gpu| here(gpu)).count();
    if estimate.layers.last().is_some_and(here) { format!("{}, output", count(units - 1)) } else { count(units) }
}

fn count(layers: usize) -> String {
    if layers == 0 { "none".to_owned() } else { layers.to_string() }
}
