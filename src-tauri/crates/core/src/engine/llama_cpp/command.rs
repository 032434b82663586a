//! The command line of `llama-server` for a plan.
//!
//! Flags are those of the tree of 6 October 2026. `--fit` came in December 2025: with it on (the default) the server
//! would change what was planned; servers older than that refuse the flag. `-fa` takes a value since August 2025.

use crate::command::{EnvVar, LaunchSpec};
use crate::plan::{Plan, batch};

/// Where `llama-server` says that its model is loaded. Source: `tools/server/README.md`.
const HEALTH_PATH: &str = "/health";

/// More layers than any model has (llama.cpp's own limit is 512), so that all of them and the output go to GPUs.
const ALL_LAYERS: &str = "999";

/// How to start `llama-server` so that it makes exactly this plan.
///
/// GPUs without a share are hidden from it; the others are named by UUID in the plan's order, which is also the order of
/// `--tensor-split`. `program` and `host` are taken as they are; `title` is what the user calls it.
#[must_use]
pub fn launch_spec(model_path: &str, title: &str, plan: &Plan, program: &str, host: &str, port: u16) -> LaunchSpec {
    let request = &plan.request;
    let used: Vec<_> = plan.devices.iter().zip(&plan.split).filter(|(_, units)| **units > 0).collect();
    let mut args: Vec<String> = Vec::new();
    let mut flag = |name: &str, value: String| args.extend([name.to_owned(), value]);
    flag("-m", not_a_flag(model_path));
    flag("-c", plan.context.to_string());
    flag("-np", request.parallel.to_string());
    flag("-b", batch(request.micro_batch).to_string());
    flag("-ub", request.micro_batch.to_string());
    flag("-ctk", request.cache_k.flag().to_owned());
    flag("-ctv", request.cache_v.flag().to_owned());
    if request.cache_v.is_quantised() {
        flag("-fa", "on".to_owned());
    }
    flag("-ngl", ALL_LAYERS.to_owned());
    if used.len() > 1 {
        flag("--split-mode", "layer".to_owned());
        let shares: Vec<_> = used.iter().map(|(_, units)| units.to_string()).collect();
        flag("--tensor-split", shares.join(","));
    } else {
        flag("--split-mode", "none".to_owned());
    }
    flag("--fit", "off".to_owned());
    flag("--host", host.to_owned());
    flag("--port", port.to_string());

    let uuids: Vec<_> = used.iter().map(|(device, _)| device.gpu.0.as_str()).collect();
    LaunchSpec {
        title: title.to_owned(),
        program: program.to_owned(),
        args,
        env: vec![var("CUDA_DEVICE_ORDER", "PCI_BUS_ID"), var("CUDA_VISIBLE_DEVICES", &uuids.join(","))],
        host: host.to_owned(),
        port,
        health_path: HEALTH_PATH.to_owned(),
    }
}

fn var(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: value.to_owned() }
}

/// A path that begins with a dash would read as a flag.
fn not_a_flag(path: &str) -> String {
    if path.starts_with('-') { format!("./{path}") } else { path.to_owned() }
}
