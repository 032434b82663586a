//! A command in the form that something else reads: scripts, units, compose files.

use serde::{Deserialize, Serialize};

use super::{LaunchSpec, cmd, compose, dotenv, posix, powershell, systemd};
use crate::engine::flags_by_version::{Engine, Version};

/// Who is to read the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, specta::Type)]
#[serde(rename_all = "snake_case")]
pub enum ExportForm {
    /// A script for bash.
    Bash,
    /// A script for PowerShell.
    PowerShell,
    /// A batch file for Windows' command prompt.
    Cmd,
    /// A unit for systemd.
    Systemd,
    /// A file for docker compose.
    Compose,
    /// The environment alone, a variable a line.
    Env,
}

/// Why a command cannot be put into a form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportProblem {
    /// A character that the form has no way to say.
    #[error("{form} cannot express {what} in {word:?}; rename the file, or export in another form.")]
    Character {
        /// The form, in words.
        form: &'static str,
        /// The character, in words.
        what: &'static str,
        /// The word that it stands in.
        word: String,
    },
    /// A path that the form needs whole.
    #[error("{form} needs the whole path of {path:?}.")]
    Relative {
        /// The form, in words.
        form: &'static str,
        /// The path.
        path: String,
    },
}

impl ExportForm {
    /// Every form, in the order in which they are offered.
    pub const ALL: [Self; 6] = [Self::Bash, Self::PowerShell, Self::Cmd, Self::Systemd, Self::Compose, Self::Env];

    /// The form that a file's name asks for by its ending; `None` for any other.
    #[must_use]
    pub fn of_file(name: &str) -> Option<Self> {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase())?;
        Some(match ending.as_str() {
            "sh" | "bash" => Self::Bash,
            "ps1" => Self::PowerShell,
            "cmd" | "bat" => Self::Cmd,
            "service" => Self::Systemd,
            "yml" | "yaml" => Self::Compose,
            "env" => Self::Env,
            _ => return None,
        })
    }

    /// Whether such a file is itself a program.
    #[must_use]
    pub const fn is_program(self) -> bool {
        matches!(self, Self::Bash)
    }
}

impl LaunchSpec {
    /// The command in a form. `engine` and `version` name the container of a compose file.
    ///
    /// # Errors
    /// A word that the form cannot express.
    pub fn export(&self, form: ExportForm, engine: Engine, version: Option<&Version>) -> Result<String, ExportProblem> {
        match form {
            ExportForm::Bash => posix::script(self).map_err(|_| nul("a shell", self)),
            ExportForm::PowerShell => powershell::script(self),
            ExportForm::Cmd => cmd::script(self),
            ExportForm::Systemd => systemd::unit(self),
            ExportForm::Compose => compose::file(self, engine, version),
            ExportForm::Env => dotenv::file(self),
        }
    }
}

/// That a command holds a NUL byte.
fn nul(form: &'static str, spec: &LaunchSpec) -> ExportProblem {
    let values = spec.env.iter().map(|var| &var.value);
    let word = values.chain([&spec.program]).chain(&spec.args).find(|word| word.contains('\0'));
    ExportProblem::Character { form, what: "a NUL byte", word: word.cloned().unwrap_or_default() }
}

/// Refuses characters that a form cannot express.
pub(super) fn without(form: &'static str, word: &str, refused: &[(char, &'static str)]) -> Result<(), ExportProblem> {
    match refused.iter().find(|(character, _)| word.contains(*character)) {
        Some(&(_, what)) => Err(ExportProblem::Character { form, what, word: word.to_owned() }),
        None => Ok(()),
    }
}

/// What no program can be given.
pub(super) const NUL: (char, &str) = ('\0', "a NUL byte");
/// What ends a line.
pub(super) const NEWLINE: (char, &str) = ('\n', "a line's end");
/// What ends a line on some machines.
pub(super) const RETURN: (char, &str) = ('\r', "a carriage return");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::tests::awkward;

    #[test]
    fn forms_by_file_name() {
        let form = |name| ExportForm::of_file(name);
        assert_eq!(form("start.sh"), Some(ExportForm::Bash));
        assert_eq!(form("llama.SERVICE"), Some(ExportForm::Systemd));
        assert_eq!((form("compose.yaml"), form("a.yml")), (Some(ExportForm::Compose), Some(ExportForm::Compose)));
        assert_eq!((form(".env"), form("gpu.env")), (Some(ExportForm::Env), Some(ExportForm::Env)));
        assert_eq!((form("start"), form("a.txt")), (None, None));
    }

    #[test]
    fn a_nul_byte_is_refused_in_every_form_that_would_hold_it() {
        let mut spec = awkward();
        spec.args.push("a\0b".into());
        spec.env[0].value = "a\0b".into();
        for form in ExportForm::ALL {
            let refused = spec.export(form, Engine::LlamaCpp, None).expect_err("no form holds a NUL byte");
            assert!(refused.to_string().contains("cannot express a NUL byte in "), "{form:?}: {refused}");
        }
    }
}
