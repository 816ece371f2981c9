//! The control plane's protobuf types, generated, without logic.
//!
//! Empty until the control process arrives. It is a crate of its own so that neither the compiler
//! nor the core ever depends on what goes over that wire.
