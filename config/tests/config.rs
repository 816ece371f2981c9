//! Tests of the crate from outside: golden cases, views, size.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that cannot read its case has to end"
)]

#[path = "config/cases.rs"]
mod cases;
#[path = "config/golden.rs"]
mod golden;
#[path = "config/rules.rs"]
mod rules;
#[path = "config/scale.rs"]
mod scale;
#[path = "config/sidecars.rs"]
mod sidecars;
#[path = "config/tidy.rs"]
mod tidy;
#[path = "config/views.rs"]
mod views;
