//! Commands of a plan, as the page and the terminal show them.

use dualgpuopt_core::command::ExportForm;
use serde::{Deserialize, Serialize};

/// How to start a plan with one engine, in every form that can express it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct CommandView {
    /// `llama.cpp`, `vLLM`, or `Environment` for the variables alone.
    pub engine: String,
    /// Version whose flags these are; absent where flags play no part.
    pub version: Option<String>,
    /// The command in each form.
    pub forms: Vec<CommandForm>,
    /// What this version cannot be told, and what to know before the start; one sentence each.
    pub problems: Vec<String>,
}

/// A command in one form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct CommandForm {
    /// Who reads it.
    pub form: ExportForm,
    /// The whole text.
    pub text: String,
}
