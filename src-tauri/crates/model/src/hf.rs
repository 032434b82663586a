//! Finds and reads a Hugging Face model: a folder with `config.json` and safetensors files, or any one of those files.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dualgpuopt_core::model::hf::{HfConfig, HfModel, HfTensor};
use dualgpuopt_core::units::Bytes;
use serde_json::Value;

use crate::error::ModelError;
use crate::safetensors::index::Index;
use crate::safetensors::{self, Room};
use crate::shards::SHARDS_MAX;

/// Longest `config.json` read, bytes. Published ones end at some 100 kB, most are below 5 kB.
pub const CONFIG_BYTES_MAX: u64 = 4 << 20;
/// Most values in a `config.json`; each may take 640 bytes once parsed.
const CONFIG_VALUES_MAX: usize = 1 << 16;
/// Most entries of a folder looked at.
const FOLDER_ENTRIES_MAX: usize = 1 << 14;

/// The index of a model of several files, as transformers names it.
const INDEX: &str = "model.safetensors.index.json";
/// A model of one file.
const SINGLE: &str = "model.safetensors";

/// A Hugging Face model as read from its files.
#[derive(Clone, Debug, PartialEq)]
pub struct HfProbe {
    /// Absolute path of the folder; of a file without its folder's other parts, of the file.
    pub path: PathBuf,
    /// What the files say.
    pub model: HfModel,
}

/// Whether a path is meant as a Hugging Face model: a folder, or a file by its name.
pub(crate) fn is_hf(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.ends_with(".safetensors")
        || name.ends_with(".safetensors.index.json")
        || name == "config.json"
        || path.is_dir()
}

/// The files that make up a model.
pub(crate) struct Parts {
    /// The folder, or the one file.
    pub(crate) path: PathBuf,
    folder: PathBuf,
    index: Option<PathBuf>,
    /// Weight files, where there is no index.
    files: Vec<PathBuf>,
    /// Whether `config.json` belongs to the model.
    with_config: bool,
}

/// Reads the model at `path`.
pub(crate) fn read(path: &Path) -> Result<HfProbe, ModelError> {
    let parts = find(path)?;
    let mut problems = Vec::new();
    let config = if parts.with_config { config(&parts.folder, &mut problems) } else { None };
    let (files, index) = match &parts.index {
        Some(path) => {
            let index = Index::read(path)?;
            let files: Vec<PathBuf> = index.files.iter().map(|name| parts.folder.join(name)).collect();
            (files, Some(index))
        }
        None => (parts.files, None),
    };
    let missing: Vec<PathBuf> = files.iter().filter(|file| !file.exists()).cloned().collect();
    if !missing.is_empty() {
        return Err(ModelError::MissingShards { count: files.len() as u64, missing });
    }
    let mut room = Room::whole();
    let mut tensors: Vec<HfTensor> = Vec::new();
    let mut ends = Vec::with_capacity(files.len());
    let mut file_bytes = 0u64;
    for file in &files {
        let len = safetensors::read_file(file, &mut room, &mut tensors)?;
        file_bytes = file_bytes.saturating_add(len);
        ends.push(tensors.len());
    }
    if let Some(index) = index {
        let begins = std::iter::once(0).chain(ends.iter().copied());
        let held: Vec<&[HfTensor]> = begins.zip(&ends).map(|(begin, end)| &tensors[begin..*end]).collect();
        problems.extend(index.doubts(&held));
    }
    let name = parts.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let shards = u32::try_from(files.len()).unwrap_or(u32::MAX);
    let model = HfModel::assemble(
        published_name(&parts.path).unwrap_or(name),
        config,
        tensors,
        Bytes(file_bytes),
        shards,
        problems,
    );
    if let Some(pair) = model.tensors.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(ModelError::TwiceInFiles { path: parts.path, tensor: pair[0].name.clone() });
    }
    Ok(HfProbe { path: parts.path, model })
}

