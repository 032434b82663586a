//! The command as a file for docker compose, in the engine's own image.
//!
//! Sources: llama.cpp's docs/docker.md (images `ghcr.io/ggml-org/llama.cpp:server-cuda`, whose entry point is the server, and
//! the same with `-bNNNN`); vLLM's "Using Docker" (`vllm/vllm-openai:vX`, whose entry point is `vllm serve`, and shared
//! memory of the host for several GPUs); the compose specification: GPUs by `device_ids`, and `$` doubled in values.

use super::export::{ExportProblem, NUL, without};
use super::{LaunchSpec, lines};
use crate::engine::flags_by_version::{Engine, Version};

const FORM: &str = "docker compose";
/// Where a server in a container listens, so that its published port reaches it.
const ANY_ADDRESS: &str = "0.0.0.0";

/// A file with one service. The model's folder is mounted where it is, and can only be read; the port is published on the
/// address that the command would listen on.
pub(super) fn file(spec: &LaunchSpec, engine: Engine, version: Option<&Version>) -> Result<String, ExportProblem> {
    let args = arguments(spec, engine);
    let mut text = format!("services:\n  {}:\n", service(engine));
    let mut line = |depth: usize, words: &str| text.push_str(&format!("{}{words}\n", "  ".repeat(depth)));
    line(2, &format!("image: {}", quoted(&image(engine, version))?));
    if engine == Engine::Vllm {
        line(2, "ipc: host");
    }
    line(2, "command:");
    for words in lines(&args) {
        let words = words.iter().map(|word| quoted(word)).collect::<Result<Vec<_>, _>>()?;
        for word in words {
            line(3, &format!("- {word}"));
        }
    }
    if !spec.env.is_empty() {
        line(2, "environment:");
    }
    for var in &spec.env {
        line(3, &format!("{}: {}", var.name, quoted(&var.value)?));
    }
    if let Some(folder) = model_folder(&args, engine) {
        let folder = quoted(folder)?;
        line(2, "volumes:");
        line(3, "- type: bind");
        for words in [format!("source: {folder}"), format!("target: {folder}"), "read_only: true".to_owned()] {
            line(4, &words);
        }
    }
    line(2, "ports:");
    line(3, &format!("- {}", quoted(&format!("{}:{}:{}", spec.host, spec.port, spec.port))?));
    let gpus = spec.env.iter().find(|var| var.name == "CUDA_VISIBLE_DEVICES").map(|var| var.value.as_str());
    let gpus: Vec<&str> = gpus.unwrap_or_default().split(',').filter(|gpu| !gpu.is_empty()).collect();
    line(2, "deploy:");
    line(3, "resources:");
    line(4, "reservations:");
    line(5, "devices:");
    line(6, "- driver: nvidia");
    if gpus.is_empty() {
        line(7, "count: all");
    } else {
        let ids = gpus.iter().map(|gpu| quoted(gpu)).collect::<Result<Vec<_>, _>>()?;
        line(7, &format!("device_ids: [{}]", ids.join(", ")));
    }
    line(7, "capabilities: [gpu]");
    Ok(text)
}

const fn service(engine: Engine) -> &'static str {
    match engine {
        Engine::LlamaCpp => "llama-server",
        Engine::Vllm => "vllm",
    }
}

fn image(engine: Engine, version: Option<&Version>) -> String {
    match (engine, version) {
        (Engine::LlamaCpp, Some(version)) => format!("ghcr.io/ggml-org/llama.cpp:server-cuda-{version}"),
        (Engine::LlamaCpp, None) => "ghcr.io/ggml-org/llama.cpp:server-cuda".to_owned(),
        (Engine::Vllm, Some(version)) => format!("vllm/vllm-openai:v{version}"),
        (Engine::Vllm, None) => "vllm/vllm-openai:latest".to_owned(),
    }
}

/// The arguments as the image's entry point takes them: without `serve`, and open to the published port.
fn arguments(spec: &LaunchSpec, engine: Engine) -> Vec<String> {
    let skipped = usize::from(engine == Engine::Vllm && spec.args.first().is_some_and(|word| word == "serve"));
    let mut args = spec.args[skipped..].to_vec();
    if let Some(at) = args.iter().position(|word| word == "--host").filter(|at| at + 1 < args.len()) {
        ANY_ADDRESS.clone_into(&mut args[at + 1]);
    }
    args
}

/// The folder that holds the model: of its file, or itself. `None` where the command names no whole path.
fn model_folder(args: &[String], engine: Engine) -> Option<&str> {
    let path = match engine {
        Engine::LlamaCpp => {
            let at = args.iter().position(|word| word == "-m")?;
            args.get(at + 1)?.rsplit_once('/')?.0
        }
        Engine::Vllm => args.first()?,
    };
    path.starts_with('/').then_some(path)
}

/// A string of YAML between double quotes, `$` doubled for compose.
fn quoted(text: &str) -> Result<String, ExportProblem> {
    without(FORM, text, &[NUL])?;
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '$' => quoted.push_str("$$"),
            // YAML's c-printable leaves these out, or reads them as ends of lines.
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    Ok(quoted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::EnvVar;
    use crate::command::tests::{awkward, spec};

    #[test]
    fn a_service_of_llama_cpp() {
        let mut spec = awkward();
        spec.args.extend(["--host", "127.0.0.1", "--port", "8080"].map(str::to_owned));
        spec.env = vec![EnvVar::new("CUDA_VISIBLE_DEVICES", "GPU-1,GPU-0")];
        let text = file(&spec, Engine::LlamaCpp, Some(&Version::build(11_434))).expect("nothing refused");
        insta::assert_snapshot!(text, @r#"
        services:
          llama-server:
            image: "ghcr.io/ggml-org/llama.cpp:server-cuda-b11434"
            command:
              - "-m"
              - "/a b/it's 100% $$HOME.gguf"
              - "--seed"
              - "-1"
              - "--mlock"
              - "-ts"
              - "40,41"
              - "--host"
              - "0.0.0.0"
              - "--port"
              - "8080"
            environment:
              CUDA_VISIBLE_DEVICES: "GPU-1,GPU-0"
            volumes:
              - type: bind
                source: "/a b"
                target: "/a b"
                read_only: true
            ports:
              - "127.0.0.1:8080:8080"
            deploy:
              resources:
                reservations:
                  devices:
                    - driver: nvidia
                      device_ids: ["GPU-1", "GPU-0"]
                      capabilities: [gpu]
        "#);
    }

    #[test]
    fn a_service_of_vllm_without_named_gpus() {
        let args = ["serve", "/models/qwen", "--port", "8000"].map(str::to_owned).to_vec();
        let text = file(&spec(Vec::new(), "vllm".into(), args), Engine::Vllm, None).expect("nothing refused");
        for part in ["image: \"vllm/vllm-openai:latest\"", "ipc: host", "source: \"/models/qwen\"", "count: all"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("\"serve\"") && !text.contains("environment:"), "{text}");
    }

    proptest! {
        /// JSON's strings are YAML's, but for the sign that compose reads.
        #[test]
        fn strings_are_read_back(text in "[^\0]{0,16}|[a$\"\\\\\u{85}]{0,8}") {
            let quoted = quoted(&text).expect("no NUL byte");
            prop_assert!(!quoted.chars().any(char::is_control));
            let read: String = serde_json::from_str(&quoted).expect("a string");
            prop_assert_eq!(read.replace("$$", "$"), text);
        }
    }
}
