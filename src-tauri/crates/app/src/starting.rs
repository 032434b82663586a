//! Commands that start a plan: for the engine's version that is here, in forms for shells, systemd and compose.

use dualgpuopt_core::command::{EnvVar, ExportForm, LaunchSpec};
use dualgpuopt_core::engine::flags_by_version::{Engine, FlagProblem, FlagTable};
use dualgpuopt_core::engine::vllm::command::{Chosen, Start as VllmStart};
use dualgpuopt_core::engine::vllm::gpu::{Gpu, total_of_nvml};
use dualgpuopt_core::engine::{llama_cpp, vllm};
use dualgpuopt_core::error::{AppError, Code};
use dualgpuopt_core::gpu::{Machine, SourceKind};
use dualgpuopt_core::plan::DeviceBudget;
use dualgpuopt_model::{HfProbe, Opened};

use crate::api::{CommandForm, CommandView, ModelRef, PlanAsk};
use crate::commands::{HOST, PORT_FIRST, PROGRAM_UNSET, blocking};
use crate::{App, engine, environment, lock, models};

/// vLLM's program.
const VLLM: &str = "vllm";
/// vLLM's own default port.
const VLLM_PORT: u16 = 8000;
/// Capability of a GPU that does not tell it, as for llama.cpp.
const CAPABILITY_ASSUMED: u32 = llama_cpp::flags::Device::CAPABILITY_ASSUMED;

impl App {
    /// The commands that start a plan for this machine as it is now, one entry per engine that loads the model, and one for
    /// the environment alone.
    ///
    /// # Errors
    /// As for a plan; for a Hugging Face folder, why vLLM accepts no way to share it over the GPUs.
    pub async fn commands(&self, ask: PlanAsk) -> Result<Vec<CommandView>, AppError> {
        let app = self.clone();
        blocking(move || {
            if let ModelRef::File { path } = &ask.model {
                let opened = app.inner.subjects.files.open(std::path::Path::new(path));
                if let Opened::Hf(probe) = opened.map_err(|error| models::refused(&error))? {
                    return app.vllm_commands(&ask, &probe);
                }
            }
            app.llama_cpp_commands(&ask)
        })
        .await?
    }

    fn llama_cpp_commands(&self, ask: &PlanAsk) -> Result<Vec<CommandView>, AppError> {
        let subject = self.inner.subjects.find(&ask.model)?;
        let (planned, machine, _) = self.plan_for(ask, &subject)?;
        let found = lock(&self.inner.engine).clone();
        let runs = found.program.clone().filter(|_| found.problem.is_none());
        let (table, doubt) = match &runs {
            Some(program) => self.inner.flags.of(program),
            None => (FlagTable::published(Engine::LlamaCpp, None), Some(not_here(Engine::LlamaCpp))),
        };
        let program = found.program.unwrap_or_else(|| PROGRAM_UNSET.to_owned());
        let start = llama_cpp::command::Start {
            model_path: &subject.path(),
            title: &subject.facts().name,
            program: &program,
            host: HOST,
            port: ask.port.unwrap_or(PORT_FIRST),
        };
        let (spec, problems) = llama_cpp::command::command(start, &planned.plan, &table);
        Ok(views(&spec, &table, problems, doubt, &machine))
    }

    fn vllm_commands(&self, ask: &PlanAsk, probe: &HfProbe) -> Result<Vec<CommandView>, AppError> {
        let (question, machine) = self.question(ask)?;
        let gpus: Vec<Chosen> = question.request.devices.iter().map(chosen).collect();
        let path = engine::on_path(VLLM, &environment::path_dirs());
        let version = path.as_deref().and_then(engine::vllm_version);
        let table = FlagTable::published(Engine::Vllm, version.as_ref());
        let doubt = version.is_none().then(|| not_here(Engine::Vllm));
        let wider = if ask.cache_k.block().bytes * ask.cache_v.block().values
            >= ask.cache_v.block().bytes * ask.cache_k.block().values
        {
            ask.cache_k
        } else {
            ask.cache_v
        };
        let start = VllmStart {
            model_path: &probe.path.to_string_lossy(),
            title: &probe.model.name,
            program: &path.map_or_else(|| VLLM.to_owned(), |path| path.to_string_lossy().into_owned()),
            host: HOST,
            port: ask.port.unwrap_or(VLLM_PORT),
            context: ask.context,
            parallel: ask.parallel,
            cache: wider,
        };
        let (spec, problems) = vllm::command::command(start, &probe.model, &gpus, &table).map_err(|reasons| {
            let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
            let hint = "Choose other GPUs, less context, or a smaller model.";
            AppError::new(Code::BadRequest, reasons.join(" ")).hint(hint)
        })?;
        Ok(views(&spec, &table, problems, doubt, &machine))
    }
}

fn not_here(engine: Engine) -> String {
    format!("The version of {engine} here is unknown: these are the flags of the newest one that is described.")
}

/// A GPU as vLLM would find it.
fn chosen(device: &DeviceBudget) -> Chosen {
    let total = total_of_nvml(device.total.0, None);
    Chosen {
        uuid: device.gpu.0.clone(),
        index: device.index,
        reserve: device.reserve.0,
        gpu: Gpu {
            name: format!("CUDA{} {}", device.index, device.name),
            total,
            free: total.map(|total| total.saturating_sub(device.others.0)),
            capability: device.capability.unwrap_or(CAPABILITY_ASSUMED),
        },
    }
}

/// The engine's command and its environment, each in every form that can express it.
fn views(
    spec: &LaunchSpec,
    table: &FlagTable,
    problems: Vec<FlagProblem>,
    doubt: Option<String>,
    machine: &Machine,
) -> Vec<CommandView> {
    let mut problems: Vec<String> = problems.iter().map(ToString::to_string).chain(doubt).collect();
    if machine.source == SourceKind::Simulated {
        problems.push("Simulated GPUs: their identities hide every real GPU from the engine.".to_owned());
    }
    let mut forms = Vec::new();
    for form in ExportForm::ALL.into_iter().filter(|form| *form != ExportForm::Env) {
        match spec.export(form, table.engine, table.version.as_ref()) {
            Ok(text) => forms.push(CommandForm { form, text }),
            Err(problem) => problems.push(problem.to_string()),
        }
    }
    let engine = CommandView {
        engine: table.engine.to_string(),
        version: table.version.as_ref().map(ToString::to_string),
        forms,
        problems,
    };
    vec![engine, environment_view(spec)]
}

fn environment_view(spec: &LaunchSpec) -> CommandView {
    let mut forms = Vec::new();
    let mut problems = Vec::new();
    match spec.export(ExportForm::Env, Engine::LlamaCpp, None) {
        Ok(text) => forms.push(CommandForm { form: ExportForm::Env, text }),
        Err(problem) => problems.push(problem.to_string()),
    }
    let shell = spec.env.iter().map(|EnvVar { name, value }| format!("export {name}={value}\n")).collect();
    forms.push(CommandForm { form: ExportForm::Bash, text: shell });
    CommandView { engine: "Environment".to_owned(), version: None, forms, problems }
}
