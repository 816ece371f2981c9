//! The companion of the gateway: what people type, and a small control process.
//!
//! [`ctl`] is `sallyctl`. It reads the same files as the gateway, through the same compiler, so
//! what it says offline is what the gateway does. The control process gives each [`proxy`] its
//! [`resources`], which [`lower`] makes of the same world, over a [`session`] of xDS.

pub mod ctl;
pub mod lower;
pub mod proxy;
pub mod resources;
pub mod session;