/// Every file whose change makes the model another one: all in its folder that a model can consist of.
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let folder = if path.is_dir() { Some(path) } else { path.parent() };
    let mut files = vec![path.to_owned()];
    let entries = folder.and_then(|folder| fs::read_dir(folder).ok());
    for entry in entries.into_iter().flatten().flatten().take(FOLDER_ENTRIES_MAX) {
        let file = entry.path();
        if file.extension().is_some_and(|extension| extension == "json" || extension == "safetensors") {
            files.push(file);
        }
    }
    files.sort();
    files
}

/// Which files belong to the model that `path` names.
pub(crate) fn find(path: &Path) -> Result<Parts, ModelError> {
    let unreadable = |error| ModelError::Unreadable { path: path.to_owned(), source: Arc::new(error) };
    let path = std::path::absolute(path).map_err(unreadable)?;
    let meta = fs::metadata(&path).map_err(unreadable)?;
    if meta.is_dir() {
        return in_folder(path);
    }
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name == "config.json" {
        return in_folder(folder);
    }
    if name.ends_with(".index.json") {
        return Ok(Parts { index: Some(path), path: folder.clone(), folder, files: Vec::new(), with_config: true });
    }
    // A part of the folder's model stands for the model; any other file stands for itself.
    if let Ok(parts) = in_folder(folder.clone()) {
        let listed = match &parts.index {
            Some(index) => Index::read(index)?.files.iter().any(|file| file == name),
            None => parts.files.contains(&path),
        };
        if listed {
            return Ok(parts);
        }
    }
    let with_config = folder.join("config.json").is_file() && name == "consolidated.safetensors";
    Ok(Parts { index: None, files: vec![path.clone()], path, folder, with_config })
}

