//! Commands as POST, events as a WebSocket.

use axum::Json;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use dualgpuopt_app::{App, Listener};
use dualgpuopt_core::error::{AppError, Code};
use serde::Deserialize;
use serde_json::Value;

use super::Bridge;

/// Runs one of the registry's commands: a JSON object of arguments in, its result or an [`AppError`] out.
pub(super) async fn command(
    State(bridge): State<Bridge>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if !token.is_some_and(|token| bridge.guard.admits(token)) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match dispatch(&bridge.app, &name, &body).await {
        Ok(value) => Json(value).into_response(),
        Err(error) => {
            let status = match error.code {
                Code::Internal | Code::Store => StatusCode::INTERNAL_SERVER_ERROR,
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            };
            (status, Json(error)).into_response()
        }
    }
}

macro_rules! http_commands {
    ($( $(#[$doc:meta])* $name:ident ( $($arg:ident : $ty:ty),* ) -> $ret:ty; )*) => {
        async fn dispatch(app: &App, name: &str, body: &[u8]) -> Result<Value, AppError> {
            match name {
                $(stringify!($name) => {
                    #[derive(Deserialize)]
                    #[serde(deny_unknown_fields)]
                    struct Arguments { $($arg: $ty),* }
                    let Arguments { $($arg),* } = arguments(body)?;
                    result(&app.$name($($arg),*).await?)
                })*
                _ => Err(AppError::new(Code::BadRequest, format!("There is no command {name}."))),
            }
        }
    };
}

dualgpuopt_app::for_each_command!(http_commands);

fn arguments<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, AppError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| AppError::new(Code::BadRequest, format!("The arguments cannot be read: {error}.")))
}

fn result<T: serde::Serialize>(value: &T) -> Result<Value, AppError> {
    serde_json::to_value(value)
        .map_err(|error| AppError::new(Code::Internal, "The answer could not be written as JSON.").caused_by(&error))
}

#[derive(Deserialize)]
pub(super) struct Token {
    token: String,
}

/// Streams every event as one JSON message. Browsers cannot set headers here, so the token comes in the query.
pub(super) async fn events(
    State(bridge): State<Bridge>,
    Query(Token { token }): Query<Token>,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !bridge.guard.admits(&token) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    // Listening begins before the page learns that it may ask for the state, so that nothing falls in between.
    let events = bridge.app.events();
    upgrade.on_upgrade(move |socket| stream(events, socket))
}

async fn stream(mut events: Listener, mut socket: WebSocket) {
    loop {
        tokio::select! {
            event = events.next() => {
                let Some(event) = event else { return };
                let Ok(text) = serde_json::to_string(&event) else { continue };
                if socket.send(Message::Text(text.into())).await.is_err() { return }
            }
            // Nothing is taken from the page here; reading is how its leaving is noticed.
            heard = socket.recv() => if !matches!(heard, Some(Ok(_))) { return },
        }
    }
}
