//! `verify`: our numbers against those that the real engine logs, without GPUs; and against the table of its dry run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use dualgpuopt_test_support::cli::{Finished, dualgpuopt};
use dualgpuopt_test_support::places;
use dualgpuopt_test_support::processes::running;
use serde_json::Value;

/// A copy of a small model under a name of its own, so that its engine can be told from others.
fn model(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    fs::copy(places::model("tiny.gguf"), &path).expect("the model can be copied");
    path
}

fn verify(model: &Path, flags: &[&str]) -> Finished {
    let args = ["verify".as_ref(), "--json".as_ref(), model.as_os_str()];
    dualgpuopt(args.into_iter().chain(flags.iter().map(|flag| flag.as_ref()))).run()
}

fn comparisons(ended: &Finished) -> Vec<Value> {
    ended.json()["comparisons"].as_array().expect("a list").clone()
}

#[test]
fn the_real_engine_allocates_on_the_host_what_we_say() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let model = model(folder.path(), "verified.gguf");
    for flags in [
        &["-c", "1024"][..],
        &["-c", "4096", "-np", "2", "-ub", "64"],
        &["-c", "2048", "-np", "3", "-kvu", "-fa", "off"],
        &["-c", "512", "-ctk", "bf16", "-ctv", "bf16", "-b", "128", "-ngl", "99", "-ts", "1,2"],
        &["-c", "1024", "-ctk", "f32", "-fa", "off"],
        &["-c", "2048", "-ctk", "f32", "-ctv", "f32", "-np", "2"],
    ] {
        let ended = verify(&model, flags);
        assert_eq!(ended.code, Some(0), "{flags:?}: {ended:?}");
        let json = ended.json();
        assert_eq!((&json["schema"], &json["asked"], &json["agrees"]), (&1.into(), &"server".into(), &true.into()));
        let rows = comparisons(&ended);
        let parts: Vec<_> = rows.iter().map(|row| (row["part"].as_str(), row["agrees"].as_bool())).collect();
        assert_eq!(
            parts,
            [
                (Some("weights"), None),
                (Some("kv_cache"), Some(true)),
                (Some("compute"), Some(true)),
                (Some("output"), Some(true))
            ],
            "{flags:?}"
        );
        // The mapped range holds little but the tensors.
        let (ours, theirs) = (rows[0]["ours_bytes"].as_f64(), rows[0]["engine_bytes"].as_f64());
        let ratio = ours.zip(theirs).map(|(ours, theirs)| ours / theirs).expect("both numbers");
        assert!((0.98..1.02).contains(&ratio), "{ratio}");
        assert!(rows[2]["engine_bytes"].as_u64() > Some(1 << 16), "the engine's number is a real one");
    }
    assert_eq!(running("verified.gguf"), Vec::<u32>::new());
}

#[test]
fn an_engine_that_refuses_ends_with_5_in_its_words() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let model = model(folder.path(), "cut.gguf");
    // Sound for us, who compute it for llama.cpp's newest tree; unknown to the test's engine.
    let ended = verify(&model, &["-c", "512", "--spec-synth-len", "2"]);
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert!(ended.stderr.contains("--spec-synth-len"), "{}", ended.stderr);
    let unknown = verify(&model, &["--no-such-flag"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
}

/// A folder with a `llama-fit-params` that prints what tools/fit-params/fit-params.cpp does; the numbers are given, since
/// the real one needs GPUs to say something about them.
fn dry_run(folder: &Path, compute_mib: u64) -> String {
    let path = folder.join("llama-fit-params");
    let script = format!(
        "#!/bin/sh\necho 'llama_model_load_from_file_impl: using device CUDA0 (a card) (0000:01:00.0) - 8000 MiB free' >&2\n\
         echo 'CUDA0 0 0 {compute_mib} '\necho 'Host 0 0 0 '\n"
    );
    fs::write(&path, script).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our own file");
    let path = std::env::var_os("PATH").unwrap_or_default();
    format!("{}:{}", folder.display(), path.to_string_lossy())
}

#[test]
fn the_dry_run_is_preferred_and_a_difference_ends_with_1() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let model = model(folder.path(), "dry.gguf");
    for (compute_mib, code) in [(5, 0), (500, 1)] {
        let path = dry_run(folder.path(), compute_mib);
        let args = ["verify".as_ref(), "--json".as_ref(), model.as_os_str(), "-c".as_ref(), "512".as_ref()];
        let ended = dualgpuopt(args).env("PATH", path).run();
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert_eq!((&ended.json()["asked"], &ended.json()["agrees"]), (&"dry_run".into(), &(code == 0).into()));
        let compute = comparisons(&ended).into_iter().find(|row| row["part"] == "compute").expect("a compute buffer");
        assert_eq!((&compute["device"], compute["agrees"].as_bool()), (&"CUDA0".into(), Some(code == 0)));
    }
}
