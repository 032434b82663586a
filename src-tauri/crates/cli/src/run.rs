//! `dualgpuopt run`: plans, starts the engine with the plan, shows its log, and stops its whole process tree on Ctrl+C.

use std::process::ExitCode;

use dualgpuopt_app::App;
use dualgpuopt_app::api::AppEvent;
use dualgpuopt_core::error::AppError;
use dualgpuopt_core::plan::Verdict;
use dualgpuopt_core::session::{LogStream, SessionId, SessionState, SessionView};

use crate::args::{Args, RunArgs};
use crate::exit::{self, Failure};
use crate::host::{self, Host};
use crate::{output, plan, render};

pub(crate) fn run(args: &Args, options: &RunArgs) -> Result<ExitCode, Failure> {
    let ask = plan::ask(&options.model, options.port)?;
    let host = Host::start(args, options.engine.clone())?;
    let app = host.app.clone();
    let ended = host.runtime.block_on(async {
        app.open_model(ask.model.clone()).await?;
        host::first_frame(&app).await?;
        let view = app.plan(ask.clone()).await?;
        output::progress(&render::plan(&view));
        if matches!(view.plan.verdict, Verdict::DoesNotFit { .. }) {
            return Ok(ExitCode::from(exit::DOES_NOT_FIT));
        }
        let events = app.events();
        let session = app.start(ask).await?;
        follow(&app, events, &session).await
    });
    host.shut_down();
    ended
}

/// Shows a session until it has ended. The first Ctrl+C (or SIGTERM) stops it politely, the second by force.
async fn follow(app: &App, mut events: dualgpuopt_app::Listener, session: &SessionView) -> Result<ExitCode, Failure> {
    let mut stops = stop_signals()?;
    let mut stop_asked = false;
    let mut last = String::new();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(AppEvent::Log(batch)) if batch.session == session.id => {
                    for line in batch.lines {
                        if line.stream == LogStream::App { output::progress(&line.text) } else { output::line(&line.text)? }
                    }
                }
                Some(AppEvent::Session(view)) if view.id == session.id => {
                    let words = words(&view);
                    if words != last {
                        output::progress(&words);
                        last = words;
                    }
                    if let Some(code) = ended(&view.state) { return Ok(code) }
                }
                Some(AppEvent::Resync) => output::progress("Some lines of the log were skipped."),
                Some(_) => {}
                None => return Ok(ExitCode::from(exit::FAILED)),
            },
            Some(()) = stops.recv() => {
                stop(app, session.id, stop_asked).await?;
                stop_asked = true;
            }
        }
    }
}

async fn stop(app: &App, session: SessionId, force: bool) -> Result<(), AppError> {
    output::progress(if force { "Stopping by force." } else { "Stopping. Ctrl+C again forces it." });
    app.stop(session, force).await
}

fn words(view: &SessionView) -> String {
    match &view.state {
        SessionState::Starting => "Starting.".to_owned(),
        SessionState::Loading => "Loading the model.".to_owned(),
        SessionState::Ready => format!("Ready: {}", view.spec.url()),
        SessionState::Stopping { .. } => "Stopping.".to_owned(),
        SessionState::Stopped { .. } => "Stopped.".to_owned(),
        SessionState::Failed { message, hint } => format!("Failed: {message} {hint}").trim_end().to_owned(),
    }
}

fn ended(state: &SessionState) -> Option<ExitCode> {
    match state {
        SessionState::Stopped { .. } => Some(ExitCode::SUCCESS),
        SessionState::Failed { .. } => Some(ExitCode::from(exit::ENGINE)),
        SessionState::Starting | SessionState::Loading | SessionState::Ready | SessionState::Stopping { .. } => None,
    }
}

/// A message for each Ctrl+C or SIGTERM.
fn stop_signals() -> std::io::Result<tokio::sync::mpsc::Receiver<()>> {
    let (told, asked) = tokio::sync::mpsc::channel(4);
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        loop {
            #[cfg(unix)]
            let heard = tokio::select! {
                heard = tokio::signal::ctrl_c() => heard.is_ok(),
                heard = terminate.recv() => heard.is_some(),
            };
            #[cfg(not(unix))]
            let heard = tokio::signal::ctrl_c().await.is_ok();
            if !heard || told.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(asked)
}
