//! The one window: where it stands, and that it never leaves its own page.

use tauri::{AppHandle, Manager as _, Url, WebviewUrl, WebviewWindowBuilder, WindowEvent};

use crate::view_state::{self, Place};

/// Size of a first start, and the smallest that the layout is drawn for, in logical pixels.
const SIZE: (f64, f64) = (1440.0, 900.0);
const SIZE_MIN: (f64, f64) = (900.0, 600.0);

/// Opens the main window where it was last.
pub(crate) fn open(host: &AppHandle) -> tauri::Result<()> {
    let mut builder = WebviewWindowBuilder::new(host, "main", WebviewUrl::default())
        .title("DualGPUOptimizer")
        .min_inner_size(SIZE_MIN.0, SIZE_MIN.1)
        .on_navigation(stays_home);
    builder = match view_state::last_place(host) {
        Some(place) => builder
            .inner_size(place.width.max(SIZE_MIN.0), place.height.max(SIZE_MIN.1))
            .position(place.x, place.y)
            .maximized(place.maximized),
        None => builder.inner_size(SIZE.0, SIZE.1).center(),
    };
    let window = builder.build()?;
    let watched = window.clone();
    window.on_window_event(move |event| {
        if let WindowEvent::CloseRequested { .. } = event {
            match Place::of(&watched) {
                Ok(place) => view_state::remember(watched.app_handle(), place),
                Err(error) => tracing::warn!("The window's place is not kept: {error}."),
            }
        }
    });
    Ok(())
}

/// The page's own origin: `tauri://localhost`, on Windows `http://tauri.localhost`, and the development server.
fn stays_home(url: &Url) -> bool {
    let home = url.scheme() == "tauri"
        || url.host_str() == Some("tauri.localhost")
        || (cfg!(debug_assertions) && url.host_str() == Some("localhost") && url.port() == Some(5173));
    if !home {
        tracing::warn!("The page wanted to leave for {url}; it stays.");
    }
    home
}
