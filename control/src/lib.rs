//! The companion of the gateway: what people type, and later a small control process.
//!
//! [`ctl`] is `sallyctl`. It reads the same files as the gateway, through the same compiler, so
//! what it says offline is what the gateway does.

pub mod ctl;
