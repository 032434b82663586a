//! The command in words of a POSIX shell.

use std::borrow::Cow;

use super::{LaunchSpec, lines};

/// Goes on with a command on the next line.
const CONTINUED: &str = " \\\n  ";

impl LaunchSpec {
    /// The command for a POSIX shell: environment assignments and program, then one flag with its value per continued
    /// line, each word quoted where needed. For eyes and clipboard; never executed by us.
    ///
    /// # Errors
    /// A string with a NUL byte, which no shell can express.
    pub fn posix(&self) -> Result<String, shlex::QuoteError> {
        let mut first = Vec::new();
        for var in &self.env {
            first.push(format!("{}={}", var.name, quoted(&var.value)?));
        }
        first.push(quoted(&self.program)?.into_owned());
        let mut text = vec![first.join(" ")];
        for line in lines(&self.args) {
            let words = line.iter().map(|word| quoted(word)).collect::<Result<Vec<_>, _>>()?;
            text.push(words.join(" "));
        }
        Ok(text.join(CONTINUED))
    }
}

/// The command as a script of its own.
pub(super) fn script(spec: &LaunchSpec) -> Result<String, shlex::QuoteError> {
    Ok(format!("#!/usr/bin/env bash\n{}\n", spec.posix()?))
}

/// A word as a POSIX shell reads it back; plain where every shell takes it so, which `shlex` does not do for a comma.
fn quoted(word: &str) -> Result<Cow<'_, str>, shlex::QuoteError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@%+:,./_-".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) { Ok(Cow::Borrowed(word)) } else { shlex::try_quote(word) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::EnvVar;
    use crate::command::tests::{awkward, spec};

    #[test]
    fn one_flag_and_its_value_per_line() {
        insta::assert_snapshot!(awkward().posix().expect("no NUL bytes"), @r#"
        A=1 B='x y' '/opt/my engine/llama-server' \
          -m "/a b/it's 100% "'$HOME.gguf' \
          --seed -1 \
          --mlock \
          -ts 40,41
        "#);
    }

    #[test]
    fn a_nul_byte_is_refused() {
        assert!(spec(Vec::new(), "/bin/engine".into(), vec!["a\0b".into()]).posix().is_err());
    }

    proptest! {
        /// What a shell reads from the shown text is what would be run.
        #[test]
        fn a_shell_reads_back_exactly_what_is_run(
            values in prop::collection::vec("[^\0]{0,12}", 0..4),
            program in "[^\0]{1,16}",
            args in prop::collection::vec(prop_oneof!["[^\0]{0,12}", "-{1,2}[a-z]{1,6}", "-?[0-9]{1,3}"], 0..12),
        ) {
            let env: Vec<_> =
                (0..).zip(&values).map(|(n, value): (usize, _)| EnvVar::new(&format!("VAR_{n}"), value)).collect();
            let mut words: Vec<_> = env.iter().map(|var| format!("{}={}", var.name, var.value)).collect();
            words.push(program.clone());
            words.extend(args.iter().cloned());
            let text = spec(env, program, args).posix().expect("no NUL bytes");
            // Shells drop a backslash at the end of a line together with the line's end; `shlex` does so only in a word.
            let joined = text.replace(CONTINUED, " ");
            prop_assert_eq!(shlex::split(&joined), Some(words));
        }
    }
}
