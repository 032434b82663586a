//! What the options of `plan` fix: pins, what-ifs, budgets, system RAM.

use std::str::FromStr;

use dualgpuopt_app::api::{GpuChoice, PlanAsk};
use dualgpuopt_app::ram;
use dualgpuopt_core::card::described;
use dualgpuopt_core::error::{AppError, Code};
use dualgpuopt_core::gpu::{GpuFacts, GpuId};
use dualgpuopt_core::plan::{CacheType, ContextWish, PlanMode, RamBudget};
use dualgpuopt_core::units::{Bytes, GIB};

use crate::args::{ModelArgs, PlanArgs};
use crate::exit::Failure;

/// Kept free on a GPU that a budget or a change names, as on every other.
const RESERVE: Bytes = Bytes::mib(512);

/// The ask with the cards that are planned with and the depth.
pub(super) fn chosen(mut ask: PlanAsk, options: &PlanArgs) -> PlanAsk {
    ask.depth = options.depth;
    if let Some(gpus) = &options.gpus {
        ask.added.push(gpus.clone());
        ask.only_added = true;
    }
    ask.added.extend(options.what_if.iter().filter_map(|change| change.strip_prefix("add=")).map(str::to_owned));
    ask
}

/// Puts in what the options of a model's plan fix: goal, pins, system RAM.
pub(super) fn fix(ask: &mut PlanAsk, options: &ModelArgs) -> Result<(), Failure> {
    ask.goal = options.goal.into();
    for pin in &options.pin {
        put(ask, pin)?;
    }
    ask.ram = options.ram.as_deref().map(budget).transpose()?;
    Ok(())
}

/// Which GPUs are used, and how much of them. `here`: this machine's.
pub(super) fn gpus(options: &PlanArgs, here: &[GpuFacts]) -> Result<Vec<GpuChoice>, Failure> {
    let mut choices: Vec<GpuChoice> = Vec::new();
    for change in &options.what_if {
        if let Some(gpu) = change.strip_prefix("off=") {
            choice(&mut choices, named(gpu, here, options)?).used = false;
        } else if !change.starts_with("add=") {
            return Err(wrong(change, "off=GPU or add=CARD"));
        }
    }
    for budget in &options.budget {
        let (gpu, size) = budget.split_once('=').ok_or_else(|| wrong(budget, "GPU=GiB"))?;
        choice(&mut choices, named(gpu, here, options)?).most = Some(gib(size, budget)?);
    }
    Ok(choices)
}

/// The choice for a GPU, made where there is none yet.
fn choice(choices: &mut Vec<GpuChoice>, gpu: GpuId) -> &mut GpuChoice {
    let at = choices.iter().position(|choice| choice.gpu == gpu).unwrap_or_else(|| {
        choices.push(GpuChoice { gpu, used: true, reserve: RESERVE, most: None });
        choices.len() - 1
    });
    &mut choices[at]
}

/// A GPU by its number or the beginning of its UUID. Cards that are added have the numbers behind this machine's.
fn named(text: &str, here: &[GpuFacts], options: &PlanArgs) -> Result<GpuId, Failure> {
    let found = here.iter().find(|gpu| text.parse() == Ok(gpu.index) || (text.len() > 4 && gpu.id.0.starts_with(text)));
    if let Some(found) = found {
        return Ok(found.id.clone());
    }
    let added = options.gpus.iter().map(String::as_str);
    let added = added.chain(options.what_if.iter().filter_map(|change| change.strip_prefix("add=")));
    let count: usize = added.filter_map(|text| described(text).ok()).map(|cards| cards.len()).sum();
    let first = here.iter().map(|gpu| gpu.index + 1).max().unwrap_or(0);
    let number = text.parse().ok().filter(|number: &u32| {
        number.checked_sub(first).and_then(|at| usize::try_from(at).ok()).is_some_and(|at| at < count)
    });
    number.map(|number| GpuId(format!("added-{number}"))).ok_or_else(|| {
        AppError::new(Code::BadRequest, format!("There is no GPU {text}."))
            .hint("Name one by its number or UUID, as `dualgpuopt status` shows them.")
            .into()
    })
}

/// Puts a pin in.
fn put(ask: &mut PlanAsk, pin: &str) -> Result<(), Failure> {
    let (what, value) =
        pin.split_once('=').ok_or_else(|| wrong(pin, "mode=layer, split=40,41, kv=q8_0 and the like"))?;
    match (what, value) {
        ("mode", "layer") => ask.mode = Some(PlanMode::Layer),
        ("mode", "tensor") => ask.mode = Some(PlanMode::Tensor),
        ("split", units) => ask.split = Some(numbers(units, pin)?),
        ("order", gpus) => ask.order = Some(numbers(gpus, pin)?),
        ("gpus", "all") => ask.all_gpus = true,
        ("kv", types) => {
            let (k, v) = types.split_once(',').unwrap_or((types, types));
            (ask.cache_k, ask.cache_v) = (cache(k, pin)?, cache(v, pin)?);
        }
        ("ctx", tokens) => ask.context = ContextWish::Tokens(number(tokens, pin)?),
        ("ubatch", tokens) => ask.micro_batch = number(tokens, pin)?,
        ("parallel", requests) => ask.parallel = number(requests, pin)?,
        ("experts", layers) => ask.experts_in_ram = Some(number(layers, pin)?),
        _ => {
            let known = "mode=layer|tensor, split=, order=, gpus=all, kv=, ctx=, ubatch=, parallel= or experts=";
            return Err(wrong(pin, known));
        }
    }
    Ok(())
}

fn cache(name: &str, pin: &str) -> Result<CacheType, Failure> {
    let found = CacheType::ALL.into_iter().find(|cache| cache.flag() == name);
    found.ok_or_else(|| {
        let known: Vec<_> = CacheType::ALL.iter().map(|cache| cache.flag()).collect();
        wrong(pin, &format!("kv= with one of {}", known.join(", ")))
    })
}

/// `auto` is what is free now.
fn budget(text: &str) -> Result<RamBudget, Failure> {
    let bytes = if text == "auto" {
        ram::available().ok_or_else(|| {
            let message = "This system does not tell how much of its RAM is free.";
            Failure::from(AppError::new(Code::BadRequest, message).hint("Say how much: --ram 32."))
        })?
    } else {
        gib(text, text)?
    };
    Ok(RamBudget { bytes, bandwidth_mb_s: None })
}

/// GiB, a fraction allowed, as bytes.
fn gib(text: &str, whole: &str) -> Result<Bytes, Failure> {
    /// More than any machine has, GiB.
    const MOST: f64 = 1_048_576.0;
    let number = text.strip_suffix("GiB").unwrap_or(text).trim();
    let found = f64::from_str(number).ok().filter(|gib| (0.0..=MOST).contains(gib));
    found.map(as_bytes).ok_or_else(|| wrong(whole, "a number of GiB"))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "between zero and 2^50 bytes"
)]
fn as_bytes(gib: f64) -> Bytes {
    Bytes((gib * GIB as f64) as u64)
}

fn numbers(text: &str, pin: &str) -> Result<Vec<u32>, Failure> {
    text.split(',').map(|one| number(one.trim(), pin)).collect()
}

fn number(text: &str, pin: &str) -> Result<u32, Failure> {
    text.parse().map_err(|_| wrong(pin, "whole numbers behind ="))
}

fn wrong(given: &str, wanted: &str) -> Failure {
    AppError::new(Code::BadRequest, format!("\"{given}\" is not understood; it should be {wanted}.")).into()
}
