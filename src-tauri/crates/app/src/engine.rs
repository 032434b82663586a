//! Finds the engine's program: the one that the user set, else `llama-server` on `PATH`. And what it says of itself.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use dualgpuopt_core::engine::flags_by_version::{Engine, FlagTable, Version, build_of};
use dualgpuopt_launch::{ask, check_program};

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

/// Longest that a program may take to print its help; CUDA alone takes a second or two on a cold machine.
const HELP_PATIENCE: Duration = Duration::from_secs(10);
/// Programs whose flags are kept.
const FLAG_TABLES_MAX: u64 = 8;

/// The flags of programs that were asked, by path and time of their last change.
pub(crate) struct FlagTables(moka::sync::Cache<(String, Option<SystemTime>), (FlagTable, Option<String>)>);

impl FlagTables {
    pub(crate) fn new() -> Self {
        Self(moka::sync::Cache::new(FLAG_TABLES_MAX))
    }

    /// The flags of a `llama-server`, and a doubt where it did not tell them. Blocks while the program runs.
    pub(crate) fn of(&self, program: &str) -> (FlagTable, Option<String>) {
        let changed = std::fs::metadata(program).and_then(|file| file.modified()).ok();
        self.0.get_with((program.to_owned(), changed), || asked(program))
    }
}

fn asked(program: &str) -> (FlagTable, Option<String>) {
    let say = |what: &str| ask(OsStr::new(program), &[what], HELP_PATIENCE);
    // It prints its version on standard error, after what its backends have to say.
    let version = say("--version").ok().and_then(|printed| build_of(&printed.stderr).or(build_of(&printed.stdout)));
    let version = version.map(Version::build);
    let told = say("--help").map(|printed| FlagTable::told(version.clone(), &printed.stdout));
    if let Ok(Some(table)) = told {
        return (table, None);
    }
    let table = FlagTable::published(Engine::LlamaCpp, version.as_ref());
    let known = version.map_or_else(|| "the newest version".to_owned(), |version| version.to_string());
    (table, Some(format!("{program} did not list its flags: these are those of {known} as published.")))
}

/// The version of vLLM beside its program, by the package that was installed with it. Blocks on a folder.
pub(crate) fn vllm_version(program: &Path) -> Option<Version> {
    let installed = program.canonicalize().ok()?;
    let libraries = installed.parent()?.parent()?.join("lib");
    let pythons = std::fs::read_dir(libraries).ok()?.flatten().take(FOLDER_ENTRIES_MAX);
    let packages = pythons.filter_map(|python| std::fs::read_dir(python.path().join("site-packages")).ok());
    packages.flat_map(|packages| packages.flatten().take(FOLDER_ENTRIES_MAX)).find_map(|package| {
        let name = package.file_name().into_string().ok()?;
        Version::read(Engine::Vllm, name.strip_prefix("vllm-")?.strip_suffix(".dist-info")?)
    })
}

/// Most entries that are looked at in a folder of packages.
const FOLDER_ENTRIES_MAX: usize = 20_000;

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

    #[test]
    fn a_program_that_lists_no_flags_is_taken_for_the_newest() {
        let (table, doubt) = FlagTables::new().of("/bin/true");
        assert_eq!(table, FlagTable::published(Engine::LlamaCpp, None));
        assert_eq!(
            doubt.as_deref(),
            Some("/bin/true did not list its flags: these are those of the newest version as published.")
        );
    }

    #[cfg(unix)]
    #[expect(clippy::disallowed_methods, reason = "a test writes what is to be run")]
    #[test]
    fn a_program_is_asked_once_for_its_flags_and_its_version() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("llama-server");
        let script = "#!/bin/sh\necho $1 >> \"$0.asked\"\ncase $1 in --version) echo 'version: 5000 (abc)' >&2;; \
                      --help) echo '-fa,   --flash-attn                     on';; esac\n";
        std::fs::write(&path, script).expect("the folder can be written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        let tables = FlagTables::new();
        for _ in 0..2 {
            let (table, doubt) = tables.of(path.to_str().expect("UTF-8"));
            assert_eq!((table.words().as_str(), table.flags().count(), doubt), ("llama.cpp b5000", 2, None));
        }
        let asked = std::fs::read_to_string(folder.path().join("llama-server.asked")).expect("it was asked");
        assert_eq!(asked, "--version\n--help\n");
    }

    #[cfg(unix)]
    #[test]
    fn vllm_is_known_by_the_package_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let package = folder.path().join("lib/python3.12/site-packages/vllm-0.10.0.dist-info");
        std::fs::create_dir_all(package).expect("the folder can be written");
        std::fs::create_dir(folder.path().join("bin")).expect("the folder can be written");
        let program = folder.path().join("bin/vllm");
        std::os::unix::fs::symlink("/bin/true", &program).expect("a link");
        assert_eq!(vllm_version(&program), None, "a link leads to its own package");
        std::fs::remove_file(&program).expect("the link");
        std::fs::copy("/bin/true", &program).expect("a program");
        assert_eq!(vllm_version(&program).map(|version| version.to_string()).as_deref(), Some("0.10.0"));
    }
}
