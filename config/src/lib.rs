//! Istio configuration in, one immutable snapshot out; no I/O, no clock.
//!
//! Text becomes typed [`api`] objects in a [`resource::ResourceSet`], every field with its place;
//! everything wrong with it becomes [`diag::Diagnostics`], all at once.

pub mod analyze;
pub mod api;
pub mod check;
pub mod compile;
pub mod coverage;
pub mod delta;
pub mod diag;
pub mod document;
pub mod endpoints;
#[doc(hidden)]
pub mod fuzzing;
#[doc(hidden)]
pub mod golden;
pub mod ir;
mod local_ratelimit;
pub mod memory;
pub mod message;
pub mod model;
pub mod parse;
pub mod pipeline;
pub mod print;
pub mod re2;
pub mod resource;
pub mod retain;
pub mod source;
pub mod template;
pub mod view;
pub mod world;
pub mod yaml;

pub use compile::{
    Compiled, CompiledSidecar, compile, compile_inbound, compile_outbound, compile_sidecar,
    key_sources,
};
pub use diag::{Diagnostic, Diagnostics};
pub use parse::{Parsed, parse};
pub use view::{OwnPorts, SidecarView, View};
pub use world::World;
