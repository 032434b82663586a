//! Text for people: GPUs and plans as aligned lines.

use std::fmt::Write as _;

use dualgpuopt_app::api::PlanView;
use dualgpuopt_core::gpu::{Frame, GpuSample, Machine, Metric, SourceKind, throttle_text};
use dualgpuopt_core::plan::{Alternatives, DevicePlan, Fix, Plan, PlanMode, Verdict};
use dualgpuopt_core::reading::Reading;
use dualgpuopt_core::speed::Predicted;
use dualgpuopt_core::units::{Bytes, GIB, thousands};

/// One line per GPU under a heading.
pub(crate) fn status(machine: &Machine, frame: &Frame) -> String {
    let mut text = String::new();
    if machine.source == SourceKind::Simulated {
        text.push_str("Simulated GPUs, nothing here is measured\n");
    } else if let Some(driver) = &machine.driver_version {
        let cuda = machine.cuda_version.as_deref().unwrap_or("unknown");
        let _ = writeln!(text, "Driver {driver}, CUDA {cuda}");
    }
    let _ = write!(
        text,
        "{:<3} {:<28} {:>21} {:>10} {:>10} {:>14} {:>8}  Clocks held by",
        "GPU", "Name", "Memory", "Load", "Heat", "Power", "Fan"
    );
    for facts in &machine.gpus {
        let Some(sample) = frame.sample(&facts.id) else { continue };
        let _ = write!(text, "\n{:<3} {:<28} ", facts.index, short_name(&facts.name));
        if let Some(why) = sample.silent() {
            text.push_str(why.words());
            if let Some(answered) = sample.answered_at {
                let _ = write!(text, ", last answer {} s ago", answered.age_ms(frame.at) / 1000);
            }
            continue;
        }
        let _ = write!(
            text,
            "{:>21} {:>10} {:>10} {:>14} {:>8}  {}",
            memory(sample),
            number(sample.get(Metric::GpuUtilization), " %"),
            number(sample.get(Metric::Temperature), " °C"),
            power(sample),
            number(sample.get(Metric::Fan), " %"),
            throttle_text(sample.get(Metric::ThrottleReasons)),
        );
    }
    for problem in &frame.problems {
        let _ = write!(text, "\n! {problem}");
    }
    text
}

/// A card's name without what all of them share.
pub(crate) fn short_name(name: &str) -> &str {
    name.strip_prefix("NVIDIA ").map_or(name, |name| name.strip_prefix("GeForce ").unwrap_or(name))
}

fn number(reading: Reading, unit: &str) -> String {
    match reading {
        Reading::Value(value) => format!("{value:.0}{unit}"),
        Reading::Missing(why) => why.words().to_owned(),
    }
}

