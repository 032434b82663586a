//! The invariants of ARCHITECTURE.md that are statements about the sources themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dualgpuopt_core::settings::VARIABLES;
use dualgpuopt_test_support::places::root;
use serde_json::Value;

/// Longest source file, in lines. Longer ones hold more than one idea.
const LINES_MAX: usize = 500;

/// Every file below `folder` with one of the extensions, with its text.
fn sources(folder: &str, extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a folder of the repository can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !["dist", "gen", "node_modules", "target"].contains(&name) {
                    folders.push(path);
                }
            } else if path.extension().and_then(|it| it.to_str()).is_some_and(|it| extensions.contains(&it)) {
                let text = fs::read_to_string(&path).expect("sources are UTF-8");
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "no sources below {folder}");
    found
}

/// Files below `folder` in which `word` stands, comments and test modules left out, relative to the repository.
fn holding(folder: &str, extensions: &[&str], word: &str) -> BTreeSet<String> {
    let code = |text: &str| {
        let product = text.split("\n#[cfg(test)]\n").next().unwrap_or_default();
        product.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| line.contains(word))
    };
    sources(folder, extensions)
        .into_iter()
        .filter(|(_, text)| code(text))
        .map(|(path, _)| path.strip_prefix(root()).expect("below the repository").to_string_lossy().into_owned())
        .collect()
}

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

/// Ordinary dependencies (not those of tests and build scripts) by package.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let of = |package: &Value| {
        package["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .map(|dependency| dependency["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    packages.iter().map(|package| (package["name"].as_str().expect("a name").to_owned(), of(package))).collect()
}

#[test]
fn dependencies_point_one_way() {
    let all = dependencies();
    let ours = |package: &str| -> Vec<&str> {
        all[package].iter().filter_map(|name| name.strip_prefix("dualgpuopt-")).collect()
    };
    assert_eq!(ours("dualgpuopt-core"), Vec::<&str>::new());
    for leaf in ["gpu", "model", "launch", "store"] {
        assert_eq!(ours(&format!("dualgpuopt-{leaf}")), ["core"], "{leaf}");
    }
    assert_eq!(ours("dualgpuopt-app"), ["core", "gpu", "launch", "model", "store"]);
    for host in ["dualgpuopt-cli", "dualgpuopt-desktop"] {
        assert!(!ours(host).contains(&"cli") && !ours(host).contains(&"desktop"), "{host}");
    }
}

#[test]
fn tauri_is_known_to_the_window_alone() {
    for (package, dependencies) in dependencies() {
        let tauri: Vec<_> = dependencies.iter().filter(|name| name.starts_with("tauri")).collect();
        assert!(package == "dualgpuopt-desktop" || tauri.is_empty(), "{package}: {tauri:?}");
    }
}

#[test]
fn the_core_touches_nothing() {
    let core = &dependencies()["dualgpuopt-core"];
    for outside in ["tokio", "rand", "nix", "reqwest", "moka", "tracing"] {
        assert!(!core.contains(outside), "the core depends on {outside}");
    }
    for word in ["std::fs", "std::process", "std::net", "std::thread", "std::env::", "Instant::now", "SystemTime"] {
        assert_eq!(holding("src-tauri/crates/core/src", &["rs"], word), BTreeSet::new(), "{word}");
    }
}

#[test]
fn one_place_each_makes_processes_speaks_nvml_and_reads_the_environment() {
    let crates = "src-tauri";
    let spawning = holding(crates, &["rs"], "Command::new(");
    let outside_tests: Vec<_> =
        spawning.iter().filter(|path| !path.contains("/tests/") && !path.contains("/examples/")).collect();
    assert_eq!(outside_tests, ["src-tauri/crates/launch/src/spawn.rs"]);
    for path in holding(crates, &["rs"], "nvml_wrapper") {
        assert!(path.starts_with("src-tauri/crates/gpu/src/nvml/"), "{path}");
    }
    let of_product = |words: &[&str]| -> BTreeSet<String> {
        let all = words.iter().flat_map(|word| holding(crates, &["rs"], word));
        all.filter(|path| !path.contains("/tests/") && !path.contains("/examples/")).collect()
    };
    // Besides the one place: WebKit's own switch, and the environment that a warden hands on whole.
    let environment = of_product(&["env::var(", "env::var_os(", "env::vars(", "env::vars_os("]);
    assert_eq!(
        environment.iter().map(String::as_str).collect::<Vec<_>>(),
        [
            "src-tauri/crates/app/src/environment.rs",
            "src-tauri/crates/launch/src/warden/engine.rs",
            "src-tauri/src/webkit.rs",
        ]
    );
    let writing = ["fs::write(", "File::create(", "OpenOptions", "fs::rename(", "fs::copy(", "fs::remove", "persist("];
    for path in of_product(&writing) {
        assert!(path.starts_with("src-tauri/crates/store/src/"), "{path} writes files");
    }
}

