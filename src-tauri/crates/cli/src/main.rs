//! `dualgpuopt`: the command line, the terminal dashboard, and the bridge to a browser. Links no web view.

mod args;
mod estimate;
mod estimate_vllm;
mod exit;
mod explained;
mod export;
mod host;
mod models;
mod output;
mod plan;
mod render;
mod run;
mod serve;
mod status;
mod tui;
mod verify;
mod window;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Command};
use crate::exit::Failure;

fn main() -> ExitCode {
    if let Some(code) = dualgpuopt_app::run_hidden_entry() {
        return code;
    }
    let args = Args::parse();
    host::log_to_stderr(args.verbose);
    match go(&args) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn go(args: &Args) -> Result<ExitCode, Failure> {
    match &args.command {
        Some(Command::Status(options)) => status::run(args, options),
        Some(Command::Plan(options)) => plan::run(args, options),
        Some(Command::Estimate(options)) => estimate::run(args, options),
        Some(Command::Verify(options)) => verify::run(args, options),
        Some(Command::Models(options)) => models::run(args, options),
        Some(Command::Run(options)) => run::run(args, options),
        Some(Command::Serve(options)) => serve::run(args, options),
        None if !args.cli && dualgpuopt_app::display::can_open() => window::open(args),
        None => tui::run(args),
    }
}
