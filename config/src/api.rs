//! What the user wrote, typed: one struct per message of Istio's schema, no behaviour.
//!
//! Names: the Rust field is the protobuf name, with an underscore where Rust reserves the word
//! (`match_`). Nested messages, wrappers and members of a oneof are `Option`; plain scalars have
//! their zero value when unset; durations are `Option<Duration>`; maps keep the order of the file.

pub mod authorization_policy;
pub mod destination_rule;
pub mod envoy_filter;
pub mod gateway;
pub mod istio_operator;
pub mod kube;
pub mod local_ratelimit;
pub mod mesh_config;
pub mod peer_authentication;
pub mod proxy_config;
pub mod rate_limit;
pub mod request_authentication;
pub mod service_entry;
pub mod shared;
pub mod sidecar;
pub mod telemetry;
pub mod virtual_service;
pub mod workload_entry;
pub mod workload_group;

pub use crate::message::{Bytes, IntOrString, Map, SecretText};
pub use authorization_policy::AuthorizationPolicy;
pub use destination_rule::DestinationRule;
pub use envoy_filter::EnvoyFilter;
pub use gateway::Gateway;
pub use istio_operator::IstioOperator;
pub use mesh_config::MeshConfig;
pub use peer_authentication::PeerAuthentication;
pub use proxy_config::ProxyConfig;
pub use rate_limit::RateLimit;
pub use request_authentication::RequestAuthentication;
pub use service_entry::ServiceEntry;
pub use sidecar::Sidecar;
pub use telemetry::Telemetry;
pub use virtual_service::VirtualService;
pub use workload_entry::WorkloadEntry;
pub use workload_group::WorkloadGroup;
