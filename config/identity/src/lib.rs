//! A workload's identity: its name, and the certificate that proves it, asked for, checked, kept for
//! the next start and renewed. What joins a mesh uses it: the agent beside an Envoy, and the gateway.

mod held;
mod join;
mod leaf;
mod name;
pub mod private;

pub use held::Held;
pub use join::{Member, channel, first, plaintext, renew};
pub use leaf::{BACKDATE, identity_of, life_of};
pub use name::{Identity, NotAnIdentity};
