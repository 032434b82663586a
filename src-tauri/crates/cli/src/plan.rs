//! `dualgpuopt plan`: how a model falls on the GPUs.

use std::path::Path;
use std::process::ExitCode;

use dualgpuopt_app::api::{ModelRef, ModelView, PlanAsk, PlanView};
use dualgpuopt_app::naming;
use dualgpuopt_core::engine::llama_cpp::explain::Line;
use dualgpuopt_core::error::AppError;
use dualgpuopt_core::plan::{ContextWish, Goal, Plan, Verdict};
use serde::Serialize;

use crate::args::{Args, ModelArgs, PlanArgs};
use crate::exit::{self, Failure};
use crate::host::{self, Host};
use crate::{explained, export, output, render};

/// Version of the JSON form. Fields may be added; none changes its meaning without a new version.
const SCHEMA: u32 = 1;

/// `plan --json`.
#[derive(Serialize)]
struct PlanJson<'a> {
    schema: u32,
    model: &'a ModelView,
    plan: &'a Plan,
    command: &'a str,
    /// With `--explain` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explained<'a>>,
}

#[derive(Serialize)]
struct Explained<'a> {
    lines: &'a [Line],
}

pub(crate) fn run(args: &Args, options: &PlanArgs) -> Result<ExitCode, Failure> {
    let ask = ask(&options.model, None)?;
    if options.export.is_wanted() {
        return export::run(args, &options.export, ask);
    }
    let host = Host::start(args, None)?;
    let app = host.app.clone();
    let planned = host.runtime.block_on(async {
        // A file that cannot be read is said before a GPU that is not there.
        app.open_model(ask.model.clone()).await?;
        host::first_frame(&app).await?;
        let view = app.plan(ask).await?;
        Ok::<_, AppError>(view)
    });
    host.shut_down();
    let view = planned?;
    output::line(&match (options.json, options.explain) {
        (true, explain) => json(&view, explain),
        (false, true) => format!("{}\n\n{}", render::plan(&view), explained::text(&view.plan, &view.explanation)),
        (false, false) => render::plan(&view),
    })?;
    Ok(code(&view))
}

/// What the arguments ask for.
pub(crate) fn ask(model: &ModelArgs, port: Option<u16>) -> Result<PlanAsk, Failure> {
    Ok(PlanAsk {
        model: named(&model.model)?,
        context: model.ctx_size.map_or(ContextWish::Largest, ContextWish::Tokens),
        cache_k: model.cache_type.into(),
        cache_v: model.cache_type.into(),
        parallel: model.parallel,
        micro_batch: model.ubatch_size,
        gpus: Vec::new(),
        split: None,
        goal: Goal::default(),
        mode: None,
        ram: None,
        all_gpus: false,
        experts_in_ram: None,
        depth: 0,
        port,
    })
}

/// The model that an argument names.
fn named(model: &Path) -> Result<ModelRef, Failure> {
    Ok(match model.to_str() {
        Some(text) => naming::model(text)?,
        None => ModelRef::File { path: naming::absolute(model)? },
    })
}

/// The exit code that a plan means.
pub(crate) fn code(view: &PlanView) -> ExitCode {
    match view.plan.verdict {
        Verdict::Fits { .. } => ExitCode::SUCCESS,
        Verdict::DoesNotFit { .. } => ExitCode::from(exit::DOES_NOT_FIT),
    }
}

fn json(view: &PlanView, explain: bool) -> String {
    let PlanView { model, plan, command, explanation, .. } = view;
    let explanation = explain.then_some(Explained { lines: explanation });
    let json = PlanJson { schema: SCHEMA, model, plan, command, explanation };
    serde_json::to_string(&json).expect("numbers, strings and lists always serialise")
}