#[test]
fn the_page_keeps_its_borders() {
    let ui = |word: &str| holding("ui/src", &["ts", "svelte"], word);
    assert_eq!(ui("{@html"), BTreeSet::new());
    let tauri: Vec<_> = ui("@tauri-apps/").into_iter().collect();
    assert_eq!(tauri, ["ui/src/ipc/bindings.ts", "ui/src/ipc/tauri.ts"]);
    for (path, text) in sources("ui/src/features", &["ts", "svelte"]) {
        let features = root().join("ui/src/features");
        let own = path.strip_prefix(&features).expect("below features").components().next().expect("a feature");
        let own = own.as_os_str().to_string_lossy().into_owned();
        for other in ["dashboard", "optimizer", "launcher"].into_iter().filter(|name| *name != own) {
            assert!(!text.contains(&format!("/{other}/")), "{} imports {other}", path.display());
        }
    }
}

#[test]
fn every_command_is_used_by_the_page() {
    let registry = fs::read_to_string(root().join("src-tauri/crates/app/src/api.rs")).expect("the registry");
    let list =
        registry.split("$callback! {").nth(1).and_then(|rest| rest.split("\n        }").next()).expect("the list");
    let commands: Vec<&str> = list
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("///"))
        .filter_map(|line| line.split_once('('))
        .map(|(name, _)| name)
        .collect();
    assert!(commands.len() >= 10, "{commands:?}");
    let page: String = ["ui/src/state", "ui/src/features", "ui/src/shell"]
        .into_iter()
        .flat_map(|folder| sources(folder, &["ts", "svelte"]))
        .filter(|(path, _)| !path.to_string_lossy().contains(".test."))
        .map(|(_, text)| text)
        .collect();
    for command in commands {
        let mut words = command.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        let name = words.fold(first, |name, word| format!("{name}{}{}", word[..1].to_uppercase(), &word[1..]));
        assert!(page.contains(&format!("backend.{name}(")), "{name} is never called by the page");
    }
}

#[test]
fn the_readme_lists_every_environment_variable_and_no_other() {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    for variable in VARIABLES {
        let row = readme.lines().find(|line| line.starts_with(&format!("| `{}`", variable.name)));
        let row = row.unwrap_or_else(|| panic!("README.md has no row for {}", variable.name));
        assert!(row.contains(variable.default) && row.contains(variable.meaning), "{row}");
    }
    let known: BTreeSet<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
    for row in readme.lines().filter_map(|line| line.strip_prefix("| `DUALGPUOPT_")) {
        let name = format!("DUALGPUOPT_{}", row.split('`').next().unwrap_or_default());
        assert!(known.contains(name.as_str()), "{name} is in README.md, but never read");
    }
    for (path, text) in sources("src-tauri", &["rs"]) {
        for (at, _) in text.match_indices("\"DUALGPUOPT_") {
            let name = text[at + 1..].split('"').next().unwrap_or_default().split('=').next().unwrap_or_default();
            // The mark that a warden sets on its tree is written by us and read back from /proc; it is no setting.
            let of_tests = name == "DUALGPUOPT_TREE"
                || name.starts_with("DUALGPUOPT_TEST_")
                || path.components().any(|it| it.as_os_str() == "tests");
            assert!(of_tests || known.contains(name) || name.contains(' '), "{name} in {}", path.display());
        }
    }
}

#[test]
fn window_and_store_agree_on_the_identifier() {
    let config = fs::read_to_string(root().join("src-tauri/tauri.conf.json")).expect("the configuration");
    let config: Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!(config["identifier"], dualgpuopt_store::paths::IDENTIFIER);
}

#[test]
fn no_file_is_too_long_and_none_leaves_work_behind() {
    let rust = sources("src-tauri", &["rs"]).into_iter().chain(sources("tests", &["rs"]));
    let page = sources("ui/src", &["ts", "svelte", "css"]).into_iter().chain(sources("tests/e2e", &["ts"]));
    for (path, text) in rust.chain(page).filter(|(path, _)| !path.ends_with("bindings.ts")) {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines; at most {LINES_MAX}", path.display());
        for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")] {
            assert!(!text.contains(word), "{word} in {}", path.display());
        }
    }
}

#[test]
fn the_root_holds_what_belongs_there() {
    let allowed = [
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "Makefile",
        "README.md",
        "package-lock.json",
        "package.json",
        "src-tauri",
        "tests",
        "ui",
        "vite.config.ts",
    ];
    let output = Command::new("git").args(["ls-files"]).current_dir(root()).output().expect("git runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let top: BTreeSet<&str> = text.lines().filter_map(|path| Path::new(path).iter().next()?.to_str()).collect();
    for name in top {
        assert!(name.starts_with('.') || allowed.contains(&name), "{name} does not belong in the root");
    }
}
