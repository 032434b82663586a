//! The launcher through real processes: a host program as small as can be, and engines that behave badly.
//! Both are examples of this crate, which `cargo test` builds.
#![cfg(target_os = "linux")]

mod flow;
mod logs;
mod refusals;
mod rig;
mod trees;
