//! The command line on real input: what it prints, and how it ends.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use dualgpuopt_test_support::cli::dualgpuopt;
use dualgpuopt_test_support::nvml::Described;
use dualgpuopt_test_support::places;

const NO_NVML: &str = "/nonexistent/libnvidia-ml.so.1";

#[test]
fn status_of_simulated_cards_is_the_documented_json() {
    let status = dualgpuopt(["status", "--mock=3090,4090", "--json"]).run();
    assert_eq!(status.code, Some(0), "{status:?}");
    let json = status.json();
    assert_eq!((&json["schema"], &json["source"]), (&1.into(), &"simulated".into()));
    let gpus = json["gpus"].as_array().expect("a list of GPUs");
    assert_eq!(gpus.len(), 2);
    for (index, gpu) in gpus.iter().enumerate() {
        assert_eq!(gpu["index"], index);
        assert!(gpu["uuid"].as_str().is_some_and(|uuid| uuid.starts_with("GPU-")), "{gpu}");
        let metrics = gpu["metrics"].as_object().expect("metrics by name");
        let value = |name: &str| metrics[name]["value"].as_f64().unwrap_or_else(|| panic!("{name}: {}", metrics[name]));
        assert!(value("memory_used_bytes") + value("memory_free_bytes") <= value("memory_total_bytes"));
        assert!((1.0..110.0).contains(&value("temperature_c")));
        assert!(value("power_w") <= value("power_limit_w"));
        for (name, reading) in metrics {
            let one_of = reading["value"].is_number() ^ reading["missing"].is_string();
            assert!(one_of && reading.as_object().is_some_and(|it| it.len() == 1), "{name}: {reading}");
        }
    }
    assert!(json["problems"].is_array());
}

#[test]
fn watch_prints_a_line_a_sample_at_once() {
    let mut watch =
        dualgpuopt(["status", "--mock", "--watch", "--json"]).env("DUALGPUOPT_POLL_INTERVAL", "0.1").start();
    let stamps: Vec<u64> = (0..4)
        .map(|_| {
            let line: serde_json::Value = serde_json::from_str(&watch.line()).expect("one object a line");
            line["at_ms"].as_u64().expect("a stamp")
        })
        .collect();
    assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "{stamps:?}");
}

#[test]
fn status_reads_the_real_nvml_path() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let described = Described::two_cards(folder.path());
    let status = dualgpuopt(["status", "--json"])
        .env("DUALGPUOPT_NVML_LIBRARY", places::built("libnvidia_ml.so"))
        .env("DUALGPUOPT_TEST_NVML", &described.path)
        .run();
    assert_eq!(status.code, Some(0), "{status:?}");
    let json = status.json();
    assert_eq!(json["source"], "nvml");
    let metrics = &json["gpus"][1]["metrics"];
    assert_eq!(json["gpus"][1]["name"], "NVIDIA GeForce RTX 3060");
    assert_eq!(metrics["memory_total_bytes"]["value"], 12_u64 << 30);
    assert_eq!(metrics["memory_used_bytes"]["value"], 1_u64 << 30);
    assert_eq!(metrics["temperature_c"]["value"], 61);
    assert_eq!(metrics["power_w"]["value"], 210.5);
}

#[test]
fn without_nvml_status_ends_with_3_and_one_clear_line() {
    let status = dualgpuopt(["status"]).env("DUALGPUOPT_NVML_LIBRARY", NO_NVML).run();
    assert_eq!(status.code, Some(3), "{status:?}");
    assert_eq!(status.stdout, "");
    assert_eq!(status.stderr.trim_end().lines().count(), 1, "{}", status.stderr);
    assert!(status.stderr.contains("NVML") && status.stderr.contains("--mock"), "{}", status.stderr);
}

#[test]
fn plan_gives_every_byte_of_a_70b_model_on_two_cards() {
    let file = places::model("llama-3.3-70b-q4_k_m.gguf");
    let args = ["plan".as_ref(), file.as_os_str(), "--mock".as_ref(), "--json".as_ref(), "--pin=mode=layer".as_ref()];
    let plan = dualgpuopt(args).run();
    assert!(matches!(plan.code, Some(0)), "{plan:?}");
    let json = plan.json();
    assert_eq!(json["schema"], 2);
    let devices = json["plan"]["devices"].as_array().expect("devices");
    assert_eq!(devices.len(), 2);
    let split: u64 = json["plan"]["split"].as_array().expect("split").iter().filter_map(|n| n.as_u64()).sum();
    assert_eq!(split, 81, "80 layers and the output");
    for device in devices {
        let part = |name: &str| device["memory"][name].as_u64().unwrap_or_else(|| panic!("{name} in {device}"));
        let parts = ["weights", "kv_cache", "compute", "driver_context", "others", "reserve", "free"];
        assert_eq!(parts.iter().map(|name| part(name)).sum::<u64>(), device["total"].as_u64().expect("total"));
        assert!(part("weights") > 15 << 30);
    }
    let command = json["command"].as_str().expect("a command");
    assert!(command.contains("--tensor-split"), "{command}");
}