fn memory(sample: &GpuSample) -> String {
    match (sample.get(Metric::MemoryUsed), sample.get(Metric::MemoryTotal)) {
        (Reading::Value(used), Reading::Value(total)) => format!("{} / {} GiB", gib(used), gib(total)),
        (Reading::Missing(why), _) | (_, Reading::Missing(why)) => why.words().to_owned(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a constant far below 2^53")]
fn gib(bytes: f64) -> String {
    format!("{:.2}", bytes / GIB as f64)
}

fn power(sample: &GpuSample) -> String {
    match (sample.get(Metric::Power), sample.get(Metric::PowerLimit)) {
        (Reading::Value(power), Reading::Value(limit)) => format!("{power:.0} / {limit:.0} W"),
        (power, _) => number(power, " W"),
    }
}

/// The verdict, the devices by part, and the command.
pub(crate) fn plan(view: &PlanView) -> String {
    let (model, plan) = (&view.model, &view.plan);
    let mut text = format!(
        "{}, {}, {} layers, {}\n{}\n\n",
        model.name,
        model.quant,
        model.layers,
        model.file_bytes,
        verdict(&plan.verdict)
    );
    let _ = writeln!(
        text,
        "Context {} tokens; at most {} fit here, trained for {}.\n",
        thousands(plan.context.into()),
        thousands(plan.context_limit.into()),
        thousands(plan.context_trained.into())
    );
    speed(&mut text, plan);
    let _ = writeln!(
        text,
        "{:<34} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>8}  Layers",
        "GiB", "Weights", "KV", "Compute", "Driver", "Others", "Keep free", "Free"
    );
    for device in &plan.devices {
        text.push_str(&device_line(plan, device));
    }
    let host = &plan.host;
    let _ = writeln!(
        text,
        "{:<34} {:>8} {:>8} {:>8}",
        "System RAM",
        short_gib(host.weights),
        if host.kv_cache > Bytes::ZERO { short_gib(host.kv_cache) } else { String::new() },
        short_gib(host.compute + host.output)
    );
    for note in &plan.notes {
        let _ = write!(text, "\nNote: {note}");
    }
    if !plan.notes.is_empty() {
        text.push('\n');
    }
    if matches!(plan.verdict, Verdict::DoesNotFit { .. }) {
        text.push_str("\nThis command would run out of memory:\n");
    }
    let _ = write!(text, "\n{}", view.command);
    text
}

/// How fast it is, where the rest lies, and why this and no other.
fn speed(text: &mut String, plan: &Plan) {
    if let Some(speed) = &plan.speed {
        let _ = writeln!(text, "Generation {}, prompts {}.", rate(speed.decode), rate(speed.prefill));
        if plan.request.parallel > 1 {
            let _ = writeln!(text, "All {} requests together {}.", plan.request.parallel, rate(speed.throughput));
        }
        let _ = writeln!(text, "{}", speed.basis);
    }
    if let Some(certificate) = &plan.certificate {
        let _ = writeln!(text, "{}", certificate.words);
        for other in &certificate.others {
            let _ = writeln!(text, "  Not {}: {}", other.what, other.why);
        }
    }
    if plan.layers_in_ram > 0 || !plan.experts_in_ram.is_empty() {
        let _ = writeln!(
            text,
            "In system RAM: {} whole layers, and the experts of {}.",
            plan.layers_in_ram,
            plan.experts_in_ram.len()
        );
    }
    if plan.speed.is_some() || plan.certificate.is_some() {
        text.push('\n');
    }
}

/// A predicted rate: `98.3 ± 6.1 tokens/s`, the wider side of its interval; whole numbers from 100 on.
fn rate(predicted: Predicted) -> String {
    let either = (predicted.high - predicted.value).max(predicted.value - predicted.low);
    let digits = usize::from(predicted.value < 100.0);
    format!("{:.digits$} ± {either:.digits$} tokens/s", predicted.value)
}

/// The plans worth considering, a line each.
pub(crate) fn alternatives(alternatives: &Alternatives) -> String {
    let mut text =
        format!("{:>10} {:>10} {:>10} {:>9} {:>9}  Alternative", "Decode/s", "Prefill/s", "Context", "Free", "RAM");
    for plan in &alternatives.plans {
        let rate = |of: Option<f64>| of.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.1}"));
        let _ = write!(
            text,
            "\n{:>10} {:>10} {:>10} {:>9} {:>9}  {}",
            rate(plan.speed.as_ref().map(|speed| speed.decode.value)),
            rate(plan.speed.as_ref().map(|speed| speed.prefill.value)),
            thousands(plan.context_limit.into()),
            short_gib(plan.spare),
            short_gib(plan.ram),
            plan.title
        );
    }
    if alternatives.hidden > 0 {
        let _ = write!(text, "\n{} more are not shown.", alternatives.hidden);
    }
    text
}

fn device_line(plan: &Plan, device: &DevicePlan) -> String {
    let memory = &device.memory;
    let left =
        if memory.short > Bytes::ZERO { format!("-{}", short_gib(memory.short)) } else { short_gib(memory.free) };
    let layers = match (device.layer_end - device.layer_begin, device.has_output) {
        _ if plan.mode == PlanMode::Tensor && device.has_output => "a part of all".to_owned(),
        (0, true) => "output".to_owned(),
        (0, false) => "none".to_owned(),
        (_, output) => {
            format!("{} to {}{}", device.layer_begin, device.layer_end - 1, if output { ", output" } else { "" })
        }
    };
    format!(
        "{:<34} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>8}  {}\n",
        format!("GPU {} {} ({})", device.index, short_name(&device.name), short_gib(device.total)),
        short_gib(memory.weights),
        short_gib(memory.kv_cache),
        short_gib(memory.compute),
        short_gib(memory.driver_context),
        short_gib(memory.others),
        short_gib(memory.reserve),
        left,
        layers
    )
}

/// The verdict in words, with every fix on a line of its own.
pub(crate) fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Fits { spare, tightest } => format!("Fits, {spare} to spare; tightest is GPU {tightest}."),
        Verdict::DoesNotFit { reason, fixes, .. } => {
            let mut text = format!("Does not fit. {reason}");
            for fix in fixes {
                let _ = match fix {
                    Fix::Context { tokens } => write!(text, "\n  Fits with --ctx-size {tokens}"),
                    Fix::Cache { cache, tokens } => {
                        write!(
                            text,
                            "\n  Fits with --cache-type {} up to {} tokens",
                            cache.flag(),
                            thousands(u64::from(*tokens))
                        )
                    }
                    Fix::Ram { expert_layers: 0, layers, bytes } => {
                        write!(text, "\n  Fits with {layers} layers ({bytes}) in system RAM (--ram)")
                    }
                    Fix::Ram { expert_layers, bytes, .. } => {
                        write!(
                            text,
                            "\n  Fits with the experts of {expert_layers} layers ({bytes}) in system RAM (--ram)"
                        )
                    }
                    Fix::Gpus { indices } => {
                        let gpus: Vec<_> = indices.iter().map(|gpu| format!("GPU {gpu}")).collect();
                        write!(text, "\n  Fits with {} as well", gpus.join(" and "))
                    }
                    Fix::Others { gpu, bytes } => {
                        write!(text, "\n  Fits once {bytes} that others hold on GPU {gpu} are free")
                    }
                    Fix::MicroBatch { tokens } => write!(text, "\n  Fits with --ubatch-size {tokens}"),
                    Fix::Parallel { requests } => write!(text, "\n  Fits with --parallel {requests}"),
                };
            }
            text
        }
    }
}

fn short_gib(bytes: Bytes) -> String {
    format!("{:.2}", bytes.as_gib())
}
