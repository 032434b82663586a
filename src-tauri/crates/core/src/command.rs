//! A command: program, arguments and environment. Shown to people in their shell's words; run without any shell.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One environment variable of a launch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, specta::Type)]
pub struct EnvVar {
    /// Name, such as `CUDA_VISIBLE_DEVICES`.
    pub name: String,
    /// Value, taken literally.
    pub value: String,
}

/// Everything needed to start an engine. Travels to the warden as JSON over a pipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, specta::Type)]
pub struct LaunchSpec {
    /// What the user calls it: the model's name.
    pub title: String,
    /// The engine's program: an absolute path.
    pub program: String,
    /// Arguments, one string each, without the program.
    pub args: Vec<String>,
    /// Set on top of the inherited environment.
    pub env: Vec<EnvVar>,
    /// Address the engine listens on; loopback unless the user says otherwise.
    pub host: String,
    /// Port the engine listens on.
    pub port: u16,
    /// Path of the engine's health endpoint, such as `/health`.
    pub health_path: String,
}

/// Time between the polite and the forced stop. Large models unload slowly (systemd's default is 90 s, ours is shorter
/// because a person waits).
pub const STOP_GRACE: Duration = Duration::from_secs(20);

impl LaunchSpec {
    /// The address of the running engine, `http://host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

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
        let mut lines = vec![first];
        let mut awaits_value = false;
        for arg in &self.args {
            let word = quoted(arg)?.into_owned();
            let flag = is_flag(arg);
            match lines.last_mut() {
                Some(line) if awaits_value && !flag => line.push(word),
                _ => lines.push(vec![word]),
            }
            awaits_value = flag;
        }
        let lines: Vec<_> = lines.iter().map(|words| words.join(" ")).collect();
        Ok(lines.join(CONTINUED))
    }
}

/// Goes on with a command on the next line.
const CONTINUED: &str = " \\\n  ";

/// A word as a POSIX shell reads it back; plain where every shell takes it so, which `shlex` does not do for a comma.
fn quoted(word: &str) -> Result<Cow<'_, str>, shlex::QuoteError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@%+:,./_-".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) { Ok(Cow::Borrowed(word)) } else { shlex::try_quote(word) }
}

/// Whether an argument begins a line of its own. A negative number is a value.
fn is_flag(arg: &str) -> bool {
    arg.len() > 1 && arg.starts_with('-') && arg.parse::<f64>().is_err()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spec(env: Vec<EnvVar>, program: String, args: Vec<String>) -> LaunchSpec {
        LaunchSpec {
            title: "a model".into(),
            program,
            args,
            env,
            host: "127.0.0.1".into(),
            port: 8080,
            health_path: "/health".into(),
        }
    }

    fn var(name: &str, value: &str) -> EnvVar {
        EnvVar { name: name.into(), value: value.into() }
    }

    #[test]
    fn one_flag_and_its_value_per_line() {
        let args = ["-m", "/a b/model.gguf", "--seed", "-1", "--mlock", "-ts", "40,41"].map(str::to_owned).to_vec();
        let text = spec(vec![var("A", "1"), var("B", "x y")], "/bin/engine".into(), args).posix();
        insta::assert_snapshot!(text.expect("no NUL bytes"), @r"
        A=1 B='x y' /bin/engine \
          -m '/a b/model.gguf' \
          --seed -1 \
          --mlock \
          -ts 40,41
        ");
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
            let env: Vec<_> = (0..).zip(&values).map(|(n, value): (usize, _)| var(&format!("VAR_{n}"), value)).collect();
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
