//! Hugging Face folders: what belongs to the model, what is missing, and what the configuration does to it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use dualgpuopt_model::{CONFIG_BYTES_MAX, ModelCache, ModelError, Opened};
use tempfile::TempDir;

use crate::crafted::{CONFIG, file, rows, text};
use crate::safetensors::hf;
use crate::written::{Gguf, save};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Two files of two tensors each, an index and a configuration.
fn sharded(at: &Path) {
    fs::create_dir_all(at).expect("a folder");
    text(&at.join("config.json"), CONFIG);
    index(at, "model-00002-of-00002.safetensors");
    for (number, names) in [(1, ["a", "b"]), (2, ["c", "d"])] {
        let (bytes, weights) = rows(&names, 16);
        file(&at.join(format!("model-0000{number}-of-00002.safetensors")), &bytes, weights);
    }
}

/// An index whose tensors `c` and `d` are in `second`.
fn index(at: &Path, second: &str) {
    let first = "model-00001-of-00002.safetensors";
    let map = format!(r#"{{"a":"{first}","b":"{first}","c":"{second}","d":"{second}"}}"#);
    text(
        &at.join("model.safetensors.index.json"),
        &format!(r#"{{"metadata":{{"total_size":128}},"weight_map":{map}}}"#),
    );
}

fn refused(at: &Path) -> String {
    hf(at).map(|probe| probe.model).expect_err("a refusal").to_string()
}

#[test]
fn a_folder_and_any_of_its_files_are_one_model() {
    let folder = folder();
    let at = folder.path().join("Tiny");
    sharded(&at);
    let whole = hf(&at).expect("sound");
    assert_eq!((whole.model.name.as_str(), whole.model.shards, whole.model.parameters), ("Tiny", 2, 64));
    assert_eq!(whole.model.problems, Vec::<String>::new());
    assert_eq!(whole.model.config.as_ref().expect("facts").layers.len(), 2);
    for name in ["config.json", "model.safetensors.index.json", "model-00002-of-00002.safetensors"] {
        assert_eq!(hf(&at.join(name)).expect("sound"), whole, "{name}");
    }
    let (bytes, weights) = rows(&["x"], 4);
    file(&at.join("other.safetensors"), &bytes, weights);
    assert_eq!(hf(&at.join("other.safetensors")).expect("sound").model.parameters, 4);
}

#[test]
fn a_single_file_needs_no_index() {
    let folder = folder();
    let (bytes, weights) = rows(&["a"], 16);
    text(&folder.path().join("config.json"), CONFIG);
    file(&folder.path().join("model.safetensors"), &bytes, weights);
    assert_eq!(hf(folder.path()).expect("sound").model.shards, 1);
}

#[test]
fn missing_files_are_named_with_and_without_an_index() {
    let folder = folder();
    sharded(folder.path());
    fs::remove_file(folder.path().join("model-00002-of-00002.safetensors")).expect("it is there");
    let said = "The model consists of 2 files, and not all are there; missing: model-00002-of-00002.safetensors.";
    assert_eq!(refused(folder.path()), said);
    fs::remove_file(folder.path().join("model.safetensors.index.json")).expect("it is there");
    assert_eq!(refused(folder.path()), said);
}

#[test]
fn an_unfinished_file_is_named() {
    let folder = folder();
    sharded(folder.path());
    let (bytes, weights) = rows(&["c", "d"], 16);
    file(&folder.path().join("model-00002-of-00002.safetensors"), &bytes, weights - 1);
    let said = refused(folder.path());
    assert!(said.starts_with("model-00002-of-00002.safetensors: the file is incomplete"), "{said}");
}

#[test]
fn an_index_only_names_plain_files_of_its_folder() {
    let folder = folder();
    sharded(folder.path());
    for name in [
        "../../etc/passwd",
        "/etc/passwd.safetensors",
        "..",
        "a/b.safetensors",
        "C:x.safetensors",
        ".safetensors",
        "x.bin",
        "x\\u0000.safetensors",
        "",
    ] {
        index(folder.path(), name);
        let said = refused(folder.path());
        assert!(said.contains("only names of .safetensors files in the same folder are taken"), "{name}: {said}");
    }
    index(folder.path(), r"..\\x.safetensors");
    assert!(refused(folder.path()).contains("only names of"));
}

#[test]
fn an_index_that_is_none_is_refused() {
    let folder = folder();
    sharded(folder.path());
    let path = folder.path().join("model.safetensors.index.json");
    for (json, wanted) in [
        ("{}", "'weight_map' is missing or empty"),
        ("[]", "expected an object with a 'weight_map'"),
        (r#"{"weight_map":{"a":7}}"#, "invalid type: integer `7`"),
        (r#"{"weight_map":{"a":"#, "EOF"),
        (r#"{"weight_map":{"a":"x.safetensors"},"weight_map":{"a":"x.safetensors"}}"#, "'weight_map' occurs twice"),
    ] {
        text(&path, json);
        let said = refused(folder.path());
        assert!(said.starts_with("model.safetensors.index.json: ") && said.contains(wanted), "{json}: {said}");
    }
    save(&path, b"{", 65 << 20);
    assert!(refused(folder.path()).contains("67108864 are the most"));
}

#[test]
fn where_index_and_files_differ_is_doubted() {
    let folder = folder();
    sharded(folder.path());
    let (bytes, weights) = rows(&["c", "e"], 16);
    file(&folder.path().join("model-00002-of-00002.safetensors"), &bytes, weights);
    assert_eq!(
        hf(folder.path()).expect("sizes are known").model.problems,
        [
            "model-00002-of-00002.safetensors holds 1 tensors that the index does not list there, such as 'e'.",
            "model-00002-of-00002.safetensors lacks 1 of the 2 tensors that the index lists there.",
        ]
    );
    let (bytes, weights) = rows(&["a", "c"], 16);
    file(&folder.path().join("model-00002-of-00002.safetensors"), &bytes, weights);
    assert!(refused(folder.path()).contains("the tensor 'a' is in two of the model's files"));
}

#[test]
fn folders_without_weights_say_what_they_hold() {
    for (name, wanted) in [
        ("model.gguf", "it holds GGUF files; choose one of them"),
        ("adapter_model.safetensors", "it holds an adapter (LoRA)"),
        ("pytorch_model.bin", "weights of PyTorch's own form"),
        ("config.json", "a configuration, but no weights"),
        ("readme.md", "it holds no safetensors files"),
    ] {
        let folder = folder();
        text(&folder.path().join(name), "{}");
        let said = refused(folder.path());
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn a_bad_configuration_leaves_the_weights_known() {
    let folder = folder();
    let (bytes, weights) = rows(&["a"], 16);
    file(&folder.path().join("model.safetensors"), &bytes, weights);
    let config = folder.path().join("config.json");
    let problem = || {
        let model = hf(folder.path()).expect("the weights are sound").model;
        assert_eq!((model.config, model.parameters), (None, 16));
        model.problems.join(" ")
    };
    assert!(problem().contains("config.json is missing: without it, only the weights are known"));
    text(&config, "{\"hidden_size\": ");
    assert!(problem().contains("config.json is no JSON: EOF"));
    save(&config, b"{", CONFIG_BYTES_MAX + 1);
    assert!(problem().contains("config.json is longer than 4194304 bytes"));
    text(&config, &format!("[{}0]", "0,".repeat(1 << 16)));
    assert!(problem().contains("more than 65536 values"));
    text(&config, &"[".repeat(50_000));
    assert!(problem().contains("recursion limit"));
    text(&config, &CONFIG.replace("\"hidden_size\":64", "\"hidden_size\":NaN"));
    assert!(problem().contains("'hidden_size' is the text \"NaN\", but must be a whole number"));
    text(&config, &CONFIG.replace("\"vocab_size\":100", "\"vocab_size\":-Infinity"));
    assert!(problem().contains("'vocab_size' is the text \"-Infinity\""));
    fs::remove_file(&config).expect("it is there");
    fs::create_dir(&config).expect("a folder of that name");
    assert!(problem().contains("config.json is no file"));
}

#[test]
fn infinities_that_do_not_matter_do_no_harm() {
    let folder = folder();
    let (bytes, weights) = rows(&["a"], 16);
    file(&folder.path().join("model.safetensors"), &bytes, weights);
    let more = r#""time_step_limit":[0.0, Infinity],"note":"say \"NaN, Infinity\" twice","hidden_size""#;
    text(&folder.path().join("config.json"), &CONFIG.replace("\"hidden_size\"", more));
    assert_eq!(hf(folder.path()).expect("sound").model.problems, Vec::<String>::new());
}

#[test]
fn settings_beside_the_configuration_are_read() {
    let folder = folder();
    let (bytes, weights) = rows(&["a"], 16);
    file(&folder.path().join("model.safetensors"), &bytes, weights);
    text(&folder.path().join("config.json"), CONFIG);
    text(
        &folder.path().join("hf_quant_config.json"),
        r#"{"producer":{"name":"modelopt"},"quantization":{"quant_algo":"NVFP4"}}"#,
    );
    assert_eq!(hf(folder.path()).expect("sound").model.quant(), "NVFP4");
}

#[test]
fn a_snapshot_of_the_hub_has_the_published_name() {
    let folder = folder();
    let at = folder.path().join("models--meta-llama--Llama-3.1-8B/snapshots/0123abcd");
    sharded(&at);
    assert_eq!(hf(&at).expect("sound").model.name, "meta-llama/Llama-3.1-8B");
}

#[test]
fn llama_cpp_is_told_that_it_needs_a_gguf() {
    let folder = folder();
    let at = folder.path().join("Tiny");
    sharded(&at);
    let cache = ModelCache::new();
    let error = cache.probe(&at).expect_err("no GGUF");
    assert_eq!(
        error.to_string(),
        "Tiny is a Hugging Face model (safetensors), which llama.cpp does not load: it needs a GGUF file."
    );
    assert!(error.hint().contains("convert_hf_to_gguf.py") && matches!(error, ModelError::NeedsGguf { .. }));
    Gguf::llama(1).save(&folder.path().join("m.gguf"));
    assert!(matches!(cache.open(&folder.path().join("m.gguf")), Ok(Opened::Gguf(_))));
}

#[test]
fn a_folder_is_read_again_only_when_a_file_of_it_changed() {
    let folder = folder();
    sharded(folder.path());
    let cache = ModelCache::new();
    let read = || match cache.open(folder.path()) {
        Ok(Opened::Hf(probe)) => probe,
        other => panic!("{other:?}"),
    };
    let first = read();
    assert!(Arc::ptr_eq(&first, &read()));
    text(&folder.path().join("config.json"), &CONFIG.replace("2048", "4096000"));
    assert_eq!(read().model.config.as_ref().and_then(|config| config.context_trained), Some(4_096_000));
}
