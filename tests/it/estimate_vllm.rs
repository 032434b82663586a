//! `estimate -- vllm serve …` through the built program.

use dualgpuopt_test_support::cli::dualgpuopt;
use dualgpuopt_test_support::nvml::Described;
use dualgpuopt_test_support::places;
use serde_json::{Value, json};

fn folder(name: &str) -> String {
    let path = places::root().join(".cache/hf").join(name);
    assert!(path.is_dir(), "{} is missing; `make build-tests` makes it", path.display());
    path.to_string_lossy().into_owned()
}

fn words<'a>(options: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
    [&["estimate"], options, &["--"], command].concat()
}

#[test]
fn two_cards_share_a_model_by_tensor_parallelism() {
    let model = folder("Qwen--Qwen2.5-14B");
    let command = ["vllm", "serve", &model, "-tp", "2", "--max-model-len", "8k"];
    let said = dualgpuopt(words(&["--gpus", "RTX 4090,RTX 4090", "--json"], &command)).run();
    assert_eq!(said.code, Some(0), "{said:?}");
    let json = said.json();
    assert_eq!((&json["schema"], &json["layers"], &json["host"]["weights_bytes"]), (&json!(1), &json!([]), &json!(0)));
    let part = |device: usize, part: &str| json["devices"][device][part].as_u64().expect("bytes");
    assert_eq!(part(0, "weights_bytes"), part(1, "weights_bytes"));
    assert_eq!(part(0, "output_bytes"), 0);
    let vllm = &json["vllm"];
    let [low, value, high] = ["low", "value", "high"].map(|end| vllm["kv_blocks"][end].as_u64().expect("blocks"));
    assert!(0 < low && low < value && value < high, "{}", vllm["kv_blocks"]);
    // 48 layers × 4 K/V heads a rank × 128 values × 2 × 2 bytes × 16 tokens.
    assert_eq!(part(0, "kv_bytes"), value * 48 * 4 * 128 * 2 * 2 * 16);
    assert_eq!(vllm["kv_tokens"]["value"], value * 8000 / 500);
    assert!(vllm["max_concurrency"]["value"].as_f64().is_some_and(|times| times > 1.0), "{vllm}");
    assert_eq!(vllm["explanation"].as_array().map(Vec::len), Some(6));
    assert!(said.stdout.contains("are intervals"), "{}", said.stdout);
}

#[test]
fn text_shows_parts_with_their_intervals_and_the_requests_that_fit() {
    let model = folder("meta-llama--Llama-3.1-8B");
    let command = ["vllm", "serve", &model, "--max-model-len", "16K"];
    let said = dualgpuopt(words(&["--gpus", "RTX 4090,RTX 4090"], &command)).run();
    assert_eq!(said.code, Some(0), "{said:?}");
    for piece in
        ["CUDA0 RTX 4090", "14.99 (14.97–15.02)", "CUDA1 RTX 4090 gets nothing.", "Requests of 16,384 tokens at once: "]
    {
        assert!(said.stdout.contains(piece), "{piece}: {}", said.stdout);
    }
}

#[test]
fn the_gpus_here_are_taken_with_what_others_hold() {
    let scratch = tempfile::tempdir().expect("a temporary folder can be made");
    let cards = Described::two_cards(scratch.path());
    let model = folder("Qwen--Qwen3-0.6B");
    let run = |utilisation: &str| {
        let command =
            ["CUDA_DEVICE_ORDER=PCI_BUS_ID", "vllm", "serve", &model, "--gpu-memory-utilization", utilisation];
        dualgpuopt(words(&["--json"], &command))
            .env("DUALGPUOPT_NVML_LIBRARY", places::built("libnvidia_ml.so"))
            .env("DUALGPUOPT_TEST_NVML", &cards.path)
            .run()
    };
    let said = run("0.5");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.json()["devices"].as_array().map(Vec::len), Some(2));
    // 1 GiB of 24 is in use, so that not all can be had.
    let refused = run("1.0");
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{refused:?}");
    assert!(refused.stderr.contains("are free when the engine starts"), "{}", refused.stderr);
}

#[test]
fn wrong_command_lines_and_refusals_end_with_2_in_words() {
    let model = folder("Qwen--Qwen2.5-0.5B");
    let refused = |command: &[&str]| {
        let ended = dualgpuopt(words(&["--gpus", "RTX 4090,RTX 4090,RTX 4090,RTX 4090"], command)).run();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        ended.stderr
    };
    assert!(refused(&["vllm", "serve", &model, "--no-such-flag"]).contains("--no-such-flag is no flag of vllm serve"));
    assert!(refused(&["vllm", "serve", &model, "--enable-lora"]).contains("--enable-lora changes memory"));
    assert!(refused(&["vllm", "serve", &model, "-tp", "4"]).contains("attention heads (14) cannot be cut into 4"));
    assert!(refused(&["vllm", "serve", &model, "-tp", "2", "-pp", "4"]).contains("need 8 GPUs"));
    assert!(refused(&["vllm", "serve"]).contains("names no model"));
    assert!(refused(&["vllm", "serve", "Qwen/Qwen3-8B"]).contains("name the folder that it was downloaded to"));
    let gguf = places::root().join(".cache/models/tiny.gguf").to_string_lossy().into_owned();
    assert!(refused(&["vllm", "serve", &gguf]).contains("only with the plugin vllm-gguf-plugin"));
}

/// The fields that scripts rely on are those of llama.cpp's estimate, and one more.
#[test]
fn the_form_is_llama_cpps_and_one_field_more() {
    let model = folder("Qwen--Qwen3-0.6B");
    let json = dualgpuopt(words(&["--gpus", "RTX 3060", "--json"], &["vllm", "serve", &model])).run().json();
    let Value::Object(fields) = &json else { panic!("{json}") };
    let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["devices", "host", "layers", "problems", "schema", "speed", "uncertainty_bytes", "vllm"]);
    let rate = |rate: &str, end: &str| json["speed"][rate][end].as_f64().expect("a rate");
    for name in ["prefill_tokens_per_s", "decode_tokens_per_s"] {
        assert!(0.0 < rate(name, "low") && rate(name, "low") < rate(name, "value"), "{}", json["speed"]);
        assert!(rate(name, "value") < rate(name, "high"), "{}", json["speed"]);
    }
    assert_eq!(json["layers"], json!(vec![0; 29]));
}
