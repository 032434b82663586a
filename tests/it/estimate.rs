//! `estimate`: recorded allocations of llama.cpp, asked for as command lines.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use dualgpuopt_app::estimating;
use dualgpuopt_core::card::described;
use dualgpuopt_core::engine::llama_cpp::arguments::read;
use dualgpuopt_core::engine::llama_cpp::fit::FitOutcome;
use dualgpuopt_core::error::AppError;
use dualgpuopt_core::model::ModelFacts;
use dualgpuopt_test_support::cli::dualgpuopt;
use dualgpuopt_test_support::nvml::Described;
use dualgpuopt_test_support::places;
use serde_json::{Value, json};

fn rows() -> Vec<Value> {
    records("truth.jsonl.gz")
}

fn records(file: &str) -> Vec<Value> {
    let file = fs::File::open(places::fixture("ground-truth").join(file)).expect("the rows are there");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("the rows are whole");
    text.lines().map(|line| serde_json::from_str(line).expect("a row is JSON")).collect()
}

/// The command line that a row was recorded with. Rows state what differs from the server's defaults; their cache is
/// unified unless they say otherwise.
fn command(row: &Value, model: &Path) -> Vec<String> {
    let flags = &row["flags"];
    let mut words = vec!["llama-server".to_owned(), "-m".to_owned(), model.to_string_lossy().into_owned()];
    let valued = [
        ("ctx", "-c"),
        ("b", "--batch-size"),
        ("ub", "-ub"),
        ("ctk", "--cache-type-k"),
        ("ctv", "-ctv"),
        ("fa", "-fa"),
        ("ngl", "--gpu-layers"),
        ("sm", "--split-mode"),
        ("mg", "-mg"),
        ("ncmoe", "--n-cpu-moe"),
        ("np", "-np"),
    ];
    for (key, flag) in valued {
        match &flags[key] {
            Value::Null => {}
            Value::String(text) => words.extend([flag.to_owned(), text.clone()]),
            number => words.extend([flag.to_owned(), number.to_string()]),
        }
    }
    let joined = |list: &Vec<Value>, one: fn(&Value) -> String| list.iter().map(one).collect::<Vec<_>>().join(",");
    if let Some(shares) = flags["ts"].as_array() {
        words.extend(["-ts".to_owned(), joined(shares, Value::to_string)]);
    }
    if let Some(rules) = flags["ot"].as_array() {
        let rule = |rule: &Value| format!("{}={}", rule[0].as_str().expect("text"), rule[1].as_str().expect("text"));
        words.extend(["-ot".to_owned(), joined(rules, rule)]);
    }
    for (key, flag) in [("cmoe", "-cmoe"), ("nkvo", "-nkvo"), ("swa_full", "--swa-full"), ("embedding", "--embeddings")]
    {
        words.extend((flags[key] == true).then(|| flag.to_owned()));
    }
    match (&flags["kvu"], &flags["np"]) {
        (Value::Bool(false), Value::Null) => words.extend(["-np", "4", "--no-kv-unified"].map(str::to_owned)),
        (Value::Bool(false), _) => words.push("--no-kv-unified".to_owned()),
        _ => words.push("-kvu".to_owned()),
    }
    words.extend(["--fit", "off"].map(str::to_owned));
    words
}

/// The GPUs of a row, as `--gpus` takes them.
fn gpus(row: &Value) -> String {
    let flags = &row["flags"];
    let capability = flags["cc"].as_u64().unwrap_or(860);
    let count = flags["devices"].as_u64().expect("a number of GPUs");
    let one = |gpu: u64| {
        let free = flags["free_mib"][usize::try_from(gpu).expect("small")].as_u64().unwrap_or(24_000);
        format!("{free}MiB@cc{}.{}", capability / 100, capability / 10 % 10)
    };
    (0..count).map(one).collect::<Vec<_>>().join(",")
}

