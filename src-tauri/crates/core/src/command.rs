//! A command: program, arguments and environment. Shown to people in their shell's words; run without any shell.

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

    /// The command for a POSIX shell: environment assignments, program, arguments, each quoted where needed.
    /// One flag with its value per continued line. For eyes and clipboard; never executed by us.
    ///
    /// # Errors
    /// A string with a NUL byte, which no shell can express.
    pub fn posix(&self) -> Result<String, shlex::QuoteError> {
        let mut first = Vec::new();
        for var in &self.env {
            first.push(format!("{}={}", var.name, shlex::try_quote(&var.value)?));
        }
        first.push(shlex::try_quote(&self.program)?.into_owned());
        let mut lines = vec![first.join(" ")];
        for arg in &self.args {
            let quoted = shlex::try_quote(arg)?;
            let starts_flag = arg.len() > 1 && arg.starts_with('-') && arg.parse::<f64>().is_err();
            match lines.last_mut() {
                Some(last) if !starts_flag && lines_len_is_flag(last) => {
                    last.push(' ');
                    last.push_str(&quoted);
                }
                _ => lines.push(format!("  {quoted}")),
            }
        }
        Ok(lines.join(" \\\n"))
    }
}

/// Whether a continued line holds a lone flag that still awaits its value.
fn lines_len_is_flag(line: &str) -> bool {
    line.starts_with("  -") && !line.trim_start().contains(' ')
}
