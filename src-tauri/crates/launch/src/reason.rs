//! Why an engine ended, in words: what its last lines say where they are known, else how the process ended. Knows the
//! words of llama.cpp; the rest of a log is left to the reader.

use dualgpuopt_core::session::{Exit, LogLine, LogStream};

/// How many of the newest lines are looked at. llama-server says its cause within the last 20; a crash adds a backtrace.
pub(crate) const LINES_LOOKED_AT: usize = 200;

/// What happened, and what to do; each one sentence, the hint may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) message: String,
    pub(crate) hint: String,
}

/// A failure that is known by its words in the log.
struct Known {
    /// Any of these in a line, in lower case.
    words: &'static [&'static str],
    what: &'static str,
    hint: &'static str,
}

/// Memory first: see [`ended`]. In order: the first entry that any line matches wins, as later ones are consequences of earlier ones.
const KNOWN: [Known; 9] = [
    Known {
        // ggml-cuda.cu, ggml-vulkan.cpp, llama-kv-cache.cpp, llama-model.cpp
        words: &[
            "out of memory",
            "outofdevicememory",
            "unable to allocate cuda",
            "failed to allocate buffer",
            "failed to allocate compute",
            "unable to allocate",
            "std::bad_alloc",
        ],
        what: "memory ran out",
        hint: "Plan again with less context, a smaller KV cache type or more memory kept free.",
    },
    Known {
        // server-http.cpp: `couldn't bind HTTP server socket, hostname: …, port: …`
        words: &["couldn't bind", "address already in use"],
        what: "its port is in use",
        hint: "Choose another port, or stop the program that listens there.",
    },
    Known {
        words: &["unknown model architecture"],
        what: "it does not know this model's architecture",
        hint: "A newer version of the engine may know it.",
    },
    Known {
        // gguf.cpp: `invalid magic characters`
        words: &["invalid magic", "not a gguf", "failed to read magic"],
        what: "the model file is not a GGUF file",
        hint: "Check that the download is complete and is a .gguf file.",
    },
    Known {
        words: &["tensor data is not within", "data is not within the file bounds", "missing tensor", "is corrupted"],
        what: "the model file is damaged or incomplete",
        hint: "Download the file again and compare its size with the publisher's.",
    },
    Known {
        // arg.cpp: `error: invalid argument: --x`; `error while handling argument "--x": …`
        words: &["invalid argument", "error while handling argument", "unknown argument", "unrecognized argument"],
        what: "it does not accept an argument",
        hint: "The engine may be of another version than the command is made for.",
    },
    Known {
        words: &["error while loading shared libraries", "cannot open shared object file"],
        what: "a library that it needs is missing",
        hint: "Install the library, or take a build of the engine made for this system.",
    },
    Known {
        // llama-context.cpp: `K cache type q8_0 with block size 32 does not divide n_embd_head_k=16`
        words: &[
            "does not divide n_embd_head",
            "requires flash_attn",
            "requires flash attention",
            "failed to create context",
        ],
        what: "it could not make the KV cache",
        hint: "Choose another KV cache type; f16 works with every model.",
    },
    Known {
        words: &["failed to load model", "error loading model", "failed to open gguf"],
        what: "it could not load the model",
        hint: "The log says more.",
    },
];

/// Why the engine called `name` ended. `newest` are its log lines, the newest first; `ready` whether it had been ready.
pub(crate) fn ended<'a>(name: &str, exit: Exit, ready: bool, newest: impl Iterator<Item = &'a LogLine>) -> Reason {
    let lines: Vec<(&str, String)> = newest
        .filter(|line| line.stream != LogStream::App)
        .take(LINES_LOOKED_AT)
        .map(|line| (line.text.as_str(), line.text.to_lowercase()))
        .collect();
    let when = if ready { "ended by itself" } else { "ended before it was ready" };
    let how = how(exit);
    // An engine that was ready had loaded its model and had its port: only memory can still run out. The other words may
    // come from a conversation that it logged.
    let known = if ready { &KNOWN[..1] } else { &KNOWN[..] };
    for known in known {
        // The oldest that matches: the first to complain names the cause.
        let line = lines.iter().rev().find(|(_, lower)| known.words.iter().any(|word| lower.contains(word)));
        if let Some((text, _)) = line {
            let message = format!("{name} {when} ({how}): {}. It said: {}", known.what, shown(text));
            return Reason { message, hint: known.hint.to_owned() };
        }
    }
    let hint = match exit.signal {
        Some(9) => "If nobody killed it, the system did because RAM ran out; `dmesg` tells.",
        Some(_) => "This is a defect of the engine; the end of its log may tell more.",
        None if lines.is_empty() => "It wrote nothing; check that the program is the engine.",
        None => "The end of its log may tell more.",
    };
    Reason { message: format!("{name} {when} ({how})."), hint: hint.to_owned() }
}

