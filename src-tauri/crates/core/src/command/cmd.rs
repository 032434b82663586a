//! The command as a batch file for Windows' command prompt.
//!
//! Source: between double quotes cmd.exe takes every sign as it is but `%`, which a batch file doubles; programs read their
//! words by the rules of Microsoft's C runtime, where backslashes before a double quote are doubled.

use super::export::{ExportProblem, NEWLINE, NUL, RETURN, without};
use super::{LaunchSpec, lines};

const FORM: &str = "The command prompt";
const REFUSED: [(char, &str); 4] = [NUL, NEWLINE, RETURN, ('"', "a double quote")];
/// Goes on with a command on the next line.
const CONTINUED: &str = " ^\n  ";

/// A batch file: the environment, then the command.
pub(super) fn script(spec: &LaunchSpec) -> Result<String, ExportProblem> {
    let mut text = String::from("@echo off\n");
    for var in &spec.env {
        without(FORM, &var.value, &REFUSED)?;
        text.push_str(&format!("set \"{}={}\"\n", var.name, var.value.replace('%', "%%")));
    }
    let mut parts = vec![word(&spec.program)?];
    for line in lines(&spec.args) {
        parts.push(line.iter().map(|arg| word(arg)).collect::<Result<Vec<_>, _>>()?.join(" "));
    }
    text.push_str(&parts.join(CONTINUED));
    text.push('\n');
    Ok(text)
}

fn word(text: &str) -> Result<String, ExportProblem> {
    without(FORM, text, &REFUSED)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":./_\\-".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    let backslashes = text.len() - text.trim_end_matches('\\').len();
    Ok(format!("\"{}{}\"", text.replace('%', "%%"), "\\".repeat(backslashes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::tests::{awkward, spec};

    #[test]
    fn a_batch_file() {
        insta::assert_snapshot!(script(&awkward()).expect("nothing refused"), @r#"
        @echo off
        set "A=1"
        set "B=x y"
        "/opt/my engine/llama-server" ^
          -m "/a b/it's 100%% $HOME.gguf" ^
          --seed -1 ^
          --mlock ^
          -ts "40,41"
        "#);
    }

    #[test]
    fn backslashes_before_the_last_quote_are_doubled() {
        assert_eq!(word(r"C:\my models\").as_deref(), Ok(r#""C:\my models\\""#));
        assert_eq!(word(r"C:\models\").as_deref(), Ok(r"C:\models\"));
        assert_eq!(word("a&b|c^d").as_deref(), Ok("\"a&b|c^d\""));
        assert_eq!(word("").as_deref(), Ok("\"\""));
    }

    #[test]
    fn what_a_line_cannot_hold_is_refused() {
        for (arg, what) in [("a\"b", "a double quote"), ("a\nb", "a line's end"), ("a\rb", "a carriage return")] {
            let refused = script(&spec(Vec::new(), "e".into(), vec![arg.into()])).expect_err(what);
            assert!(refused.to_string().starts_with(&format!("The command prompt cannot express {what}")), "{refused}");
        }
    }
}
