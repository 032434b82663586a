//! The command line's grammar. Parsing does no work.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use dualgpuopt_core::command::ExportForm;
use dualgpuopt_core::plan::{CacheType, Goal};

/// Plan, launch and watch language models on several GPUs.
///
/// Without a command: opens the window, or the terminal dashboard where there is no display.
#[derive(Debug, Parser)]
#[command(
    name = "dualgpuopt",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong input, 3 no GPU source, 4 the plan does not fit, 5 engine missing or failed."
)]
pub(crate) struct Args {
    /// Simulated GPUs instead of the driver's: two RTX 3090, or the cards named (--mock=4090,3060).
    #[arg(long, global = true, value_name = "CARDS", num_args = 0..=1, require_equals = true, default_missing_value = "", value_delimiter = ',')]
    pub(crate) mock: Option<Vec<String>>,
    /// Terminal dashboard even where there is a display.
    #[arg(long)]
    pub(crate) cli: bool,
    /// Says on stderr what is being done.
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows the GPUs as they are now.
    Status(StatusArgs),
    /// Shows how a model falls on the GPUs, and the command that starts it.
    Plan(PlanArgs),
    /// Shows what a command line of llama-server or vLLM allocates, on the GPUs here or on described ones.
    Estimate(EstimateArgs),
    /// Asks the installed llama.cpp what it allocates, and shows our numbers beside its own.
    Verify(VerifyArgs),
    /// Lists the models on this machine, or well-known ones, and which of them fit.
    Models(ModelsArgs),
    /// Plans a model, starts the engine with the plan, and shows its log until Ctrl+C.
    Run(RunArgs),
    /// Serves the window's page to a browser on this machine.
    Serve(ServeArgs),
}

/// Options of `status`.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Goes on with every sample, until stopped.
    #[arg(long, short)]
    pub(crate) watch: bool,
    /// JSON, one object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `models`.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelsArgs {
    /// Looks in this folder, and only there; may be given several times. Without it: the library's folders, which are those
    /// of llama.cpp, Hugging Face, LM Studio and Ollama, and those that were added in the window.
    #[arg(long, value_name = "DIR", conflicts_with = "catalogue")]
    pub(crate) folder: Vec<PathBuf>,
    /// Well-known models, which can be planned before they are downloaded.
    #[arg(long)]
    pub(crate) catalogue: bool,
    /// JSON, with every byte.
    #[arg(long)]
    pub(crate) json: bool,
    /// Only models whose name, path or architecture holds this.
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Option<String>,
}

/// What to plan.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelArgs {
    /// A GGUF file (of a model in shards, any one of them); catalogue:ID@QUANT for a model that `models --catalogue` lists;
    /// or custom:FILE for one typed by hand, as JSON.
    pub(crate) model: PathBuf,
    /// Context in tokens; without it, the largest that fits.
    #[arg(long, short = 'c', value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub(crate) ctx_size: Option<u32>,
    /// Type of the KV cache.
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = Cache::F16)]
    pub(crate) cache_type: Cache,
    /// Requests at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) parallel: u32,
    /// Tokens per micro-batch.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(32..=4096))]
    pub(crate) ubatch_size: u32,
    /// What the plan should be best at.
    #[arg(long, value_name = "GOAL", value_enum, default_value_t)]
    pub(crate) goal: PlanGoal,
    /// Fixes a choice; may be given several times: mode=layer|tensor, split=40,41 (units per GPU), order=1,0, gpus=all,
    /// kv=q8_0 (or kv=q8_0,f16 for K and V), ctx=N, ubatch=N, parallel=N, experts=N (layers whose experts stay in system RAM).
    #[arg(long, value_name = "CHOICE")]
    pub(crate) pin: Vec<String>,
    /// System RAM that layers or experts may use, GiB; "auto" for what is free now.
    #[arg(long, value_name = "GIB")]
    pub(crate) ram: Option<String>,
}

/// Types of the KV cache that the command line offers.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Cache {
    /// 16 bits a value.
    #[value(name = "f16")]
    F16,
    /// 8.5 bits a value.
    #[value(name = "q8_0")]
    Q8,
    /// 4.5 bits a value.
    #[value(name = "q4_0")]
    Q4,
}

impl From<Cache> for CacheType {
    fn from(cache: Cache) -> Self {
        match cache {
            Cache::F16 => Self::F16,
            Cache::Q8 => Self::Q8_0,
            Cache::Q4 => Self::Q4_0,
        }
    }
}

/// What a plan is best at.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum PlanGoal {
    /// Most tokens per second of one request.
    #[default]
    Fastest,
    /// Most tokens per second of all parallel requests together.
    Throughput,
    /// The longest context.
    Context,
    /// The most memory left on the GPU with the least.
    Headroom,
}

impl From<PlanGoal> for Goal {
    fn from(goal: PlanGoal) -> Self {
        match goal {
            PlanGoal::Fastest => Self::Fastest,
            PlanGoal::Throughput => Self::Throughput,
            PlanGoal::Context => Self::Context,
            PlanGoal::Headroom => Self::Headroom,
        }
    }
}

