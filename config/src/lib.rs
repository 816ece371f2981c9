//! Istio configuration in, one immutable snapshot out.

pub mod ir;
pub mod model;
