//! Opens the window: hands over to the desktop program that lies beside this one.

use std::process::ExitCode;

use crate::args::Args;
use crate::exit::Failure;
use crate::{output, tui};

/// Name of the desktop program.
const DESKTOP: &str = if cfg!(windows) { "dualgpuopt-desktop.exe" } else { "dualgpuopt-desktop" };

pub(crate) fn open(args: &Args) -> Result<ExitCode, Failure> {
    let desktop = std::env::current_exe()?.with_file_name(DESKTOP);
    if !desktop.is_file() {
        output::progress(&format!("{} is not installed; this is the terminal dashboard.", desktop.display()));
        return tui::run(args);
    }
    let mut passed = Vec::new();
    if let Some(cards) = &args.mock {
        let cards = cards.join(",");
        passed.push(if cards.is_empty() { "--mock".to_owned() } else { format!("--mock={cards}") });
    }
    if args.verbose {
        passed.push("--verbose".to_owned());
    }
    Err(dualgpuopt_launch::spawn::replace_with(desktop.as_os_str(), &passed, &[]).into())
}