/// Options of `plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Cards to plan for instead of the GPUs here, parted by commas: "RTX 4090,RTX 3060@pcie4x4+free=11GiB".
    #[arg(long, value_name = "LIST")]
    pub(crate) gpus: Option<String>,
    /// The most that the plan may take on a GPU, by its number or UUID: 1=20 (GiB). May be given several times.
    #[arg(long, value_name = "GPU=GIB")]
    pub(crate) budget: Vec<String>,
    /// Plans as if: off=1 (that GPU were switched off), add=RTX 4090 (that card were here). May be given several times.
    #[arg(long, value_name = "CHANGE")]
    pub(crate) what_if: Vec<String>,
    /// Tokens already in the cache for which the speed of generation is told.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=16_777_216))]
    pub(crate) depth: u32,
    /// Also shows the plans that no other beats in speed, context, quality of the cache and memory left together.
    #[arg(long)]
    pub(crate) alternatives: bool,
    /// JSON, with every byte.
    #[arg(long)]
    pub(crate) json: bool,
    /// Where every byte comes from, by formulas.
    #[arg(long)]
    pub(crate) explain: bool,
    #[command(flatten)]
    pub(crate) export: ExportArgs,
}

/// Where the command of a plan goes, and in which form.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// Writes the plan's command to this file instead of showing the plan, in the form that its ending says (.sh, .ps1,
    /// .cmd, .service, .yaml, .env). A file that is there is kept as FILE.bak.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "explain"])]
    pub(crate) export: Option<PathBuf>,
    /// The form, whatever the file's ending; without a file, the command is printed.
    #[arg(long, value_name = "FORM", value_enum, conflicts_with_all = ["json", "explain"])]
    pub(crate) export_as: Option<Form>,
}

impl ExportArgs {
    /// Whether the command is wanted, and not the plan.
    pub(crate) const fn is_wanted(&self) -> bool {
        self.export.is_some() || self.export_as.is_some()
    }
}

/// Forms of a command.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Form {
    /// A script for bash.
    Bash,
    /// A script for PowerShell.
    #[value(name = "powershell")]
    PowerShell,
    /// A batch file for Windows.
    Cmd,
    /// A unit for systemd.
    Systemd,
    /// A file for docker compose.
    Compose,
    /// The environment alone.
    Env,
}

impl From<Form> for ExportForm {
    fn from(form: Form) -> Self {
        match form {
            Form::Bash => Self::Bash,
            Form::PowerShell => Self::PowerShell,
            Form::Cmd => Self::Cmd,
            Form::Systemd => Self::Systemd,
            Form::Compose => Self::Compose,
            Form::Env => Self::Env,
        }
    }
}

/// Options of `estimate`.
#[derive(Debug, clap::Args)]
pub(crate) struct EstimateArgs {
    /// GPUs to assume instead of those here, parted by commas: free memory (23700MiB@cc8.6), or a card's name with all of
    /// its memory free ("RTX 4090", "RTX 4090@free=22GiB", "RTX 3090@pcie3x8+nvlink"); "none" for no GPU.
    #[arg(long, value_name = "LIST")]
    pub(crate) gpus: Option<String>,
    /// Tokens of the prompt whose reading is predicted.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub(crate) prompt: u32,
    /// Tokens already in the cache when speed is predicted.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=16_777_216))]
    pub(crate) depth: u32,
    /// Build number of llama.cpp whose speed is predicted, such as 3400; without it, the current one.
    #[arg(long, value_name = "N")]
    pub(crate) build: Option<u32>,
    /// JSON, with every byte.
    #[arg(long)]
    pub(crate) json: bool,
    /// The command line: variables in front, llama-server or vllm serve, and its flags.
    #[arg(last = true, required = true, value_name = "llama-server ARGS | vllm serve ARGS")]
    pub(crate) command: Vec<String>,
}

/// Options of `verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// JSON, with every byte.
    #[arg(long)]
    pub(crate) json: bool,
    /// Path of llama-server; without it, the one from the settings, else the one on PATH.
    #[arg(long, value_name = "PATH")]
    pub(crate) engine: Option<PathBuf>,
    /// A GGUF file; of a model in shards, the first one.
    pub(crate) model: PathBuf,
    /// Flags of llama-server, such as -c 8192 -ngl 20.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    pub(crate) flags: Vec<String>,
}

/// Options of `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Port for the server; without it, the first free one from 8080 on.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Path of llama-server; without it, the one from the settings, else the one on PATH.
    #[arg(long, value_name = "PATH")]
    pub(crate) engine: Option<PathBuf>,
}

/// Options of `serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Port on 127.0.0.1; 0 takes any free one.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    #[test]
    fn mock_takes_cards_only_behind_an_equals_sign() {
        let parse = |line: &str| Args::try_parse_from(line.split(' ')).expect("valid");
        assert_eq!(parse("dualgpuopt status").mock, None);
        assert_eq!(parse("dualgpuopt --mock status").mock, Some(vec![String::new()]));
        assert_eq!(parse("dualgpuopt status --mock=4090,3060").mock, Some(vec!["4090".into(), "3060".into()]));
    }
}
