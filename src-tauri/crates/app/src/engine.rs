//! Finds the engine's program: the one that the user set, else `llama-server` on `PATH`.

use std::path::{Path, PathBuf};

use crate::api::EngineView;

/// Program name looked for on `PATH`.
const PROGRAM: &str = if cfg!(windows) { "llama-server.exe" } else { "llama-server" };

/// Looks for the engine now.
pub(crate) fn find(set_by_user: Option<&str>, path_dirs: &[PathBuf]) -> EngineView {
    match set_by_user {
        Some(path) => EngineView {
            program: Some(path.to_owned()),
            set_by_user: true,
            problem: cannot_run(Path::new(path)).map(|why| format!("{path} cannot be used: {why}.")),
        },
        None => match on_path(PROGRAM, path_dirs) {
            Some(path) => {
                EngineView { program: Some(path.to_string_lossy().into_owned()), set_by_user: false, problem: None }
            }
            None => EngineView {
                program: None,
                set_by_user: false,
                problem: Some(format!("{PROGRAM} was not found in any of the {} folders of PATH.", path_dirs.len())),
            },
        },
    }
}

/// A program by its name on `PATH`.
pub(crate) fn on_path(name: &str, path_dirs: &[PathBuf]) -> Option<PathBuf> {
    path_dirs.iter().map(|dir| dir.join(name)).find(|path| cannot_run(path).is_none())
}

/// Why a path is not a program that can be run; `None` when it is one.
fn cannot_run(path: &Path) -> Option<String> {
    if !path.is_absolute() {
        return Some("the path is not absolute".into());
    }
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some("there is no such file".into()),
        Err(error) => Some(error.to_string()),
        Ok(meta) if !meta.is_file() => Some("it is not a file".into()),
        Ok(meta) if !executable(&meta) => Some("it is not marked executable".into()),
        Ok(_) => None,
    }
}

#[cfg(unix)]
fn executable(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    meta.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn executable(_meta: &std::fs::Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_program_is_checked_and_the_reason_given() {
        let missing = find(Some("/nonexistent/llama-server"), &[]);
        assert!(missing.set_by_user);
        assert_eq!(
            missing.problem.as_deref(),
            Some("/nonexistent/llama-server cannot be used: there is no such file.")
        );
        assert!(find(Some("llama-server"), &[]).problem.is_some_and(|p| p.contains("not absolute")));
        assert!(find(Some("/"), &[]).problem.is_some_and(|p| p.contains("not a file")));
        assert!(find(Some("/etc/passwd"), &[]).problem.is_some_and(|p| p.contains("not marked executable")));
        assert_eq!(find(Some("/bin/sh"), &[]).problem, None);
    }

    #[test]
    fn without_one_the_problem_says_where_was_looked() {
        let view = find(None, &[PathBuf::from("/nonexistent"), PathBuf::from("/usr/share")]);
        assert_eq!(view.program, None);
        assert_eq!(view.problem.as_deref(), Some("llama-server was not found in any of the 2 folders of PATH."));
    }
}