/// A row's bytes in the form of `estimate --json`.
fn recorded(row: &Value) -> Value {
    let of = |name: &str| row["devices"].as_array().expect("a list").iter().find(|gpu| gpu["name"] == name);
    let part = |gpu: Option<&Value>, key: &str| gpu.map_or(json!(0), |gpu| gpu[key].clone());
    let devices = (0..row["flags"]["devices"].as_u64().expect("a number")).map(|gpu| {
        let name = format!("CUDA{gpu}");
        let found = of(&name);
        json!({ "name": name, "weights_bytes": part(found, "model"), "kv_bytes": part(found, "kv"),
                "compute_bytes": part(found, "compute"), "output_bytes": 0 })
    });
    let host = &row["host"];
    let digit = |unit: char| unit.to_digit(10).map_or(-1, i64::from);
    json!({
        "devices": devices.collect::<Vec<_>>(),
        "host": { "weights_bytes": host["model"], "kv_bytes": host["kv"], "compute_bytes": host["compute"],
                  "output_bytes": host["output"] },
        "layers": row["layers"].as_str().expect("a text").chars().map(digit).collect::<Vec<_>>(),
    })
}

/// What `estimate` says to a row, without what rows do not hold.
fn estimated(row: &Value, model: &ModelFacts, path: &Path) -> Result<Value, AppError> {
    let arguments = read(&command(row, path), |_| None)?;
    let gpus = estimating::described(&described(&gpus(row)).expect("a row's GPUs are sound"));
    let estimate = estimating::estimate_on(model, &arguments, &gpus)?;
    assert!(estimate.uncertainty_bytes.iter().all(|bytes| *bytes == 0), "free memory is given");
    let mut value = serde_json::to_value(&estimate).expect("it serialises");
    let object = value.as_object_mut().expect("an object");
    object.retain(|key, _| ["devices", "host", "layers"].contains(&key.as_str()));
    Ok(value)
}

#[test]
fn a_recorded_start_as_a_command_line_gives_its_bytes() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut models: BTreeMap<String, (ModelFacts, PathBuf)> = BTreeMap::new();
    let (mut exact, mut fell_back, mut wrong) = (0, 0, Vec::new());
    for row in rows() {
        let name = row["model"].as_str().expect("a row names its model");
        let (model, path) = models.entry(name.to_owned()).or_insert_with(|| {
            let path = places::recorded(folder.path(), name);
            let words = ["-m".to_owned(), path.to_string_lossy().into_owned()];
            let arguments = read(&words, |_| None).expect("a model alone is sound");
            (estimating::read_files(arguments).expect("recorded heads are sound").0, path)
        });
        match (estimated(&row, model, path), row["error"].is_string()) {
            (Ok(ours), false) if ours == recorded(&row) => exact += 1,
            // Recorded with one copy because four did not fit into the recording machine's memory.
            (Ok(_), false) if row["copies"] == 1 && name.starts_with("minicpm3") => fell_back += 1,
            (Err(_), true) => {}
            (ours, _) => wrong.push(format!("{name} {}\n  {ours:?}\n  {}", row["flags"], recorded(&row))),
        }
    }
    assert!(wrong.is_empty(), "{} rows differ: {}", wrong.len(), wrong[0]);
    assert!(exact >= 4_000 && fell_back == 6, "{exact} rows are exact, {fell_back} fell back");
}

/// The command line of a recorded choice of `--fit`, and its GPUs.
fn fitted_command(row: &Value, model: &Path) -> (Vec<String>, String) {
    let free = row["free_mib"].as_array().expect("a list");
    let mut words = vec!["llama-server".to_owned(), "-m".to_owned(), model.to_string_lossy().into_owned()];
    let valued = [
        ("ctx", "-c"),
        ("np", "-np"),
        ("margin_mib", "--fit-target"),
        ("min_ctx", "-fitc"),
        ("sm", "-sm"),
        ("ctk", "-ctk"),
        ("ctv", "-ctv"),
        ("ub", "-ub"),
    ];
    for (key, flag) in valued {
        let value = row[key].as_str().map_or_else(|| row[key].to_string(), str::to_owned);
        words.extend((!row[key].is_null()).then(|| [flag.to_owned(), value]).into_iter().flatten());
    }
    // Fitting several GPUs sets shares with the number of layers; where there are none, the number is a flag.
    let no_shares = row["ts"].as_array().expect("a list").iter().all(|share| *share == 0.0);
    if free.len() > 1 && row["sm"] != "none" && no_shares && row["ngl"] != -1 {
        words.extend(["-ngl".to_owned(), row["ngl"].to_string()]);
    }
    let gpus: Vec<String> = free.iter().map(|mib| format!("{mib}MiB")).collect();
    (words, gpus.join(","))
}

