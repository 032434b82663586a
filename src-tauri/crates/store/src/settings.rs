//! The settings file: versioned on disk, kept aside when it cannot be read, never silently emptied.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic;

/// Largest settings file read; a larger one is not ours.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Version of the format written.
const VERSION: u32 = 1;
/// Most recent models kept.
const RECENT_MAX: usize = 12;

/// A model file opened before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentFile {
    /// Absolute path.
    pub path: String,
    /// Name for display.
    pub name: String,
    /// Quantisation for display.
    pub quant: String,
    /// Bytes of all its files.
    pub file_bytes: u64,
}

/// What is kept between runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The engine's program, where the user set one.
    #[serde(default)]
    pub engine: Option<String>,
    /// Models opened before, newest first.
    #[serde(default)]
    pub recent_models: Vec<RecentFile>,
}

impl Settings {
    /// Puts a model first in the list of recent ones.
    pub fn remember(&mut self, file: RecentFile) {
        self.recent_models.retain(|known| known.path != file.path);
        self.recent_models.insert(0, file);
        self.recent_models.truncate(RECENT_MAX);
    }
}

/// The file as it is on disk.
#[derive(Serialize, Deserialize)]
struct Envelope {
    version: u32,
    settings: Settings,
}

/// Why settings could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file could not be written.
    #[error("the settings could not be saved to {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A newer version of the program wrote the file; it is left alone.
    #[error("the settings in {} were written by a newer version and are left as they are", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
    },
}

/// Owns the settings file.
#[derive(Debug)]
pub struct SettingsFile {
    path: PathBuf,
    newer: bool,
}

enum Read {
    Missing,
    Ok(Settings),
    Newer,
    Broken(String),
}

impl SettingsFile {
    /// Opens `settings.json` in `dir`. What cannot be read is moved aside as `settings.json.corrupt-<now_ms>` and the
    /// backup taken instead; each such thing is one sentence in the returned list.
    #[must_use]
    pub fn open(dir: &Path, now_ms: u64) -> (Self, Settings, Vec<String>) {
        let path = dir.join("settings.json");
        let mut told = Vec::new();
        let mut newer = false;
        let settings = match read(&path) {
            Read::Missing => Settings::default(),
            Read::Ok(settings) => settings,
            Read::Newer => {
                newer = true;
                told.push(format!(
                    "The settings in {} were written by a newer version; defaults are used and nothing is saved.",
                    path.display()
                ));
                Settings::default()
            }
            Read::Broken(why) => {
                let aside = dir.join(format!("settings.json.corrupt-{now_ms}"));
                let kept = match fs::rename(&path, &aside) {
                    Ok(()) => format!("kept as {}", aside.display()),
                    Err(error) => {
                        newer = true;
                        format!("left in place, because it could not be moved: {error}")
                    }
                };
                let (settings, from) = match read(&backup(&path)) {
                    Read::Ok(settings) => (settings, "the backup is used"),
                    Read::Missing | Read::Newer | Read::Broken(_) => (Settings::default(), "defaults are used"),
                };
                told.push(format!("The settings file could not be read ({why}); it was {kept}, and {from}."));
                settings
            }
        };
        (Self { path, newer }, settings, told)
    }

    /// Saves the settings atomically.
    ///
    /// # Errors
    /// [`StoreError::Write`] when the disk refuses, [`StoreError::Newer`] when the file on disk is not ours to replace.
    /// The old file is intact in both cases.
    pub fn save(&self, settings: &Settings) -> Result<(), StoreError> {
        if self.newer {
            return Err(StoreError::Newer { path: self.path.clone() });
        }
        let envelope = Envelope { version: VERSION, settings: settings.clone() };
        let write = |source| StoreError::Write { path: self.path.clone(), source };
        let bytes = serde_json::to_vec_pretty(&envelope).map_err(|error| write(error.into()))?;
        atomic::replace(&self.path, &backup(&self.path), &bytes).map_err(write)
    }
}

fn backup(path: &Path) -> PathBuf {
    path.with_extension("json.bak")
}

