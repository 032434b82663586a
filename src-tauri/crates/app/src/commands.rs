//! The registry's commands, as methods of the app.

use std::sync::Arc;
use std::time::Instant;

use dualgpuopt_core::command::LaunchSpec;
use dualgpuopt_core::engine::flags_by_version::{Engine, FlagProblem, FlagTable};
use dualgpuopt_core::engine::llama_cpp;
use dualgpuopt_core::error::{AppError, Code};
use dualgpuopt_core::gpu::{Machine, SourceHealth, SourceKind};
use dualgpuopt_core::plan::{Alternatives, DeviceBudget, Plan, PlanError, Verdict, alternatives};
use dualgpuopt_core::session::{LogBatch, SessionId, SessionView};
use dualgpuopt_launch::{LaunchError, SessionError};

use crate::api::{
    AppEvent, EngineView, HistoryQuery, HistoryView, ModelRef, ModelView, Overview, PlanAsk, PlanView, SourceChoice,
};
use crate::planning::{PlanKey, Planned, Question};
use crate::subject::Subject;
use crate::{App, engine, environment, lock, models, planning};

/// Address that engines listen on.
pub(crate) const HOST: &str = "127.0.0.1";
/// First port tried for an engine; llama-server's own default.
pub(crate) const PORT_FIRST: u16 = 8080;
/// Most log lines in one answer.
const LOG_LINES_MAX: u32 = 5000;
/// Name shown for the engine while none is found, so that a plan's command can still be read and copied.
pub(crate) const PROGRAM_UNSET: &str = "llama-server";

impl App {
    /// Everything a fresh window needs to draw itself.
    ///
    /// # Errors
    /// None today; the signature is the registry's.
    pub async fn overview(&self) -> Result<Overview, AppError> {
        let sessions = self.inner.launcher.list();
        let recent = lock(&self.inner.settings).recent_models.clone();
        // Each is looked for on its disk, which may be slow to answer.
        let recent_models = blocking(move || recent.iter().map(models::recent).collect()).await?;
        let engine = lock(&self.inner.engine).clone();
        let telemetry = lock(&self.inner.telemetry);
        Ok(Overview {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            choice: telemetry.choice.clone(),
            health: telemetry.health.clone(),
            machine: telemetry.machine.clone(),
            frame: telemetry.frame.clone(),
            interval_ms: u32::try_from(self.inner.deps.environment.poll_interval.as_millis()).unwrap_or(u32::MAX),
            engine,
            sessions,
            recent_models,
        })
    }

    /// Chooses where GPU readings come from. Choosing the driver again looks for it again where it was given up.
    ///
    /// # Errors
    /// [`Code::BadRequest`] for a card that the simulator does not know.
    pub async fn select_source(&self, choice: SourceChoice) -> Result<(), AppError> {
        let app = self.clone();
        // Stopping the source before may take up to two seconds when the driver hangs.
        blocking(move || app.sample_from(choice)).await?
    }

    /// Kept readings of a window of time, thinned to a number of points.
    ///
    /// # Errors
    /// None today; the signature is the registry's.
    pub async fn history(&self, query: HistoryQuery) -> Result<HistoryView, AppError> {
        Ok(lock(&self.inner.telemetry).history(&query))
    }

    /// Reads what is known of a model: the headers of a GGUF file or a Hugging Face folder, the catalogue, or numbers typed
    /// by hand. Files are remembered.
    ///
    /// # Errors
    /// [`Code::FileUnreadable`] or [`Code::ModelInvalid`], naming what is wrong and where; [`Code::BadRequest`] for what the
    /// catalogue lacks and for numbers that make no model.
    pub async fn open_model(&self, model: ModelRef) -> Result<ModelView, AppError> {
        let app = self.clone();
        let view = blocking(move || models::open(&app.inner.subjects, &model)).await??;
        let Some(file) = models::remembered(&view) else { return Ok(view) };
        let app = self.clone();
        let kept = blocking(move || app.change_settings(|settings| settings.remember(file.clone()))).await?;
        if let Err(error) = kept {
            tracing::warn!("{error}");
        }
        Ok(view)
    }