#[test]
fn with_fit_on_the_bytes_are_those_of_what_the_engine_chooses() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (mut exact, mut changed) = (0, 0);
    for mut row in records("fit.jsonl.gz") {
        let path = places::recorded(folder.path(), row["model"].as_str().expect("a row names its model"));
        let (words, gpus) = fitted_command(&row, &path);
        let gpus = estimating::described(&described(&gpus).expect("a row's GPUs are sound"));
        let arguments = read(&words, |_| None).expect("sound");
        let (model, arguments) = estimating::read_files(arguments).expect("recorded heads are sound");
        let ours = estimating::estimate_on(&model, &arguments, &gpus);
        if !row["layers"].is_string() {
            let refused = matches!(&ours, Err(error) if error.message.contains("split buffers"));
            let gave_up = ours.is_ok_and(|ours| ours.problems.iter().any(|it| it.contains("split mode \"tensor\"")));
            assert_eq!((refused, gave_up), (row["sm"] == "row", row["sm"] == "tensor"), "{words:?}");
            continue;
        }
        let ours = ours.expect("the engine allocated it");
        row["flags"] = json!({ "devices": gpus.len() });
        let said = serde_json::to_value(&ours).expect("it serialises");
        for (key, recorded) in recorded(&row).as_object().expect("an object") {
            assert_eq!(&said[key], recorded, "{key} of {words:?} {:?}", ours.problems);
        }
        exact += 1;
        // The arguments that it names do the same with --fit off.
        let fit = ours.fit.expect("it is on");
        changed += usize::from(fit.outcome == FitOutcome::Changed);
        assert_eq!(fit.outcome == FitOutcome::Changed, !ours.problems.is_empty(), "{:?}", ours.problems);
        let off: Vec<String> =
            words.into_iter().chain(fit.arguments).chain(["--fit", "off"].map(str::to_owned)).collect();
        let same = estimating::estimate_on(&model, &read(&off, |_| None).expect("sound"), &gpus).expect("sound");
        assert_eq!((same.devices, same.host, same.layers), (ours.devices, ours.host, ours.layers), "{off:?}");
    }
    assert_eq!((exact, changed), (69, 45));
}

/// Runs `estimate --json` on a recorded model.
fn run(options: &[&str], model: &str, flags: &[&str]) -> dualgpuopt_test_support::cli::Finished {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = places::recorded(folder.path(), model);
    let path = path.to_string_lossy();
    let mut args = vec!["estimate", "--json"];
    args.extend(options);
    args.extend(["--", "llama-server", "-m", &path]);
    args.extend(flags);
    dualgpuopt(args).run()
}

#[test]
fn the_program_prints_the_documented_json() {
    let every = |row: &&Value| row["error"].is_null() && !(row["copies"] == 1 && row["model"] == "minicpm3-4b-q4_k_m");
    for row in rows().iter().filter(every).step_by(400) {
        let name = row["model"].as_str().expect("a name");
        let words = command(row, Path::new("unused"));
        let flags: Vec<&str> = words[3..].iter().map(String::as_str).collect();
        let ended = run(&["--gpus", &gpus(row)], name, &flags);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let said = ended.json();
        let recorded = recorded(row);
        assert_eq!(said["schema"], 1);
        for key in ["devices", "host", "layers"] {
            assert_eq!(said[key], recorded[key], "{key} of {name} {}", row["flags"]);
        }
        let zeros = vec![json!(0); recorded["devices"].as_array().expect("a list").len()];
        assert_eq!((&said["uncertainty_bytes"], said["problems"].is_array()), (&json!(zeros), true));
    }
}

#[test]
fn variables_devices_and_cards_are_followed() {
    let said =
        run(&["--gpus", "RTX 3090@free=20GiB,rtx 4090,11500MiB@cc6.1"], "llama-3.2-1b-q8_0", &["-dev", "CUDA2,CUDA0"]);
    let json = said.json();
    assert_eq!((&json["devices"][1]["weights_bytes"], &json["layers"][0]), (&json!(0), &json!(2)));
    let none = run(&["--gpus", "none"], "llama-3.2-1b-q8_0", &["-c", "512"]).json();
    assert_eq!(
        (&none["devices"], &none["uncertainty_bytes"], &none["layers"][16]),
        (&json!([]), &json!([]), &json!(-1))
    );
}