#[test]
fn plan_explains_every_byte_in_formulas() {
    let file = places::model("llama-3.3-70b-q4_k_m.gguf");
    let plan = |more: &[&str]| {
        let mode = ["--pin".as_ref(), "mode=layer".as_ref()];
        let args = ["plan".as_ref(), file.as_os_str(), "--mock".as_ref(), "--explain".as_ref()].into_iter().chain(mode);
        dualgpuopt(args.chain(more.iter().map(|arg| arg.as_ref()))).run()
    };
    let json = plan(&["--ctx-size", "8192", "--json"]).json();
    let lines = json["explanation"]["lines"].as_array().expect("lines");
    let bytes = |of: &serde_json::Value| of["bytes"].as_u64().expect("bytes");
    for line in lines {
        let terms = line["terms"].as_array().expect("terms");
        assert_eq!(terms.iter().map(bytes).sum::<u64>(), bytes(line), "{line}");
    }
    for (at, device) in json["plan"]["devices"].as_array().expect("devices").iter().enumerate() {
        let explained: u64 = lines.iter().filter(|line| line["device"] == at).map(bytes).sum();
        let free = device["memory"]["free"].as_u64().expect("free");
        assert_eq!(explained + free, device["total"].as_u64().expect("total"));
    }
    let text = plan(&["--ctx-size", "8192"]).stdout;
    assert!(text.contains("layers × 8 heads × 128 × 2 (K, V) × 8,192 cells × 2 bytes (f16)"), "{text}");
    assert!(text.contains("× blk.*.ffn_gate.weight (Q4_K of 8,192 × 28,672)"), "{text}");
}

#[test]
fn a_context_that_does_not_fit_ends_with_4_and_says_what_would() {
    let file = places::model("llama-3.3-70b-q4_k_m.gguf");
    let args = ["plan".as_ref(), file.as_os_str(), "--mock".as_ref(), "--ctx-size".as_ref(), "131072".as_ref()];
    let plan = dualgpuopt(args).run();
    assert_eq!(plan.code, Some(4), "{plan:?}");
    assert!(plan.stdout.contains("Does not fit") && plan.stdout.contains("Fits with"), "{}", plan.stdout);
}

#[test]
fn plans_are_made_for_cards_that_are_not_here_and_as_the_options_say() {
    let plan = |more: &[&str]| {
        let args = ["plan", "catalogue:qwen3-8b@Q4_K_M", "--ctx-size", "8192", "--gpus", "RTX 4090,RTX 3060@pcie4x4"];
        dualgpuopt(args.iter().chain(more)).env("DUALGPUOPT_NVML_LIBRARY", NO_NVML).run()
    };
    let json = plan(&["--json", "--alternatives", "--pin", "mode=layer"]).json();
    let decode = json["plan"]["speed"]["decode"].clone();
    let end = |name: &str| decode[name].as_f64().unwrap_or_else(|| panic!("{name} in {decode}"));
    assert!(end("low") < end("value") && end("value") < end("high"), "{decode}");
    assert_eq!(json["plan"]["split"], serde_json::json!([37, 0]));
    let certificate = &json["plan"]["certificate"];
    assert!(certificate["others"].as_array().is_some_and(|others| others.len() >= 2), "{certificate}");
    assert!(json["alternatives"]["plans"].as_array().is_some_and(|plans| (2..=10).contains(&plans.len())));

    let text = plan(&["--pin", "mode=layer"]).stdout;
    assert!(text.contains("tokens/s") && text.contains("Not GPU 1 alone: "), "{text}");
    let off = plan(&["--json", "--what-if", "off=0"]).json();
    assert_eq!(off["plan"]["devices"][0]["name"], "NVIDIA GeForce RTX 3060");
    let capped = plan(&["--json", "--pin", "mode=layer", "--budget", "0=4", "--budget", "1=4"]);
    assert_eq!(capped.code, Some(0), "{capped:?}");
    let split = &capped.json()["plan"]["split"];
    assert!(split[0].as_u64() > Some(0) && split[1].as_u64() > Some(0), "{split}");
    let pinned = plan(&["--json", "--pin", "split=20,17", "--pin", "kv=q8_0", "--what-if", "add=RTX 3090"]);
    assert_eq!(pinned.code, Some(2), "three GPUs have three shares: {pinned:?}");
    for wrong in
        [["--pin", "mode=rows"], ["--pin", "kv=q9"], ["--budget", "7=1"], ["--what-if", "off=5"], ["--ram", "much"]]
    {
        let ended = plan(&wrong);
        assert_eq!(ended.code, Some(2), "{wrong:?} {ended:?}");
    }
}