    /// Plans a model on this machine as it is now.
    ///
    /// # Errors
    /// What is wrong with the file, the request, or the machine. A model that does not fit is a plan that says so.
    pub async fn plan(&self, ask: PlanAsk) -> Result<PlanView, AppError> {
        let app = self.clone();
        blocking(move || app.plan_subject(&ask, &app.inner.subjects.find(&ask.model)?)).await?
    }

    /// The plans worth considering for an ask, the best for its goal first.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub async fn alternatives(&self, ask: PlanAsk) -> Result<Alternatives, AppError> {
        let app = self.clone();
        blocking(move || {
            let subject = app.inner.subjects.find(&ask.model)?;
            let (question, _) = app.question(&ask)?;
            Ok(alternatives(subject.facts(), &question.request)?)
        })
        .await?
    }

    /// Sets the engine's program, or looks for it again when `path` is absent.
    ///
    /// # Errors
    /// [`Code::Store`] when the choice could not be kept; it still holds until the program ends.
    pub async fn set_engine(&self, path: Option<String>) -> Result<EngineView, AppError> {
        let path = path.map(|path| path.trim().to_owned()).filter(|path| !path.is_empty());
        let app = self.clone();
        blocking(move || {
            let view = engine::find(path.as_deref(), &environment::path_dirs());
            *lock(&app.inner.engine) = view.clone();
            app.tell(AppEvent::Engine(view.clone()));
            if view.problem.is_none() || path.is_none() {
                app.keep(|settings| settings.engine.clone_from(&path))?;
            }
            Ok(view)
        })
        .await?
    }

    /// Plans once more against the machine as it is now, and starts the engine.
    ///
    /// # Errors
    /// As [`Self::plan`]; [`Code::BadRequest`] when the plan does not fit; [`Code::EngineMissing`] and
    /// [`Code::EngineFailed`] when the engine cannot be started.
    pub async fn start(&self, ask: PlanAsk) -> Result<SessionView, AppError> {
        let app = self.clone();
        let prepare = move || -> Result<(LaunchSpec, Arc<Planned>, Machine), AppError> {
            let subject = app.inner.subjects.find(&ask.model)?;
            subject.needs_file()?;
            if !ask.added.is_empty() {
                let message = "The plan counts on cards that are not in this machine, so it cannot be started.";
                return Err(AppError::new(Code::BadRequest, message).hint("Plan with this machine's GPUs alone."));
            }
            let program = app.engine_program()?;
            let (planned, machine, _) = app.plan_for(&ask, &subject)?;
            if let Verdict::DoesNotFit { reason, .. } = &planned.plan.verdict {
                return Err(AppError::new(Code::BadRequest, reason.clone()).hint("Change the plan so that it fits."));
            }
            let flags = app.inner.flags.of(&program).0;
            let (spec, problems) = app.spec(&ask, &subject, &planned.plan, &machine, &program, &flags)?;
            if let Some(problem) = problems.iter().find(|problem| problem.prevents()) {
                return Err(AppError::new(Code::EngineFailed, problem.to_string())
                    .hint("Install a newer llama.cpp, or change the plan."));
            }
            Ok((spec, planned, machine))
        };
        let (spec, planned, machine) = blocking(prepare).await??;
        let watch = self.watch_start(&planned.plan, &machine, &spec.program).await;
        let id = self.inner.launcher.start(spec).await.map_err(|error| engine_refused(&error))?;
        if let Some(watch) = watch {
            self.measure(watch, id);
        }
        self.inner.launcher.list().into_iter().find(|view| view.id == id).ok_or_else(|| no_session(id))
    }

    /// Stops a session's whole process tree: politely, then by force after the grace period, or at once.
    ///
    /// # Errors
    /// [`Code::NoSession`].
    pub async fn stop(&self, session: SessionId, force: bool) -> Result<(), AppError> {
        self.inner.launcher.stop(session, force).map_err(|_| no_session(session))
    }

    /// Takes an ended session off the list.
    ///
    /// # Errors
    /// [`Code::NoSession`]; [`Code::BadRequest`] while it still runs.
    pub async fn forget(&self, session: SessionId) -> Result<(), AppError> {
        self.inner.launcher.forget(session).map_err(|error| match error {
            SessionError::NotEnded(_) => AppError::new(Code::BadRequest, error.to_string()),
            SessionError::Unknown(_) => no_session(session),
        })?;
        self.tell(AppEvent::SessionGone(session));
        Ok(())
    }

    /// Log lines of a session that are still kept, from `from_seq` on, `max` at most.
    ///
    /// # Errors
    /// [`Code::NoSession`].
    pub async fn session_log(&self, session: SessionId, from_seq: u64, max: u32) -> Result<LogBatch, AppError> {
        let max = usize::try_from(max.min(LOG_LINES_MAX)).unwrap_or(usize::MAX);
        self.inner.launcher.log(session, from_seq, max).map_err(|_| no_session(session))
    }

    /// The engine's program, when there is one that can be run.
    pub(crate) fn engine_program(&self) -> Result<String, AppError> {
        let engine = lock(&self.inner.engine).clone();
        match (engine.program, engine.problem) {
            (Some(program), None) => Ok(program),
            (_, problem) => {
                Err(AppError::new(Code::EngineMissing, problem.unwrap_or_else(|| "No engine is set.".to_owned()))
                    .hint("Install llama.cpp, or set the path of llama-server."))
            }
        }
    }

    fn plan_subject(&self, ask: &PlanAsk, subject: &Subject) -> Result<PlanView, AppError> {
        let began = Instant::now();
        let (planned, machine, doubts) = self.plan_for(ask, subject)?;
        let planned_in_us = u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX);
        let program = lock(&self.inner.engine).program.clone().unwrap_or_else(|| PROGRAM_UNSET.to_owned());
        // The page asks at every move of a slider: programs are not asked here.
        let flags = FlagTable::published(Engine::LlamaCpp, None);
        let (spec, _) = self.spec(ask, subject, &planned.plan, &machine, &program, &flags)?;
        let command = spec.posix().map_err(|error| {
            AppError::new(Code::BadRequest, "The command holds a NUL byte, which no shell can express.")
                .caused_by(&error)
        })?;
        let Planned { mut plan, explanation } = Arc::unwrap_or_clone(planned);
        plan.notes.extend(doubts);
        if matches!(subject, Subject::Numbers(_)) {
            plan.notes.push(
                "There is no file of this model yet: the command names one as they are usually called.".to_owned(),
            );
        }
        if machine.source == SourceKind::Simulated {
            plan.notes.push("Simulated GPUs: the engine will run on what this machine really has.".to_owned());
        }
        Ok(PlanView { model: models::view(subject), plan, explanation: explanation.lines, command, planned_in_us })
    }

    /// The plan for an ask, from the cache where the same question was answered before.
    pub(crate) fn plan_for(
        &self,
        ask: &PlanAsk,
        subject: &Subject,
    ) -> Result<(Arc<Planned>, Machine, Vec<String>), AppError> {
        let (question, machine) = self.question(ask)?;
        let key = PlanKey { model: subject.clone(), request: question.request };
        let planned = self
            .inner
            .plans
            .try_get_with_by_ref(&key, || Planned::new(subject.facts(), &key.request).map(Arc::new))
            .map_err(|error| AppError::from(PlanError::clone(&error)))?;
        Ok((planned, machine, question.doubts))
    }

    /// An ask, held against the machine as it is now.
    pub(crate) fn question(&self, ask: &PlanAsk) -> Result<(Question, Machine), AppError> {
        let (machine, frame, health) = {
            let telemetry = lock(&self.inner.telemetry);
            (telemetry.machine.clone(), telemetry.frame.clone(), telemetry.health.clone())
        };
        let machine = match machine {
            Some(machine) => machine,
            None if ask.only_added => planning::nothing(),
            None => return Err(no_machine(&health)),
        };
        let mut question = planning::question(ask, &machine, frame.as_ref(), &mut lock(&self.inner.in_use))?;
        self.put_measured(&machine, &mut question.request.devices);
        Ok((question, machine))
    }

    /// The machine's GPUs with the memory that is free now; `None` while none is known.
    pub(crate) fn devices_now(&self) -> Option<Vec<DeviceBudget>> {
        let (machine, frame) = {
            let telemetry = lock(&self.inner.telemetry);
            (telemetry.machine.clone()?, telemetry.frame.clone())
        };
        let (mut devices, _) = planning::devices(&[], &machine, frame.as_ref(), &mut lock(&self.inner.in_use));
        self.put_measured(&machine, &mut devices);
        (!devices.is_empty()).then_some(devices)
    }

    /// Puts in what was measured of the engine's context on each GPU.
    fn put_measured(&self, machine: &Machine, devices: &mut [DeviceBudget]) {
        for device in devices {
            let facts = machine.gpus.iter().find(|gpu| gpu.id == device.gpu);
            device.measured_context = facts.and_then(|gpu| self.measured_context(machine, gpu));
        }
    }

    fn free_port(&self) -> Result<u16, AppError> {
        self.inner.launcher.free_port(PORT_FIRST).ok_or_else(|| {
            AppError::new(Code::EngineFailed, format!("No port from {PORT_FIRST} on is free on {HOST}."))
                .hint("End a program that listens there.")
        })
    }

    fn spec(
        &self,
        ask: &PlanAsk,
        subject: &Subject,
        plan: &Plan,
        machine: &Machine,
        program: &str,
        flags: &FlagTable,
    ) -> Result<(LaunchSpec, Vec<FlagProblem>), AppError> {
        let port = match ask.port {
            Some(port) => port,
            None => self.free_port()?,
        };
        let (model_path, title) = (&subject.path(), &subject.facts().name);
        let start = llama_cpp::command::Start { model_path, title, program, host: HOST, port };
        let (mut spec, problems) = llama_cpp::command::command(start, plan, flags);
        if machine.source == SourceKind::Simulated || !ask.added.is_empty() {
            // Identities of cards that are not there would hide every real one from the engine.
            spec.env.clear();
        }
        Ok((spec, problems))
    }
}

/// Runs what may block (files, the planner) off the runtime's own threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, AppError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        AppError::new(Code::Internal, "Something that should not fail did.")
            .hint("This is a defect; the details help us.")
            .caused_by(&error)
    })
}

fn no_machine(health: &SourceHealth) -> AppError {
    match health {
        SourceHealth::Absent { message, looked_for } => {
            let mut error =
                AppError::new(Code::NoGpus, message.clone()).hint("Use simulated GPUs, or install the NVIDIA driver.");
            error.detail = looked_for.join("\n");
            error
        }
        SourceHealth::Failed { message } | SourceHealth::Recovering { message, .. } => {
            AppError::new(Code::NoGpus, message.clone()).hint("Check the driver, or use simulated GPUs.")
        }
        SourceHealth::Starting | SourceHealth::Live => {
            AppError::new(Code::NoGpus, "The GPUs have not been read yet.").hint("Try again in a moment.")
        }
    }
}

pub(crate) fn engine_refused(error: &LaunchError) -> AppError {
    AppError::new(Code::EngineFailed, error.to_string()).caused_by(error)
}

fn no_session(session: SessionId) -> AppError {
    AppError::new(Code::NoSession, format!("There is no process {} any more.", session.0))
}
