//! Where models lie: folders of the user's own, and those of programs that download models.

use std::path::{Path, PathBuf};

/// Whose folder it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The user named it.
    Own,
    /// llama.cpp's downloads (`llama-server -hf`).
    LlamaCpp,
    /// The cache of Hugging Face's hub.
    HuggingFace,
    /// LM Studio.
    LmStudio,
    /// Ollama.
    Ollama,
}

/// A folder to look in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The folder.
    pub path: PathBuf,
    /// Whose it is. A folder of the user's own that is not there is a problem; others may be absent.
    pub origin: Origin,
}

impl Place {
    /// A folder that the user named.
    #[must_use]
    pub fn own(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), origin: Origin::Own }
    }
}

/// The places where known programs keep models, for a user's home and cache folders (`~/.cache` on Linux). Programs can be
/// told other places; the host adds those.
///
/// Sources: `fs_get_cache_directory` in llama.cpp's common.cpp; `HF_HUB_CACHE` in huggingface_hub's constants.py; LM Studio's
/// documentation (since 0.3.6 and before); `envconfig.Models` in Ollama, and its Linux service.
#[must_use]
pub fn known_places(home: &Path, cache: &Path) -> Vec<Place> {
    let place = |path: PathBuf, origin| Place { path, origin };
    vec![
        place(cache.join("llama.cpp"), Origin::LlamaCpp),
        place(home.join(".cache/huggingface/hub"), Origin::HuggingFace),
        place(home.join(".lmstudio/models"), Origin::LmStudio),
        place(home.join(".cache/lm-studio/models"), Origin::LmStudio),
        place(home.join(".ollama/models"), Origin::Ollama),
        place(PathBuf::from("/usr/share/ollama/.ollama/models"), Origin::Ollama),
    ]
}
