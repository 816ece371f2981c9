//! The control plane's protobuf types, without logic.
//!
//! It is a crate of its own so that neither the compiler nor the core ever depends on what goes over
//! that wire.

pub mod document;
pub mod health;
pub mod istio_ca;

/// Envoy's types, as the Envoy project names their packages.
pub use envoy_types::pb as envoy;
