//! Where the built programs, models and sources lie.

use std::path::{Path, PathBuf};

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_path_buf()
}

/// A program or library that the build made, beside the running test.
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.ancestors().nth(2).expect("a test lies in target/PROFILE/deps");
    needed(profile.join(name))
}

/// A model that `tests/fixtures/make_models.py` made.
pub fn model(name: &str) -> PathBuf {
    needed(root().join(".cache/models").join(name))
}

pub fn fixture(name: &str) -> PathBuf {
    needed(root().join("tests/fixtures").join(name))
}

/// The folder whose `llama-server` is the real engine's start script.
pub fn engine_dir() -> PathBuf {
    needed(root().join("tests/engine"))
}

fn needed(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing; `make build-tests` makes it", path.display());
    path
}
