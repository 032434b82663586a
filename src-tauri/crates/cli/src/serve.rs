//! `dualgpuopt serve`: the app's commands and events behind loopback HTTP and WebSocket, and the window's page.
//!
//! Only 127.0.0.1 is bound. Every call needs the token that is printed at the start (it travels in the URL's fragment,
//! which browsers never send), and a `Host` of this machine, so that neither another page nor a rebound name gets in.

mod api;
mod guard;
mod page;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use dualgpuopt_app::App;
use dualgpuopt_core::error::{AppError, Code};
use tokio::net::TcpListener;

use crate::args::{Args, ServeArgs};
use crate::exit::Failure;
use crate::host::Host;
use crate::output;

/// What every request handler sees.
#[derive(Clone)]
struct Bridge {
    app: App,
    guard: Arc<guard::Guard>,
}

pub(crate) fn run(args: &Args, options: &ServeArgs) -> Result<ExitCode, Failure> {
    let host = Host::start(args, None)?;
    let served = host.runtime.block_on(serve(&host.app, options.port));
    host.shut_down();
    served.map(|()| ExitCode::SUCCESS)
}

async fn serve(app: &App, port: u16) -> Result<(), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| {
        AppError::new(Code::BadRequest, format!("Port {port} on 127.0.0.1 cannot be used: {error}."))
            .hint("Choose another with --port, or 0 for any free one.")
    })?;
    let address: SocketAddr = listener.local_addr()?;
    let guard = Arc::new(guard::Guard::new(address.port())?);
    output::line(&format!("http://{address}/#token={}", guard.token()))?;
    let bridge = Bridge { app: app.clone(), guard };
    let router = Router::new()
        .route("/api/{command}", post(api::command))
        .route("/events", get(api::events))
        .fallback(page::file)
        .layer(axum::middleware::from_fn_with_state(bridge.clone(), guard::check_host))
        .with_state(bridge);
    axum::serve(listener, router).with_graceful_shutdown(asked_to_stop()).await?;
    Ok(())
}

/// Waits for Ctrl+C or SIGTERM.
async fn asked_to_stop() {
    #[cfg(unix)]
    {
        let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
            return;
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    let _ = tokio::signal::ctrl_c().await;
}