/// How a process ended, in words.
pub(crate) fn how(exit: Exit) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => match signal_name(signal) {
            Some(name) => format!("signal {signal}, {name}"),
            None => format!("signal {signal}"),
        },
        (None, None) => "no exit code".to_owned(),
    }
}

/// signal(7), the ones that engines die of.
const fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        2 => "interrupted",
        4 => "illegal instruction",
        6 => "aborted",
        7 => "bus error",
        8 => "arithmetic error",
        9 => "killed",
        11 => "segmentation fault",
        15 => "terminated",
        _ => return None,
    })
}

/// A log line inside a sentence.
fn shown(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 240;
    let text = crate::log::llama_cpp_mark(text).1.trim();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((cut, _)) => format!("{}\u{2026}", &text[..cut]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dualgpuopt_core::session::LogLevel;

    const EXIT_1: Exit = Exit { code: Some(1), signal: None };

    /// Lines in the order of the log.
    fn reason(exit: Exit, ready: bool, log: &[&str]) -> Reason {
        let lines: Vec<LogLine> = (0..)
            .zip(log)
            .map(|(seq, text)| LogLine {
                seq,
                at_ms: 0,
                stream: LogStream::Err,
                level: LogLevel::Info,
                text: (*text).to_owned(),
                truncated: false,
            })
            .collect();
        ended("llama-server", exit, ready, lines.iter().rev())
    }

    #[test]
    fn the_cause_is_told_and_not_its_consequence() {
        let oom = reason(
            EXIT_1,
            false,
            &[
                "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9000.00 MiB on device 1: cudaMalloc failed: out of memory",
                "llama_model_load: error loading model: unable to allocate CUDA1 buffer",
                "srv    load_model: failed to load model, 'big.gguf'",
            ],
        );
        assert!(
            oom.message.starts_with("llama-server ended before it was ready (exit code 1): memory ran out. It said: "),
            "{}",
            oom.message
        );
        assert!(oom.hint.contains("less context"));
    }

    #[test]
    fn known_failures_are_told_apart() {
        for (line, want) in [
            ("couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8080", "its port is in use"),
            ("error: invalid argument: --no-such", "it does not accept an argument"),
            ("gguf_init_from_file_ptr: invalid magic characters: 'abcd', expected 'GGUF'", "not a GGUF file"),
            ("error loading model architecture: unknown model architecture: 'x'", "this model's architecture"),
            ("llama-server: error while loading shared libraries: libcudart.so.12: cannot open", "library"),
            (
                "llama_init_from_model: K cache type q8_0 with block size 32 does not divide n_embd_head_k=16",
                "KV cache",
            ),
            ("llama_model_load: error loading model: something new", "could not load the model"),
        ] {
            let marked = format!("0.00.003.095 E {line}");
            let log = ["build info", &marked, "0.00.003.205 E srv  init: exiting due to model loading error"];
            let message = reason(EXIT_1, false, &log).message;
            assert!(!message.contains("0.00.003"), "{message}");
            assert!(message.contains(want) && message.contains(line), "{message}");
        }
    }

    #[test]
    fn an_unknown_end_says_how() {
        let crash = reason(Exit { code: None, signal: Some(11) }, true, &["fine"]);
        assert_eq!(crash.message, "llama-server ended by itself (signal 11, segmentation fault).");
        assert!(reason(Exit { code: None, signal: Some(9) }, true, &["fine"]).hint.contains("RAM ran out"));
        assert_eq!(
            reason(Exit { code: Some(0), signal: None }, false, &[]).hint,
            "It wrote nothing; check that the program is the engine."
        );
    }

    #[test]
    fn a_long_line_is_cut_inside_the_sentence() {
        let line = format!("out of memory {}", "\u{e9}".repeat(5_000));
        assert!(reason(EXIT_1, false, &[&line]).message.chars().count() < 400);
    }
}
