//! Tests of the core through its public face, in one binary.
#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test reports by panicking"
)]

#[path = "core/corpora.rs"]
mod corpora;
#[path = "core/corpus.rs"]
mod corpus;
#[path = "core/deadlines.rs"]
mod deadlines;
#[path = "core/golden.rs"]
mod golden;
#[path = "core/model.rs"]
mod model;
#[path = "core/policy.rs"]
mod policy;
#[path = "core/server.rs"]
mod server;
#[path = "core/sim.rs"]
mod sim;
#[path = "core/smuggling.rs"]
mod smuggling;
#[path = "core/upstream.rs"]
mod upstream;
