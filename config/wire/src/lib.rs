//! The control plane's protobuf types, generated, without logic.
//!
//! It is a crate of its own so that neither the compiler nor the core ever depends on what goes over
//! that wire.

/// Envoy's types, as the Envoy project names their packages.
pub use envoy_types::pb as envoy;