#[test]
fn free_memory_before_the_engines_own_context_makes_the_split_uncertain() {
    let of = |gpus: &str, flags: &[&str]| {
        let json = run(&["--gpus", gpus], "llama-3.1-8b-q8_0", flags).json();
        json["uncertainty_bytes"].as_array().expect("a list").iter().filter_map(Value::as_u64).collect::<Vec<_>>()
    };
    // A 600 MiB context moves layers between unlike cards: one of this model's takes some 230 MiB.
    let cards = of("RTX 4090,RTX 3060", &["-c", "4096"]);
    assert!(cards.iter().all(|bytes| (200 << 20..2000 << 20).contains(bytes)), "{cards:?}");
    assert_eq!(of("RTX 4090@free=20GiB,RTX 3060@free=11GiB", &["-c", "4096"]), [0, 0]);
    assert_eq!(of("RTX 4090,RTX 3060", &["-c", "4096", "-ts", "2,1"]), [0, 0]);
}

#[test]
fn what_would_not_go_as_described_is_a_problem() {
    let of = |gpus: &str, flags: &[&str]| {
        let json = run(&["--gpus", gpus], "llama-3.1-8b-q8_0", flags).json();
        let problems = json["problems"].as_array().expect("a list").iter().filter_map(Value::as_str);
        problems.map(str::to_owned).collect::<Vec<_>>()
    };
    let tight = of("1GiB,24GiB", &["-ts", "1,1"]);
    assert!(tight[0].starts_with("CUDA0 lacks ") && tight[1].contains("gives up, because -ts was given"), "{tight:?}");
    assert_eq!(
        of("12GiB", &[]),
        ["--fit, which is on, lowers the context from 131,072 to 27,904 tokens, because CUDA0 would keep less than \
          1.00 GiB free."]
    );
    assert_eq!(
        of("80GiB", &["-np", "2", "--no-kv-unified"]),
        ["--fit, which is on, gives each slot the trained context: 262,144 tokens in all."]
    );
    assert_eq!(of("24GiB", &["-c", "4096"]), [""; 0]);
    let dies = of_refused("1GiB,1GiB", &["-ngl", "0"]);
    assert!(dies.contains("division by zero") && dies.contains("--fit off"), "{dies}");
}

fn of_refused(gpus: &str, flags: &[&str]) -> String {
    let ended = run(&["--gpus", gpus], "llama-3.1-8b-q8_0", flags);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    ended.stderr
}

#[test]
fn what_fit_does_is_told_step_by_step() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = places::recorded(folder.path(), "llama-3.3-70b-q4_k_m");
    let path = path.to_string_lossy();
    let gpus = "23700MiB,11500MiB";
    let said = dualgpuopt(["estimate", "--gpus", gpus, "--", "llama-server", "-m", &path]).run().stdout;
    for part in [
        "  CUDA1 takes 19 layers: 10.12 GiB of 10.23 GiB.",
        "  To the same effect, add: -c 4096 -ngl 64 -ts 45,19 --fit off",
    ] {
        assert!(said.contains(part), "{part} is missing: {said}");
    }
    let fit = &run(&["--gpus", gpus], "llama-3.3-70b-q4_k_m", &[]).json()["fit"];
    assert_eq!((&fit["outcome"], &fit["arguments"][1]), (&json!("changed"), &json!("4096")));
    assert_eq!(run(&["--gpus", gpus], "llama-3.3-70b-q4_k_m", &["--fit", "off"]).json()["fit"], Value::Null);
}

