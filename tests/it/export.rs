//! Commands as files: what a real shell reads back, and what `plan --export` writes.

use std::fs;
use std::process::Command;

use dualgpuopt_core::command::{EnvVar, ExportForm, LaunchSpec};
use dualgpuopt_core::engine::flags_by_version::Engine;
use dualgpuopt_test_support::cli::dualgpuopt;
use dualgpuopt_test_support::places;

#[test]
fn a_real_bash_reads_back_what_was_exported() {
    let words =
        ["a b", "it's", "$HOME `id` $(id) \\", "\"q\" !x", "*?[a]{b,c}~", "-m", "", "\n", "\u{e4}\u{1f600}", "#;&|<>"];
    let mut args = vec!["-c".to_owned(), r#"printf '%s\0' "$A" "$@""#.to_owned(), "name".to_owned()];
    args.extend(words.map(str::to_owned));
    let spec = LaunchSpec {
        title: "words".into(),
        program: "bash".into(),
        args,
        env: vec![EnvVar::new("A", "x 'y' $Z")],
        host: "127.0.0.1".into(),
        port: 8080,
        health_path: "/health".into(),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("words.sh");
    let text = spec.export(ExportForm::Bash, Engine::LlamaCpp, None).expect("nothing refused");
    fs::write(&script, text).expect("the folder can be written");
    let output = Command::new("bash").arg(&script).output().expect("bash runs");
    let read = String::from_utf8(output.stdout).expect("UTF-8");
    let read: Vec<&str> = read.split_terminator('\0').collect();
    assert_eq!((read[0], &read[1..]), ("x 'y' $Z", &words[..]), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_plan_is_exported_by_the_ending_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = places::model("tiny.gguf");
    let signs = [
        ("start.sh", "#!/usr/bin/env bash\n"),
        ("start.ps1", "$env:CUDA_DEVICE_ORDER = 'PCI_BUS_ID'\n"),
        ("start.cmd", "@echo off\n"),
        ("llama.service", "[Unit]\nDescription=Tiny\n"),
        ("compose.yaml", "services:\n  llama-server:\n"),
        ("gpu.env", "CUDA_DEVICE_ORDER=PCI_BUS_ID\n"),
    ];
    for (name, beginning) in signs {
        let path = folder.path().join(name);
        let args = ["plan".as_ref(), model.as_os_str(), "--mock=3090".as_ref(), "--export".as_ref(), path.as_os_str()];
        let done = dualgpuopt(args).run();
        assert_eq!(done.code, Some(0), "{done:?}");
        let text = fs::read_to_string(&path).expect("it was written");
        assert!(text.starts_with(beginning) && text.contains("GPU-"), "{name}: {text}");
    }
}

#[test]
fn an_unknown_ending_is_refused_in_words() {
    let model = places::model("tiny.gguf");
    let args = ["plan".as_ref(), model.as_os_str(), "--mock".as_ref(), "--export".as_ref(), "plan.txt".as_ref()];
    let done = dualgpuopt(args).run();
    assert_eq!(done.code, Some(2), "{done:?}");
    assert!(done.stderr.contains("The ending of 'plan.txt' says no form to export in."), "{done:?}");
}