fn in_folder(folder: PathBuf) -> Result<Parts, ModelError> {
    let parts = |index, files| Parts { path: folder.clone(), folder: folder.clone(), index, files, with_config: true };
    let index = folder.join(INDEX);
    if index.is_file() {
        return Ok(parts(Some(index), Vec::new()));
    }
    let single = folder.join(SINGLE);
    if single.is_file() {
        return Ok(parts(None, vec![single]));
    }
    let unreadable = |error| ModelError::Unreadable { path: folder.clone(), source: Arc::new(error) };
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(unreadable)?.take(FOLDER_ENTRIES_MAX) {
        names.push(entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let ends = |end: &str| names.iter().filter(|name| name.ends_with(end)).collect::<Vec<_>>();
    // GPTQ files of before 2024 are named after the model, and so is their index.
    if let [index] = ends(".safetensors.index.json")[..] {
        return Ok(parts(Some(folder.join(index)), Vec::new()));
    }
    let mut files = ends(".safetensors");
    files.retain(|name| !name.starts_with("adapter_"));
    // Mistral publishes the same weights twice: once in its own form.
    let shards: Vec<&String> = files.iter().copied().filter(|name| !name.starts_with("consolidated")).collect();
    if !shards.is_empty() {
        files = shards;
    }
    if files.is_empty() || files.len() as u64 > SHARDS_MAX {
        return Err(ModelError::NoWeightFiles { reason: why_none(&names), path: folder });
    }
    if let Some(missing) = missing_number(&folder, &files) {
        return Err(missing);
    }
    Ok(parts(None, files.iter().map(|name| folder.join(name)).collect()))
}

/// Files numbered `-00002-of-00005` without an index: the numbers that are not there.
fn missing_number(folder: &Path, files: &[&String]) -> Option<ModelError> {
    let stem = files.first()?.strip_suffix(".safetensors")?;
    let (rest, count) = stem.rsplit_once("-of-")?;
    let (prefix, number) = rest.rsplit_once('-')?;
    let width = number.len();
    let count: u64 = count.parse().ok().filter(|count| (1..=SHARDS_MAX).contains(count))?;
    let name = |number: u64| format!("{prefix}-{number:0width$}-of-{count:0width$}.safetensors");
    let missing: Vec<PathBuf> =
        (1..=count).map(name).filter(|name| !files.contains(&name)).map(|name| folder.join(name)).collect();
    (!missing.is_empty()).then_some(ModelError::MissingShards { count, missing })
}

/// What a folder without safetensors files holds instead, as the end of a sentence.
fn why_none(names: &[String]) -> &'static str {
    let any = |test: &dyn Fn(&str) -> bool| names.iter().any(|name| test(name));
    if any(&|name| name.ends_with(".gguf")) {
        "it holds GGUF files; choose one of them"
    } else if any(&|name| name.starts_with("adapter_")) {
        "it holds an adapter (LoRA), which is loaded beside a model"
    } else if any(&|name| name.ends_with(".bin") || name.ends_with(".pth") || name.ends_with(".pt")) {
        "it holds weights of PyTorch's own form, which can run programs when loaded and is not read here"
    } else if any(&|name| name == "config.json") {
        "it holds a configuration, but no weights; they may not have been downloaded yet"
    } else {
        "it holds no safetensors files"
    }
}

/// `organisation/name` for a folder in the cache of the hub (`models--organisation--name/snapshots/REVISION`).
fn published_name(path: &Path) -> Option<String> {
    let snapshots = path.parent()?;
    if snapshots.file_name()? != "snapshots" {
        return None;
    }
    repository_name(snapshots.parent())
}

/// `organisation/name` for a folder `models--organisation--name`.
pub(crate) fn repository_name(folder: Option<&Path>) -> Option<String> {
    Some(folder?.file_name()?.to_str()?.strip_prefix("models--")?.replacen("--", "/", 1))
}

/// The configuration's facts, and what is wrong with it.
fn config(folder: &Path, problems: &mut Vec<String>) -> Option<HfConfig> {
    let mut value = match json(&folder.join("config.json")) {
        Ok(value) => value,
        Err(problem) => {
            problems.push(format!("config.json {problem}."));
            return None;
        }
    };
    // ModelOpt writes its settings beside the configuration, and only since 2025 into it as well.
    if value.get("quantization_config").is_none()
        && let Ok(beside) = json(&folder.join("hf_quant_config.json"))
        && let (Some(settings), Some(object)) = (beside.get("quantization"), value.as_object_mut())
        && let Some(mut settings) = settings.as_object().cloned()
    {
        settings.insert("quant_method".to_owned(), Value::String("modelopt".to_owned()));
        object.insert("quantization_config".to_owned(), Value::Object(settings));
    }
    let (config, found) = HfConfig::read(&value);
    problems.extend(found);
    config
}

/// A small JSON file, or what is wrong with it, as the rest of a sentence.
fn json(path: &Path) -> Result<Value, String> {
    let cannot = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => "is missing: without it, only the weights are known".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    if !fs::metadata(path).map_err(cannot)?.is_file() {
        return Err("is no file".to_owned());
    }
    let mut text = Vec::new();
    File::open(path).map_err(cannot)?.take(CONFIG_BYTES_MAX + 1).read_to_end(&mut text).map_err(cannot)?;
    if text.len() as u64 > CONFIG_BYTES_MAX {
        return Err(format!("is longer than {CONFIG_BYTES_MAX} bytes, which no model's is"));
    }
    let values = text.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    if values > CONFIG_VALUES_MAX {
        return Err(format!("holds more than {CONFIG_VALUES_MAX} values, which no model's does"));
    }
    serde_json::from_slice(&standard(&text)).map_err(|error| format!("is no JSON: {}", safetensors::reason(&error)))
}

/// Python writes `NaN` and `Infinity`, which are no JSON (published configurations of Mamba-2 models have them): they become
/// texts, so that a number that is none is named as such.
fn standard(text: &[u8]) -> Vec<u8> {
    const WORDS: [(&[u8], &[u8]); 3] =
        [(b"-Infinity", b"\"-Infinity\""), (b"Infinity", b"\"Infinity\""), (b"NaN", b"\"NaN\"")];
    let mut out = Vec::with_capacity(text.len());
    let (mut at, mut in_text) = (0, false);
    while at < text.len() {
        let rest = &text[at..];
        let word = WORDS.iter().find(|(word, _)| !in_text && rest.starts_with(word));
        let (taken, put) = match word {
            Some((word, put)) => (word.len(), *put),
            None if in_text && rest[0] == b'\\' => (rest.len().min(2), &rest[..rest.len().min(2)]),
            None => {
                in_text ^= rest[0] == b'"';
                (1, &rest[..1])
            }
        };
        out.extend_from_slice(put);
        at += taken;
    }
    out
}
