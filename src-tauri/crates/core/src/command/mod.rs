//! A command: program, arguments and environment. Shown to people in their shell's words; run without any shell.

mod cmd;
mod compose;
mod dotenv;
mod export;
mod posix;
mod powershell;
mod systemd;

pub use export::{ExportForm, ExportProblem};

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

impl EnvVar {
    /// A variable by name and value.
    #[must_use]
    pub fn new(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), value: value.to_owned() }
    }
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
}

/// The arguments line by line as people read them: a flag with its values, or a value alone.
fn lines(args: &[String]) -> Vec<&[String]> {
    let starts = (0..args.len()).filter(|&at| {
        let after_flag = at > 0 && is_flag(&args[at - 1]);
        is_flag(&args[at]) || !after_flag
    });
    let starts: Vec<usize> = starts.chain([args.len()]).collect();
    starts.windows(2).map(|pair| &args[pair[0]..pair[1]]).collect()
}

/// Whether an argument begins a line of its own. A negative number is a value.
fn is_flag(arg: &str) -> bool {
    arg.len() > 1 && arg.starts_with('-') && arg.parse::<f64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A start with these words, for the tests of forms.
    pub(super) fn spec(env: Vec<EnvVar>, program: String, args: Vec<String>) -> LaunchSpec {
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

    /// What is shown of each form in its tests: spaces, quotes and signs that shells read.
    pub(super) fn awkward() -> LaunchSpec {
        let args = ["-m", "/a b/it's 100% $HOME.gguf", "--seed", "-1", "--mlock", "-ts", "40,41"].map(str::to_owned);
        spec(vec![EnvVar::new("A", "1"), EnvVar::new("B", "x y")], "/opt/my engine/llama-server".into(), args.to_vec())
    }

    #[test]
    fn a_flag_has_its_value_beside_it() {
        let args = ["serve", "-m", "x", "--seed", "-1", "--mlock", "-ts", "40,41", "-"].map(str::to_owned);
        let lines: Vec<String> = lines(&args).iter().map(|line| line.join(" ")).collect();
        assert_eq!(lines, ["serve", "-m x", "--seed -1", "--mlock", "-ts 40,41", "-"]);
        assert!(super::lines(&[]).is_empty());
    }
}
