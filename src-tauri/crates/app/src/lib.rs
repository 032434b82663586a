//! app
pub mod api;