fn read(path: &Path) -> Read {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Read::Missing,
        Err(error) => return Read::Broken(error.to_string()),
        Ok(meta) if meta.len() > FILE_BYTES_MAX => return Read::Broken(format!("{} bytes are too many", meta.len())),
        Ok(_) => {}
    }
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return Read::Broken(error.to_string()),
    };
    match serde_json::from_slice::<Version>(&bytes) {
        Err(error) => Read::Broken(error.to_string()),
        Ok(Version { version }) if version > VERSION => Read::Newer,
        Ok(_) => match serde_json::from_slice::<Envelope>(&bytes) {
            Ok(envelope) => Read::Ok(envelope.settings),
            Err(error) => Read::Broken(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recent(path: &str) -> RecentFile {
        RecentFile { path: path.into(), name: path.into(), quant: "Q4_K_M".into(), file_bytes: 7 }
    }

    fn dir() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder can be made")
    }

    #[test]
    fn what_is_saved_is_read_back_and_the_previous_one_is_the_backup() {
        let dir = dir();
        let (file, mut settings, told) = SettingsFile::open(&dir.path().join("new"), 1);
        assert!(told.is_empty());
        settings.engine = Some("/opt/llama-server".into());
        file.save(&settings).expect("saved");
        settings.remember(recent("/m/a.gguf"));
        file.save(&settings).expect("saved");
        let (_, again, told) = SettingsFile::open(&dir.path().join("new"), 2);
        assert_eq!((again, told), (settings, vec![]));
        assert!(dir.path().join("new/settings.json.bak").exists());
    }

    #[test]
    fn a_broken_file_is_kept_aside_and_the_backup_is_used() {
        for broken in [&b""[..], b"\0\0\0\0\0\0\0\0", b"{\"version\":1,", b"\xEF\xBB\xBF{}", b"[]", b"{\"version\":1}"]
        {
            let dir = dir();
            let (file, mut settings, _) = SettingsFile::open(dir.path(), 1);
            settings.engine = Some("first".into());
            file.save(&settings).expect("saved");
            file.save(&settings).expect("saved twice, so that a backup exists");
            fs::write(dir.path().join("settings.json"), broken).expect("the test breaks the file");
            let (_, read, told) = SettingsFile::open(dir.path(), 99);
            assert_eq!(read.engine.as_deref(), Some("first"), "{broken:?}");
            assert_eq!(told.len(), 1);
            let aside = fs::read(dir.path().join("settings.json.corrupt-99")).expect("the broken file is kept");
            assert_eq!(aside, broken);
        }
    }

    #[test]
    fn a_newer_file_is_never_overwritten() {
        let dir = dir();
        let newer = br#"{"version":99,"settings":{"engine":"x"},"more":1}"#;
        fs::write(dir.path().join("settings.json"), newer).expect("written");
        let (file, settings, told) = SettingsFile::open(dir.path(), 1);
        assert_eq!((settings, told.len()), (Settings::default(), 1));
        assert!(matches!(file.save(&Settings::default()), Err(StoreError::Newer { .. })));
        assert_eq!(fs::read(dir.path().join("settings.json")).expect("there"), newer);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_and_not_a_panic() {
        let dir = dir();
        fs::write(dir.path().join("file"), b"").expect("written");
        let (file, settings, _) = SettingsFile::open(&dir.path().join("file/below"), 1);
        assert!(matches!(file.save(&settings), Err(StoreError::Write { .. })));
    }

    #[test]
    fn recent_models_are_few_unique_and_newest_first() {
        let mut settings = Settings::default();
        for n in 0..20 {
            settings.remember(recent(&format!("/m/{n}.gguf")));
        }
        settings.remember(recent("/m/15.gguf"));
        assert_eq!(settings.recent_models.len(), RECENT_MAX);
        assert_eq!(settings.recent_models[0].path, "/m/15.gguf");
        assert_eq!(settings.recent_models[1].path, "/m/19.gguf");
    }
}
