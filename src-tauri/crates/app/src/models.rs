//! Model files as the window shows them.

use std::sync::Arc;

use dualgpuopt_core::error::{AppError, Code};
use dualgpuopt_core::units::Bytes;
use dualgpuopt_model::{HfProbe, ModelCache, ModelError, Opened, Probe};
use dualgpuopt_store::RecentFile;

use crate::api::{ModelView, RecentModel};

/// Reads the headers of a model in either form through the cache.
pub(crate) fn open(cache: &ModelCache, path: &str) -> Result<ModelView, AppError> {
    match cache.open(std::path::Path::new(path)).map_err(|error| refused(&error))? {
        Opened::Gguf(probe) => Ok(view(&probe)),
        Opened::Hf(probe) => Ok(hf_view(&probe)),
    }
}

/// Reads a GGUF model's header through the cache; a Hugging Face model is refused, since llama.cpp does not load it.
pub(crate) fn probe(cache: &ModelCache, path: &str) -> Result<Arc<Probe>, AppError> {
    cache.probe(std::path::Path::new(path)).map_err(|error| refused(&error))
}

fn refused(error: &ModelError) -> AppError {
    let code = match error {
        ModelError::Unreadable { .. } | ModelError::NotAFile { .. } => Code::FileUnreadable,
        ModelError::NeedsGguf { .. } => Code::ModelUnsupported,
        _ => Code::ModelInvalid,
    };
    AppError::new(code, error.to_string()).hint(error.hint()).caused_by(error)
}

pub(crate) fn view(probe: &Probe) -> ModelView {
    let facts = &probe.facts;
    ModelView {
        path: probe.path.to_string_lossy().into_owned(),
        name: facts.name.clone(),
        arch: facts.arch.clone(),
        quant: facts.quant.clone(),
        parameters: facts.parameters,
        layers: u32::try_from(facts.layers.len()).unwrap_or(u32::MAX),
        context_trained: u32::try_from(facts.context_trained).unwrap_or(u32::MAX),
        file_bytes: facts.file_bytes,
        shards: facts.shards,
        problems: probe.doubts.clone(),
    }
}

/// What is known of a Hugging Face model; where its configuration cannot be read, no layers and no context.
fn hf_view(probe: &HfProbe) -> ModelView {
    let model = &probe.model;
    let config = model.config.as_ref();
    ModelView {
        path: probe.path.to_string_lossy().into_owned(),
        name: model.name.clone(),
        arch: config.map_or_else(|| "unknown".to_owned(), |config| config.architecture.clone()),
        quant: model.quant(),
        parameters: model.parameters,
        layers: config.map_or(0, |config| u32::try_from(config.layers.len()).unwrap_or(u32::MAX)),
        context_trained: config
            .and_then(|config| config.context_trained)
            .map_or(0, |context| u32::try_from(context).unwrap_or(u32::MAX)),
        file_bytes: model.file_bytes,
        shards: model.shards,
        problems: model.problems.clone(),
    }
}

pub(crate) fn remembered(view: &ModelView) -> RecentFile {
    RecentFile {
        path: view.path.clone(),
        name: view.name.clone(),
        quant: view.quant.clone(),
        file_bytes: view.file_bytes.0,
    }
}

pub(crate) fn recent(file: &RecentFile) -> RecentModel {
    RecentModel {
        path: file.path.clone(),
        name: file.name.clone(),
        quant: file.quant.clone(),
        file_bytes: Bytes(file.file_bytes),
        present: std::path::Path::new(&file.path).exists(),
    }
}
