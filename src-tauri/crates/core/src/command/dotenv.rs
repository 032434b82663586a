//! The environment of the command, a variable a line, as docker compose and programs for `.env` files read it.
//!
//! Source: docker compose's "Syntax for environment files": what stands between single quotes is taken as it is.

use super::LaunchSpec;
use super::export::{ExportProblem, NEWLINE, NUL, RETURN, without};

const FORM: &str = "An environment file";

/// A file of the variables.
pub(super) fn file(spec: &LaunchSpec) -> Result<String, ExportProblem> {
    let mut text = String::new();
    for var in &spec.env {
        without(FORM, &var.value, &[NUL, NEWLINE, RETURN, ('\'', "a single quote")])?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+:,./_-".contains(&byte);
        let value = &var.value;
        let value = if value.bytes().all(plain) { value.clone() } else { format!("'{value}'") };
        text.push_str(&format!("{}={value}\n", var.name));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::EnvVar;
    use crate::command::tests::{awkward, spec};

    #[test]
    fn a_variable_a_line() {
        assert_eq!(file(&awkward()).as_deref(), Ok("A=1\nB='x y'\n"));
        let odd = spec(vec![EnvVar::new("A", "#$B\\n"), EnvVar::new("C", "")], "e".into(), Vec::new());
        assert_eq!(file(&odd).as_deref(), Ok("A='#$B\\n'\nC=\n"));
    }

    #[test]
    fn what_single_quotes_cannot_hold_is_refused() {
        for (value, what) in [("it's", "a single quote"), ("a\nb", "a line's end")] {
            let refused = file(&spec(vec![EnvVar::new("A", value)], "e".into(), Vec::new())).expect_err(what);
            assert!(
                refused.to_string().starts_with(&format!("An environment file cannot express {what}")),
                "{refused}"
            );
        }
    }
}
