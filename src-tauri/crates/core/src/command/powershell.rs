//! The command for PowerShell.
//!
//! Source: about_Quoting_Rules (a quote within single quotes is doubled; four typographic quotes count as one) and
//! about_Parsing (`PSNativeCommandArgumentPassing`): before 7.3, double quotes and empty words do not reach a program as
//! written, so they are refused.

use super::export::{ExportProblem, NUL, without};
use super::{LaunchSpec, lines};

const FORM: &str = "PowerShell";
/// Goes on with a command on the next line.
const CONTINUED: &str = " `\n  ";
/// What PowerShell takes for a single quote.
const QUOTES: [char; 5] = ['\'', '\u{2018}', '\u{2019}', '\u{201a}', '\u{201b}'];

/// A script: the environment, then the command.
pub(super) fn script(spec: &LaunchSpec) -> Result<String, ExportProblem> {
    let mut text = String::new();
    for var in &spec.env {
        without(FORM, &var.value, &[NUL])?;
        text.push_str(&format!("$env:{} = {}\n", var.name, quoted(&var.value)));
    }
    let mut parts = vec![format!("& {}", word(&spec.program)?)];
    for line in lines(&spec.args) {
        parts.push(line.iter().map(|word| argument(word)).collect::<Result<Vec<_>, _>>()?.join(" "));
    }
    text.push_str(&parts.join(CONTINUED));
    text.push('\n');
    Ok(text)
}

fn argument(text: &str) -> Result<String, ExportProblem> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+:./_\\-".contains(&byte);
    // A word that begins with a dash and holds a point or a colon is cut in two.
    let whole = !text.starts_with('-') || !text.contains(['.', ':']);
    let dashes = text.bytes().all(|byte| byte == b'-');
    if !text.is_empty() && !dashes && whole && text.bytes().all(plain) { Ok(text.to_owned()) } else { word(text) }
}

fn word(text: &str) -> Result<String, ExportProblem> {
    without(FORM, text, &[NUL, ('"', "a double quote")])?;
    let refused = |what| Err(ExportProblem::Character { form: FORM, what, word: text.to_owned() });
    if text.is_empty() {
        return refused("an empty word");
    }
    // It would be put between double quotes, the last of which the backslash takes for itself.
    if text.ends_with('\\') && text.contains(char::is_whitespace) {
        return refused("a backslash at the end of a word with spaces");
    }
    Ok(quoted(text))
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("'");
    for character in text.chars() {
        quoted.push(character);
        if QUOTES.contains(&character) {
            quoted.push(character);
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::tests::{awkward, spec};

    #[test]
    fn a_script() {
        insta::assert_snapshot!(script(&awkward()).expect("nothing refused"), @r"
        $env:A = '1'
        $env:B = 'x y'
        & '/opt/my engine/llama-server' `
          -m '/a b/it''s 100% $HOME.gguf' `
          --seed -1 `
          --mlock `
          -ts '40,41'
        ");
    }

    #[test]
    fn what_older_versions_would_change_is_refused() {
        for (arg, what) in [("a\"b", "a double quote"), ("", "an empty word"), ("a b\\", "a backslash at the end")] {
            let refused = script(&spec(Vec::new(), "e".into(), vec![arg.into()])).expect_err(what);
            assert!(refused.to_string().starts_with(&format!("PowerShell cannot express {what}")), "{refused}");
        }
    }

    proptest! {
        /// A quoted word ends where it should and holds what it should, by PowerShell's rule of doubled quotes.
        #[test]
        fn quoting_is_undone_by_the_rule(text in "[^\0]{0,16}|[a'\u{2018}\u{2019}\u{201a}\u{201b} ]{0,8}") {
            let quoted = quoted(&text);
            let inner = quoted.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).expect("quotes around it");
            let (mut read, mut rest) = (String::new(), inner.chars());
            while let Some(character) = rest.next() {
                if QUOTES.contains(&character) {
                    prop_assert!(rest.next().is_some_and(|next| QUOTES.contains(&next)), "{} ends early", quoted);
                }
                read.push(character);
            }
            prop_assert_eq!(read, text);
        }
    }
}
