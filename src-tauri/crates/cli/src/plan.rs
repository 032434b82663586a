//! `dualgpuopt plan`: how a model falls on the GPUs.

mod options;

use std::path::Path;
use std::process::ExitCode;

use dualgpuopt_app::api::{ModelRef, ModelView, PlanAsk, PlanView};
use dualgpuopt_app::{App, naming};
use dualgpuopt_core::engine::llama_cpp::explain::Line;
use dualgpuopt_core::plan::{Alternatives, ContextWish, Goal, Plan, Verdict};
use serde::Serialize;

use crate::args::{Args, ModelArgs, PlanArgs};
use crate::exit::{self, Failure};
use crate::host::{self, Host};
use crate::{explained, export, output, render};

/// Version of the JSON form. Fields may be added; none changes its meaning without a new version.
const SCHEMA: u32 = 2;

/// `plan --json`.
#[derive(Serialize)]
struct PlanJson<'a> {
    schema: u32,
    model: &'a ModelView,
    plan: &'a Plan,
    command: &'a str,
    /// With `--alternatives` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    alternatives: Option<&'a Alternatives>,
    /// With `--explain` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explained<'a>>,
}

#[derive(Serialize)]
struct Explained<'a> {
    lines: &'a [Line],
}

pub(crate) fn run(args: &Args, options: &PlanArgs) -> Result<ExitCode, Failure> {
    let mut ask = options::chosen(ask(&options.model, None)?, options);
    if options.export.is_wanted() {
        return export::run(args, options, ask);
    }
    let host = Host::start(args, None)?;
    let app = host.app.clone();
    let planned = host.runtime.block_on(async {
        on_gpus(&app, options, &mut ask).await?;
        let view = app.plan(ask.clone()).await?;
        let alternatives = if options.alternatives { Some(app.alternatives(ask).await?) } else { None };
        Ok::<_, Failure>((view, alternatives))
    });
    host.shut_down();
    let (view, alternatives) = planned?;
    if options.json {
        output::line(&json(&view, options.explain, alternatives.as_ref()))?;
        return Ok(code(&view));
    }
    let mut text = render::plan(&view);
    if let Some(alternatives) = &alternatives {
        text = format!("{text}\n\n{}", render::alternatives(alternatives));
    }
    if options.explain {
        text = format!("{text}\n\n{}", explained::text(&view.plan, &view.explanation));
    }
    output::line(&text)?;
    Ok(code(&view))
}

/// Waits for this machine's GPUs, where they are planned for, and says in the ask which of them are used.
pub(crate) async fn on_gpus(app: &App, options: &PlanArgs, ask: &mut PlanAsk) -> Result<(), Failure> {
    // A file that cannot be read is said before a GPU that is not there.
    app.open_model(ask.model.clone()).await?;
    let here = if ask.only_added { Vec::new() } else { host::first_frame(app).await?.0.gpus };
    ask.gpus = options::gpus(options, &here)?;
    Ok(())
}

/// What the arguments ask for.
pub(crate) fn ask(model: &ModelArgs, port: Option<u16>) -> Result<PlanAsk, Failure> {
    let mut ask = PlanAsk {
        model: named(&model.model)?,
        context: model.ctx_size.map_or(ContextWish::Largest, ContextWish::Tokens),
        cache_k: model.cache_type.into(),
        cache_v: model.cache_type.into(),
        parallel: model.parallel,
        micro_batch: model.ubatch_size,
        gpus: Vec::new(),
        split: None,
        order: None,
        added: Vec::new(),
        only_added: false,
        goal: Goal::default(),
        mode: None,
        ram: None,
        all_gpus: false,
        experts_in_ram: None,
        depth: 0,
        port,
    };
    options::fix(&mut ask, model)?;
    Ok(ask)
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

fn json(view: &PlanView, explain: bool, alternatives: Option<&Alternatives>) -> String {
    let PlanView { model, plan, command, explanation, .. } = view;
    let explanation = explain.then_some(Explained { lines: explanation });
    let json = PlanJson { schema: SCHEMA, model, plan, command, alternatives, explanation };
    serde_json::to_string(&json).expect("numbers, strings and lists always serialise")
}
