//! `dualgpuopt plan --export`: the command of a plan as a file that something else reads.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use dualgpuopt_app::api::{CommandView, PlanAsk};
use dualgpuopt_core::command::ExportForm;
use dualgpuopt_core::error::{AppError, Code};
use dualgpuopt_store::write_export;

use crate::args::{Args, ExportArgs, PlanArgs};
use crate::exit::Failure;
use crate::host::Host;
use crate::output;

/// Writes the command of a plan, or prints it where no file is named. What the engine cannot be told goes to stderr.
pub(crate) fn run(args: &Args, plan: &PlanArgs, mut ask: PlanAsk) -> Result<ExitCode, Failure> {
    let options = &plan.export;
    let form = form(options)?;
    let host = Host::start(args, None)?;
    let app = host.app.clone();
    let views = host.runtime.block_on(async {
        crate::plan::on_gpus(&app, plan, &mut ask).await?;
        Ok::<_, Failure>(app.commands(ask).await?)
    });
    host.shut_down();
    let views = views?;
    let text = text(&views, form)?;
    match &options.export {
        Some(path) => {
            write_export(path, &text, form.is_program()).map_err(|error| unwritten(path, &error))?;
            output::progress(&format!("Written to {}.", path.display()));
        }
        None => output::line(text.trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The form that is asked for: by name, else by the file's ending.
fn form(options: &ExportArgs) -> Result<ExportForm, AppError> {
    if let Some(form) = options.export_as {
        return Ok(form.into());
    }
    let name = options.export.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    ExportForm::of_file(&name).ok_or_else(|| {
        AppError::new(Code::BadRequest, format!("The ending of '{name}' says no form to export in."))
            .hint("Use .sh, .ps1, .cmd, .service, .yaml or .env, or --export-as.")
    })
}

/// The text in a form, of the first engine that has it. Problems of that engine are said.
fn text(views: &[CommandView], form: ExportForm) -> Result<String, AppError> {
    for view in views {
        if let Some(found) = view.forms.iter().find(|found| found.form == form) {
            view.problems.iter().for_each(|problem| output::complain(problem));
            return Ok(found.text.clone());
        }
    }
    let problems: Vec<&str> = views.iter().flat_map(|view| &view.problems).map(String::as_str).collect();
    Err(AppError::new(Code::BadRequest, problems.join(" ")))
}

fn unwritten(path: &Path, error: &io::Error) -> AppError {
    AppError::new(Code::Store, format!("{} could not be written: {error}.", path.display()))
        .hint("Name another place with --export.")
}
