//! `dualgpuopt status`: the GPUs as they are now, once or with every sample.

use std::collections::BTreeMap;
use std::process::ExitCode;

use dualgpuopt_core::gpu::{Frame, GpuId, Machine, Metric, SourceKind};
use dualgpuopt_core::reading::Reading;
use serde::Serialize;

use crate::args::{Args, StatusArgs};
use crate::exit::Failure;
use crate::host::{self, Host};
use crate::{output, render};

/// Version of the JSON form. Fields may be added; none changes its meaning without a new version.
const SCHEMA: u32 = 1;

/// `status --json`.
#[derive(Serialize)]
struct StatusJson<'a> {
    schema: u32,
    source: SourceKind,
    at_ms: u64,
    gpus: Vec<GpuJson<'a>>,
    problems: &'a [String],
}

#[derive(Serialize)]
struct GpuJson<'a> {
    index: u32,
    uuid: &'a GpuId,
    name: &'a str,
    metrics: &'a BTreeMap<Metric, Reading>,
}

pub(crate) fn run(args: &Args, options: &StatusArgs) -> Result<ExitCode, Failure> {
    let host = Host::start(args, None)?;
    let app = host.app.clone();
    let shown = host.runtime.block_on(async {
        let mut events = app.events();
        let (machine, mut frame) = host::first_frame(&app).await?;
        loop {
            output::line(&if options.json { json(&machine, &frame) } else { render::status(&machine, &frame) })?;
            if !options.watch {
                return Ok(());
            }
            let shown = frame.seq;
            frame = loop {
                match host::next_frame(&mut events).await? {
                    Some(frame) if frame.seq > shown => break frame,
                    Some(_) => {}
                    None => return Ok(()),
                }
            };
        }
    });
    host.shut_down();
    shown.map(|()| ExitCode::SUCCESS)
}

fn json(machine: &Machine, frame: &Frame) -> String {
    let gpus = machine.gpus.iter().filter_map(|facts| {
        let sample = frame.sample(&facts.id)?;
        Some(GpuJson { index: facts.index, uuid: &facts.id, name: &facts.name, metrics: &sample.metrics })
    });
    let status = StatusJson {
        schema: SCHEMA,
        source: machine.source,
        at_ms: frame.at.wall_ms,
        gpus: gpus.collect(),
        problems: &frame.problems,
    };
    serde_json::to_string(&status).expect("numbers, strings and string-keyed maps always serialise")
}
