//! `dualgpuopt plan`: how a model falls on the GPUs.

use std::path::Path;
use std::process::ExitCode;

use dualgpuopt_app::api::{ModelView, PlanAsk, PlanView};
use dualgpuopt_core::error::{AppError, Code};
use dualgpuopt_core::plan::{ContextWish, Explanation, Plan, Verdict};
use serde::Serialize;

use crate::args::{Args, ModelArgs, PlanArgs};
use crate::exit::{self, Failure};
use crate::host::{self, Host};
use crate::{explained, output, render};

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
    explanation: Option<&'a Explanation>,
}

pub(crate) fn run(args: &Args, options: &PlanArgs) -> Result<ExitCode, Failure> {
    let host = Host::start(args, None)?;
    let app = host.app.clone();
    let ask = ask(&options.model, None)?;
    let planned = host.runtime.block_on(async {
        // A file that cannot be read is said before a GPU that is not there.
        app.open_model(ask.model.clone()).await?;
        host::first_frame(&app).await?;
        let view = app.plan(ask.clone()).await?;
        let explanation = if options.explain { Some(app.explain(ask.model, view.plan.clone()).await?) } else { None };
        Ok::<_, AppError>((view, explanation))
    });
    host.shut_down();
    let (view, explanation) = planned?;
    output::line(&match &explanation {
        _ if options.json => json(&view, explanation.as_ref()),
        Some(explanation) => format!("{}\n\n{}", render::plan(&view), explained::text(&view.plan, explanation)),
        None => render::plan(&view),
    })?;
    Ok(code(&view))
}

/// What the arguments ask for.
pub(crate) fn ask(model: &ModelArgs, port: Option<u16>) -> Result<PlanAsk, Failure> {
    Ok(PlanAsk {
        model: path_text(&model.model)?,
        context: model.ctx_size.map_or(ContextWish::Largest, ContextWish::Tokens),
        cache_k: model.cache_type.into(),
        cache_v: model.cache_type.into(),
        parallel: model.parallel,
        micro_batch: model.ubatch_size,
        gpus: Vec::new(),
        split: None,
        port,
    })
}

/// A path as absolute text. One that is no UTF-8 could not be passed on unharmed, so it is refused.
pub(crate) fn path_text(path: &Path) -> Result<String, Failure> {
    let path = std::path::absolute(path)?;
    path.into_os_string().into_string().map_err(|path| {
        let message = format!("The path {} is not UTF-8.", path.to_string_lossy());
        AppError::new(Code::BadRequest, message).hint("Rename the file, or make a link to it.").into()
    })
}

/// The exit code that a plan means.
pub(crate) fn code(view: &PlanView) -> ExitCode {
    match view.plan.verdict {
        Verdict::Fits { .. } => ExitCode::SUCCESS,
        Verdict::DoesNotFit { .. } => ExitCode::from(exit::DOES_NOT_FIT),
    }
}

fn json(view: &PlanView, explanation: Option<&Explanation>) -> String {
    let PlanView { model, plan, command, .. } = view;
    let json = PlanJson { schema: SCHEMA, model, plan, command, explanation };
    serde_json::to_string(&json).expect("numbers, strings and lists always serialise")
}
