//! What an installed llama.cpp prints of itself: its flags (`--help`) and its build number (`--version`).
//!
//! Source: `common_arg::to_string` and `common_params_print_usage` in common/arg.cpp: a flag's line begins with its
//! spellings, parted by commas, and its value; what it does follows in a column of its own, three spaces off or more, or on
//! the next line, indented.

use std::collections::BTreeMap;

use super::Takes;

/// Most flags that are read of a help text; llama.cpp has some 400.
const FLAGS_MAX: usize = 4096;

/// Builds below this are those of a source tree without its history, which counts its own commits.
const BUILD_MIN: u32 = 1000;

/// The flags of a help text.
pub(super) fn flags(help: &str) -> BTreeMap<String, Takes> {
    let mut found = BTreeMap::new();
    for line in help.lines().filter(|line| line.starts_with('-') && !line.starts_with("-----")) {
        let (names, takes) = spellings(line);
        for name in names {
            if found.len() < FLAGS_MAX {
                found.insert(name.to_owned(), takes.clone());
            }
        }
    }
    found
}

/// Spellings of a flag, and what follows it.
fn spellings(line: &str) -> (Vec<&str>, Takes) {
    let mut names = Vec::new();
    let mut rest = line;
    loop {
        let end = rest.find(' ').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let Some(name) = word.strip_suffix(',') else {
            names.push(word);
            rest = after;
            break;
        };
        names.push(name);
        rest = after.trim_start();
        if !rest.starts_with('-') {
            break;
        }
    }
    let hint = rest.strip_prefix(' ').and_then(|rest| rest.split("  ").next()).unwrap_or_default();
    let takes = if hint.is_empty() { Takes::Nothing } else { Takes::Value(hint.to_owned()) };
    (names, takes)
}

/// The build number in what `--version` prints: `version: 8763 (ff5ef8278)`, or `version: 0.3.0 (build 10621, commit …)`
/// since September 2026. `None` where it names none, as in a build of a source package.
#[must_use]
pub fn build_of(printed: &str) -> Option<u32> {
    let line = printed.lines().find_map(|line| line.trim().strip_prefix("version: "))?;
    let number = line.split_once("(build ").map_or(line, |(_, rest)| rest);
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    let ends = number[digits..].starts_with([' ', ',', ')']) || digits == number.len();
    number[..digits].parse().ok().filter(|build| ends && *build >= BUILD_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of b11434 and, for `-fa` alone, of b4579.
    const HELP: &str = "\
----- common params -----

-h,    --help, --usage                  print usage and exit
-fa                                     enable Flash Attention (default: disabled)
-C,    --cpu-mask M                     CPU affinity mask: arbitrarily long hex. Complements cpu-range
                                        (default: \"\")
-ot,   --override-tensor <tensor name pattern>=<buffer type>,...
                                        override tensor buffer type
-sm,   --split-mode {none,layer,row,tensor}
                                        how to split the model across multiple GPUs, one of:
                                        - none: use one GPU only
";

    #[test]
    fn a_help_text_is_read() {
        let value = |text: &str| Takes::Value(text.to_owned());
        let flags = flags(HELP);
        let expected = [
            ("--cpu-mask", value("M")),
            ("--help", Takes::Nothing),
            ("--override-tensor", value("<tensor name pattern>=<buffer type>,...")),
            ("--split-mode", value("{none,layer,row,tensor}")),
            ("--usage", Takes::Nothing),
            ("-C", value("M")),
            ("-fa", Takes::Nothing),
            ("-h", Takes::Nothing),
            ("-ot", value("<tensor name pattern>=<buffer type>,...")),
            ("-sm", value("{none,layer,row,tensor}")),
        ];
        assert_eq!(flags, expected.map(|(name, takes)| (name.to_owned(), takes)).into());
    }

    #[test]
    fn any_text_is_read_without_a_panic() {
        for text in ["", "-", "-,", "-a,", "-a,  b", "- - -", "-\u{e4},  \u{e4}"] {
            let read = flags(text);
            assert!(read.len() <= 2, "{read:?}");
        }
    }

    #[test]
    fn build_numbers_in_all_forms() {
        let lines = "ggml_cuda_init: found 2 devices\nversion: 8763 (ff5ef8278)\nbuilt with GNU 15.2.1";
        assert_eq!(build_of(lines), Some(8763));
        assert_eq!(build_of("version: 0.3.0 (build 10621, commit c1d0e7a00)"), Some(10_621));
        assert_eq!(build_of("version: 0.6.0-dev (build 0, commit unknown)"), None);
        assert_eq!((build_of("version: 1 (4227c9b)"), build_of("version: 0.3.0"), build_of("")), (None, None, None));
    }
}
