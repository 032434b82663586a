//! The command as a unit of systemd.
//!
//! Source: systemd.service(5), "Command lines", and systemd.syntax(7), "Quoting": words between double quotes with C's
//! escapes; `%` begins a specifier and is doubled; `$` begins a variable in arguments and is doubled there, but not in the
//! path of the program, nor in `Environment=`.

use super::export::{ExportProblem, NUL, without};
use super::{LaunchSpec, STOP_GRACE, lines};

const FORM: &str = "systemd";
/// Goes on with a setting on the next line.
const CONTINUED: &str = " \\\n  ";

/// A unit that starts the command with the machine, or with the user's session.
pub(super) fn unit(spec: &LaunchSpec) -> Result<String, ExportProblem> {
    let title: String = spec.title.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    let mut text = format!("[Unit]\nDescription={}\n\n[Service]\n", title.replace('%', "%%").trim_end_matches('\\'));
    for var in &spec.env {
        let setting = format!("{}={}", var.name, var.value);
        text.push_str(&format!("Environment={}\n", quoted(&setting, false)?));
    }
    // A bare name is looked for in systemd's own folders; a path must be whole.
    if spec.program.contains('/') && !spec.program.starts_with('/') {
        return Err(ExportProblem::Relative { form: FORM, path: spec.program.clone() });
    }
    let mut parts = vec![quoted(&spec.program, false)?];
    for line in lines(&spec.args) {
        parts.push(line.iter().map(|arg| quoted(arg, true)).collect::<Result<Vec<_>, _>>()?.join(" "));
    }
    let grace = STOP_GRACE.as_secs();
    text.push_str(&format!("ExecStart={}\n", parts.join(CONTINUED)));
    text.push_str(&format!("Restart=on-failure\nTimeoutStopSec={grace}\n\n[Install]\nWantedBy=default.target\n"));
    Ok(text)
}

/// A word of a setting; `argument` where variables are put in.
fn quoted(word: &str, argument: bool) -> Result<String, ExportProblem> {
    without(FORM, word, &[NUL])?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+:,./_=-".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return Ok(word.to_owned());
    }
    let mut quoted = String::from("\"");
    for character in word.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '%' => quoted.push_str("%%"),
            '$' if argument => quoted.push_str("$$"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(control))),
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
    use crate::command::tests::{awkward, spec};

    #[test]
    fn a_unit() {
        insta::assert_snapshot!(unit(&awkward()).expect("nothing refused"), @r#"
        [Unit]
        Description=a model

        [Service]
        Environment=A=1
        Environment="B=x y"
        ExecStart="/opt/my engine/llama-server" \
          -m "/a b/it's 100%% $$HOME.gguf" \
          --seed -1 \
          --mlock \
          -ts 40,41
        Restart=on-failure
        TimeoutStopSec=20

        [Install]
        WantedBy=default.target
        "#);
    }

    #[test]
    fn a_path_that_is_not_whole_is_refused_and_a_bare_name_is_not() {
        let refused = unit(&spec(Vec::new(), "./llama-server".into(), Vec::new())).expect_err("no whole path");
        assert_eq!(refused.to_string(), "systemd needs the whole path of \"./llama-server\".");
        assert!(unit(&spec(Vec::new(), "llama-server".into(), Vec::new())).is_ok());
    }

    #[test]
    fn a_title_stays_on_its_line() {
        let titled = LaunchSpec { title: "a\n[Service]\nb 100%\\".into(), ..awkward() };
        let text = unit(&titled).expect("nothing refused");
        assert_eq!(text.lines().nth(1), Some("Description=a [Service] b 100%%"));
        assert_eq!(text.lines().filter(|line| *line == "[Service]").count(), 1);
    }

    /// What systemd reads of a word: `extract_first_word` with quotes and C's escapes, then specifiers and variables.
    fn read(word: &str) -> String {
        let inner = word.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(word);
        let (mut unescaped, mut rest) = (String::new(), inner.chars());
        while let Some(character) = rest.next() {
            unescaped.push(match character {
                '\\' => match rest.next().expect("something is escaped") {
                    'n' => '\n',
                    't' => '\t',
                    'x' => {
                        let digits: String = rest.by_ref().take(2).collect();
                        char::from(u8::from_str_radix(&digits, 16).expect("two digits"))
                    }
                    itself => itself,
                },
                '"' => panic!("{word} ends early"),
                plain => plain,
            });
        }
        let unescaped = unescaped.replace("%%", "\u{1}").replace("$$", "\u{2}");
        assert!(!unescaped.contains(['%', '$']), "{word} holds a specifier or a variable");
        unescaped.replace('\u{1}', "%").replace('\u{2}', "$")
    }

    proptest! {
        #[test]
        fn words_are_read_back(word in "[^\0\u{1}\u{2}]{0,16}|[a %$\"\\\\]{0,8}") {
            prop_assert_eq!(read(&quoted(&word, true).expect("no NUL byte")), word);
        }
    }
}
