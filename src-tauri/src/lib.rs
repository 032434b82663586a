//! The desktop window: a thin host of the app crate. It wires; it decides nothing about GPUs, models or engines.

#![deny(missing_docs)]

mod bindings;
mod commands;
mod events;
mod notify;
mod view_state;
mod webkit;
mod window;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use dualgpuopt_app::api::SourceChoice;
use dualgpuopt_app::{App, Deps, environment};
use tauri::{AppHandle, Manager as _, RunEvent};
use tauri_specta::Event as _;

pub use bindings::export;

/// DualGPUOptimizer's window. The command line is `dualgpuopt`.
#[derive(Debug, Parser)]
#[command(name = "dualgpuopt-desktop", version)]
struct Args {
    /// Simulated GPUs: two RTX 3090, or the cards named (--mock=4090,3060).
    #[arg(long, value_name = "CARDS", num_args = 0..=1, require_equals = true, default_missing_value = "", value_delimiter = ',')]
    mock: Option<Vec<String>>,
    /// Says on stderr what is being done.
    #[arg(long, short)]
    verbose: bool,
}

/// Set once every process of ours has ended and the program may exit.
static ENDED: AtomicBool = AtomicBool::new(false);

/// Opens the window and runs until it is closed.
#[must_use]
pub fn run() -> ExitCode {
    let args = Args::parse();
    let level = if args.verbose { tracing::Level::DEBUG } else { tracing::Level::WARN };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false).init();
    if !environment::has_display() {
        tracing::error!("There is no display to open a window on. `dualgpuopt` shows the terminal dashboard.");
        return ExitCode::FAILURE;
    }
    webkit::work_around_nvidia();
    match start(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("The window could not be opened: {error:#}.");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> anyhow::Result<()> {
    let (environment, warnings) = environment::read();
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let source = match &args.mock {
        Some(cards) => {
            let cards: Vec<String> = cards.iter().filter(|card| !card.is_empty()).cloned().collect();
            SourceChoice::Simulated { cards }
        }
        None => SourceChoice::from_environment(&environment),
    };
    let deps = Deps {
        program: std::env::current_exe()?,
        config_dir: dualgpuopt_store::paths::config_dir(),
        environment,
        source,
        engine: None,
    };
    let registry = bindings::builder();
    let app = tauri::async_runtime::block_on(async { App::begin(deps) })?;
    let built = tauri::Builder::default()
        .plugin(tauri_plugin_dialog::init())
        .plugin(tauri_plugin_notification::init())
        .plugin(tauri_plugin_store::Builder::new().build())
        .manage(app.clone())
        .invoke_handler(registry.invoke_handler())
        .setup(move |host| {
            registry.mount_events(host);
            window::open(host.handle())?;
            tauri::async_runtime::spawn(pass_on(host.handle().clone(), app.clone()));
            Ok(())
        })
        .build(tauri::generate_context!())?;
    built.run(on_run_event);
    Ok(())
}

/// Hands every event of the app to the page, and the grave ones to the desktop.
async fn pass_on(host: AppHandle, app: App) {
    let mut events = app.events();
    while let Some(event) = events.next().await {
        notify::consider(&host, &event);
        if let Err(error) = events::AppEventMessage(event).emit(&host) {
            tracing::warn!("An event did not reach the page: {error}.");
        }
    }
}

/// Keeps the program alive after the last window until every engine has ended.
fn on_run_event(host: &AppHandle, event: RunEvent) {
    if let RunEvent::ExitRequested { api, .. } = event
        && !ENDED.load(Ordering::SeqCst)
    {
        api.prevent_exit();
        let host = host.clone();
        tauri::async_runtime::spawn(async move {
            host.state::<App>().inner().clone().shut_down().await;
            ENDED.store(true, Ordering::SeqCst);
            host.exit(0);
        });
    }
}
