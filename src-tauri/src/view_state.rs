//! The window's place, kept between runs by the store plugin. Losing it costs nothing, so errors are only logged.

use serde::{Deserialize, Serialize};
use tauri::{AppHandle, WebviewWindow};
use tauri_plugin_store::StoreExt as _;

/// File in the app's data folder.
const FILE: &str = "view.json";
/// Key of the window's place.
const PLACE: &str = "window";

/// Where the window stands, in logical pixels.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) maximized: bool,
}

impl Place {
    /// Where a window stands now.
    pub(crate) fn of(window: &WebviewWindow) -> tauri::Result<Self> {
        let scale = window.scale_factor()?;
        let position = window.outer_position()?.to_logical::<f64>(scale);
        let size = window.inner_size()?.to_logical::<f64>(scale);
        let maximized = window.is_maximized()?;
        Ok(Self { x: position.x, y: position.y, width: size.width, height: size.height, maximized })
    }
}

/// The place kept last, where it is sane.
pub(crate) fn last_place(host: &AppHandle) -> Option<Place> {
    let store = host.store(FILE).map_err(|error| tracing::warn!("{FILE} cannot be read: {error}.")).ok()?;
    let place: Place = serde_json::from_value(store.get(PLACE)?).ok()?;
    let sane = |value: f64| value.is_finite() && value.abs() < 32_768.0;
    [place.x, place.y, place.width, place.height].into_iter().all(sane).then_some(place)
}

/// Keeps a place.
pub(crate) fn remember(host: &AppHandle, place: Place) {
    let kept = host.store(FILE).and_then(|store| {
        store.set(PLACE, serde_json::to_value(place)?);
        store.save()
    });
    if let Err(error) = kept {
        tracing::warn!("The window's place is not kept: {error}.");
    }
}