#[test]
fn files_that_are_no_models_end_with_2_and_say_what_and_where() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let bad = |name: &str| places::fixture("malformed").join(name);
    let text = folder.path().join("notes.txt");
    fs::write(&text, "not a model").expect("written");
    for (path, words) in [
        (bad("01-empty.gguf"), "01-empty.gguf"),
        (bad("02-bad-magic.gguf"), "GGUF"),
        (bad("09-truncated-in-kv.gguf"), "at byte 8"),
        (bad("13-huge-tensor-count.gguf"), "tensor"),
        (bad("14-huge-kv-count.gguf"), "keys"),
        (text, "GGUF"),
        (folder.path().to_path_buf(), "no model that can be read"),
        (folder.path().join("nothing.gguf"), "nothing.gguf"),
    ] {
        let plan = dualgpuopt(["plan".as_ref(), path.as_os_str(), "--mock".as_ref()]).run();
        assert_eq!(plan.code, Some(2), "{plan:?}");
        assert!(plan.stderr.contains(words), "{words:?} is not in {}", plan.stderr);
        assert!(!plan.stderr.contains("panicked"), "{}", plan.stderr);
    }
}

#[test]
fn wrong_arguments_end_with_2() {
    for args in [&["status", "--mock=gtx9999"][..], &["plan"], &["plan", "x", "--ctx-size", "0"], &["nonsense"]] {
        let ended = dualgpuopt(args).run();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(!ended.stderr.is_empty());
    }
}

#[test]
fn bad_environment_values_are_named_and_ignored() {
    let status = dualgpuopt(["status", "--mock"]).env("DUALGPUOPT_POLL_INTERVAL", "soon").run();
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(status.stderr.contains("DUALGPUOPT_POLL_INTERVAL=soon is ignored"), "{}", status.stderr);
}

#[test]
fn without_a_display_the_dashboard_opens_in_the_terminal() {
    // `script` gives it a terminal; a display that is named but dead is no display.
    for (name, value) in [("COLUMNS", "100"), ("DISPLAY", ":64999")] {
        let program = places::built("dualgpuopt");
        let command = format!("stty rows 30 cols 100; {} --mock", program.display());
        // A dashboard that never draws must not hold the whole suite.
        let mut dashboard = Command::new("timeout")
            .args(["30", "script", "-qfec", &command, "/dev/null"])
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .env(name, value)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script runs");
        let (mut screen, mut keys) = (dashboard.stdout.take().expect("piped"), dashboard.stdin.take().expect("piped"));
        let mut seen = Vec::new();
        let mut part = [0; 4096];
        // Blank cells are skipped over, so words that stand together on the screen come apart.
        while !String::from_utf8_lossy(&seen).contains("3090") {
            let count = screen.read(&mut part).expect("the screen can be read");
            assert!(count > 0, "it ended after {} bytes", seen.len());
            seen.extend_from_slice(&part[..count]);
        }
        keys.write_all(b"q").expect("a key can be pressed");
        let mut rest = Vec::new();
        screen.read_to_end(&mut rest).expect("the screen can be read");
        assert!(dashboard.wait().expect("script ends").success());
    }
}

#[test]
fn without_a_terminal_it_is_one_sample() {
    let ended = dualgpuopt(["--mock"]).run();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("RTX 3090") && ended.stderr.contains("--watch"), "{ended:?}");
}

#[test]
fn mock_alone_gives_as_many_cards_as_the_environment_wants() {
    let status = dualgpuopt(["status", "--mock", "--json"]).env("DUALGPUOPT_GPU_COUNT", "4").run();
    assert_eq!(status.json()["gpus"].as_array().map(Vec::len), Some(4));
}

#[test]
fn the_command_line_links_no_web_view() {
    let linked = Command::new("ldd").arg(places::built("dualgpuopt")).output().expect("ldd runs");
    let text = String::from_utf8_lossy(&linked.stdout).to_lowercase();
    assert!(text.contains("libc.so"), "{text}");
    for part in ["webkit", "gtk", "javascriptcore", "soup"] {
        assert!(!text.contains(part), "{part} in {text}");
    }
}
