//! Settings from the environment: each variable once, with its default, its range and what it does. The README's table
//! and this list are held against each other by a test.

use std::time::Duration;

/// One environment variable that the product reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What holds when it is not set, in words.
    pub default: &'static str,
    /// What it does and which values it takes, one sentence.
    pub meaning: &'static str,
}

/// Every environment variable that the product reads.
pub const VARIABLES: &[Variable] = &[
    Variable {
        name: "DUALGPUOPT_MOCK_GPU",
        default: "false",
        meaning: "Simulated GPUs instead of the driver's: `true` or `false`.",
    },
    Variable {
        name: "DUALGPUOPT_GPU_COUNT",
        default: "auto",
        meaning: "How many simulated GPUs: `auto` (2), or 1 to 16.",
    },
    Variable { name: "DUALGPUOPT_POLL_INTERVAL", default: "1.0", meaning: "Seconds between samples, 0.1 to 10." },
    Variable {
        name: "DUALGPUOPT_MAX_RECOVERY",
        default: "3",
        meaning: "How often a driver library that hangs or crashes is started again, 0 to 20.",
    },
    Variable {
        name: "DUALGPUOPT_NVML_LIBRARY",
        default: "the driver's",
        meaning: "Path of the NVML library to load instead of `libnvidia-ml.so.1`.",
    },
];

/// Fewest and most milliseconds between samples.
pub const POLL_INTERVAL_MS: (u64, u64) = (100, 10_000);
/// Most simulated GPUs; also the most that a plan takes.
pub const GPUS_MAX: u32 = 16;
/// Most restarts of the driver library's process.
pub const RECOVERY_MAX: u32 = 20;

/// What the environment says, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Simulated GPUs asked for.
    pub mock_gpu: bool,
    /// Number of simulated GPUs; absent: as many as the simulator's default.
    pub gpu_count: Option<u32>,
    /// Time between samples.
    pub poll_interval: Duration,
    /// Restarts of the driver library's process before it is given up.
    pub max_recovery: u32,
    /// NVML library to load; absent: the driver's own.
    pub nvml_library: Option<String>,
}

impl Default for Environment {
    fn default() -> Self {
        Self {
            mock_gpu: false,
            gpu_count: None,
            poll_interval: Duration::from_secs(1),
            max_recovery: 3,
            nvml_library: None,
        }
    }
}

impl Environment {
    /// Reads the variables through `lookup`. A bad value is named in the returned warnings and its default kept.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> (Self, Vec<String>) {
        let mut it = Self::default();
        let mut warnings = Vec::new();
        let mut refuse = |name: &str, value: &str, wanted: &str| {
            warnings.push(format!("{name}={value} is ignored: {wanted}."));
        };
        if let Some(value) = lookup("DUALGPUOPT_MOCK_GPU") {
            match value.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => it.mock_gpu = true,
                "false" | "0" | "no" | "off" | "" => {}
                _ => refuse("DUALGPUOPT_MOCK_GPU", &value, "it takes true or false"),
            }
        }
        if let Some(value) = lookup("DUALGPUOPT_GPU_COUNT") {
            match value.trim().parse::<u32>() {
                Ok(count) if (1..=GPUS_MAX).contains(&count) => it.gpu_count = Some(count),
                _ if value.trim().eq_ignore_ascii_case("auto") => {}
                _ => refuse("DUALGPUOPT_GPU_COUNT", &value, "it takes auto, or 1 to 16"),
            }
        }
        if let Some(value) = lookup("DUALGPUOPT_POLL_INTERVAL") {
            match value.trim().parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok()) {
                Some(interval) if in_range(interval) => it.poll_interval = interval,
                _ => refuse("DUALGPUOPT_POLL_INTERVAL", &value, "it takes 0.1 to 10 seconds"),
            }
        }
        if let Some(value) = lookup("DUALGPUOPT_MAX_RECOVERY") {
            match value.trim().parse::<u32>() {
                Ok(count) if count <= RECOVERY_MAX => it.max_recovery = count,
                _ => refuse("DUALGPUOPT_MAX_RECOVERY", &value, "it takes 0 to 20"),
            }
        }
        it.nvml_library = lookup("DUALGPUOPT_NVML_LIBRARY").filter(|path| !path.trim().is_empty());
        (it, warnings)
    }
}

fn in_range(interval: Duration) -> bool {
    let (min, max) = POLL_INTERVAL_MS;
    (Duration::from_millis(min)..=Duration::from_millis(max)).contains(&interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Environment, Vec<String>) {
        Environment::read(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn good_values_are_taken() {
        let (env, warnings) = read(&[
            ("DUALGPUOPT_MOCK_GPU", "TRUE"),
            ("DUALGPUOPT_GPU_COUNT", "4"),
            ("DUALGPUOPT_POLL_INTERVAL", "0.5"),
        ]);
        assert!(warnings.is_empty());
        assert!(env.mock_gpu);
        assert_eq!(env.gpu_count, Some(4));
        assert_eq!(env.poll_interval, Duration::from_millis(500));
    }

    #[test]
    fn bad_values_are_named_and_the_default_holds() {
        for (name, value) in [
            ("DUALGPUOPT_MOCK_GPU", "maybe"),
            ("DUALGPUOPT_GPU_COUNT", "17"),
            ("DUALGPUOPT_POLL_INTERVAL", "0"),
            ("DUALGPUOPT_POLL_INTERVAL", "NaN"),
            ("DUALGPUOPT_POLL_INTERVAL", "1e400"),
            ("DUALGPUOPT_MAX_RECOVERY", "-1"),
        ] {
            let (env, warnings) = read(&[(name, value)]);
            assert_eq!(env, Environment::default(), "{name}={value}");
            assert_eq!(warnings.len(), 1);
            assert!(warnings[0].starts_with(&format!("{name}={value} is ignored")), "{warnings:?}");
        }
    }
}