#[test]
fn the_gpus_here_are_read_with_their_free_memory_now() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let cards = Described::two_cards(folder.path());
    let path = places::recorded(folder.path(), "llama-3.2-1b-q8_0");
    let here = dualgpuopt(["estimate", "--json", "--", "llama-server", "-c", "4096", "-m", &path.to_string_lossy()])
        .env("DUALGPUOPT_NVML_LIBRARY", places::built("libnvidia_ml.so"))
        .env("DUALGPUOPT_TEST_NVML", &cards.path)
        .run();
    assert_eq!(here.code, Some(0), "{here:?}");
    // 24 GiB and 12 GiB, less 1 GiB in use and 300 MiB reserved each.
    let free = [23_252, 10_964].map(|mib| format!("{mib}MiB")).join(",");
    let same = run(&["--gpus", &free], "llama-3.2-1b-q8_0", &["-c", "4096"]).json();
    assert_eq!(here.json()["devices"], same["devices"]);
    assert!(here.json()["uncertainty_bytes"].as_array().is_some_and(|list| list.len() == 2), "{}", here.stdout);
    assert!(here.stdout.contains("CUDA_DEVICE_ORDER"), "cards differ: {}", here.stdout);
    // Its driver tells of the cards what their datasheets do, but for a slot of which nothing is told.
    let here = here.json()["speed"]["decode_tokens_per_s"]["value"].as_f64().expect("a rate");
    let sheet = run(&["--gpus", "RTX 3090@free=23252MiB,RTX 3060@free=10964MiB"], "llama-3.2-1b-q8_0", &["-c", "4096"]);
    let sheet = sheet.json()["speed"]["decode_tokens_per_s"]["value"].as_f64().expect("a rate");
    assert!((here / sheet - 1.0).abs() < 0.15, "{here} beside {sheet}");
}

#[test]
fn the_speed_of_a_command_line_is_told_or_why_not() {
    let rates = |gpus: &str, options: &[&str], flags: &[&str]| {
        let said = run(&[&["--gpus", gpus], options].concat(), "llama-3.1-8b-q8_0", flags).json();
        let told = |rate: &str| {
            let [low, value, high] = ["low", "value", "high"].map(|end| said["speed"][rate][end].as_f64());
            let value = value.unwrap_or_else(|| panic!("{gpus} {flags:?}: {}", said["speed"]));
            assert!(low.is_some_and(|low| 0.0 < low && low < value) && high.is_some_and(|high| high > value), "{said}");
            value
        };
        [told("decode_tokens_per_s"), told("prefill_tokens_per_s")]
    };
    let one = rates("RTX 4090", &[], &["-c", "4096"]);
    let two = rates("NVIDIA GeForce RTX 4090,RTX 3060", &[], &["-c", "4096", "-ts", "2,1"]);
    assert!(one[0] > two[0], "{one:?} {two:?}");
    assert_eq!(rates("RTX 4090,RTX 3060", &[], &["-c", "4096", "-sm", "none"]), one);
    let tensor = ["-c", "4096", "-sm", "tensor", "--fit", "off"];
    let linked = rates("RTX 3090@nvlink,RTX 3090@nvlink", &[], &tensor);
    assert!(linked[0] > rates("RTX 3090@pcie3x4,RTX 3090@pcie3x4", &[], &tensor)[0]);
    assert!(rates("RTX 4090", &["--depth", "16384"], &["-c", "32768"])[0] < one[0]);
    assert!(rates("RTX 4090", &[], &["-c", "4096", "-ngl", "8"])[0] < one[0] / 4.0);
    let why = run(&["--gpus", "24GiB"], "llama-3.1-8b-q8_0", &["-c", "4096"]).json();
    assert!(why["speed"]["why"].as_str().is_some_and(|why| why.contains("name the card")), "{}", why["speed"]);
    assert!(of_refused("A100", &[]).contains("NVIDIA A100 80GB PCIe"));
}

#[test]
fn wrong_command_lines_and_refusals_end_with_2_in_words() {
    let refused = |options: &[&str], flags: &[&str]| {
        let ended = run(options, "llama-3.2-1b-q8_0", flags);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        ended.stderr
    };
    let two = ["--gpus", "24GiB,24GiB"];
    assert!(refused(&two, &["--no-such"]).contains("--no-such"));
    assert!(refused(&two, &["--rerank"]).contains("--rerank changes memory and is not computed yet"));
    assert!(refused(&two, &["--lora", "no-such.gguf"]).contains("no-such.gguf"));
    assert!(refused(&two, &["-ctv", "q8_0", "-fa", "off"]).contains("requires flash attention"));
    assert!(refused(&two, &["-sm", "row"]).contains("does not support split buffers"));
    assert!(refused(&two, &["-dev", "CUDA2"]).contains("CUDA2"));
    assert!(refused(&["--gpus", "RTX 9999"], &[]).contains("RTX 9999"));
    let without = dualgpuopt(["estimate", "--gpus", "1GiB", "--", "llama-server"]).run();
    assert_eq!(without.code, Some(2));
    assert!(without.stderr.contains("names no model"), "{}", without.stderr);
}
