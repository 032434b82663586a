//! Finds the engine's program: the one that the user set, else `llama-server` on `PATH`.

use std::path::PathBuf;

use dualgpuopt_launch::check_program;

use crate::api::EngineView;

/// Program name looked for on `PATH`.
const PROGRAM: &str = if cfg!(windows) { "llama-server.exe" } else { "llama-server" };

/// Looks for the engine now.
pub(crate) fn find(set_by_user: Option<&str>, path_dirs: &[PathBuf]) -> EngineView {
    match set_by_user {
        Some(path) => EngineView {
            program: Some(path.to_owned()),
            set_by_user: true,
            problem: check_program(path).err().map(|error| error.to_string()),
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
    let runnable = |path: &PathBuf| path.to_str().is_some_and(|path| check_program(path).is_ok());
    path_dirs.iter().map(|dir| dir.join(name)).find(runnable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_program_is_checked_and_the_reason_given() {
        let missing = find(Some("/nonexistent/llama-server"), &[]);
        assert!(missing.set_by_user);
        let problem = |path| find(Some(path), &[]).problem.unwrap_or_default();
        assert!(problem("/nonexistent/llama-server").contains("/nonexistent/llama-server cannot be found"));
        assert!(problem("llama-server").contains("absolute"));
        assert!(problem("/").contains("not a file"));
        assert!(problem("/etc/passwd").contains("not executable"));
        assert_eq!(find(Some("/bin/sh"), &[]).problem, None);
    }

    #[test]
    fn without_one_the_problem_says_where_was_looked() {
        let view = find(None, &[PathBuf::from("/nonexistent"), PathBuf::from("/usr/share")]);
        assert_eq!(view.program, None);
        assert_eq!(view.problem.as_deref(), Some("llama-server was not found in any of the 2 folders of PATH."));
    }
}
