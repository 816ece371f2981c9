//! Tests of the crate from outside: golden cases.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read their cases from files"
)]

#[path = "config/golden.rs"]
mod golden;
#[path = "config/scale.rs"]
mod scale;
