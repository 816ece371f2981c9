//! `RateLimit` (`sallyport.io/v1alpha1`): a kind of our own, for what Istio has Envoy's patches only.

use std::time::Duration;

use super::shared::{PolicyTargetReference, WorkloadSelector};
use crate::message::message;

message! {
    /// Limits of requests, and whose they are.
    pub struct RateLimit [Honoured] {
        selector: Option<WorkloadSelector>,
        target_refs: Vec<PolicyTargetReference>,
        limits: Vec<RequestLimit>,
    }

    /// One limit.
    pub struct RequestLimit [Honoured] {
        name: String,
        hosts: Vec<String>,
        routes: Vec<String>,
        per: Vec<Per>,
        tokens: u32,
        interval: Option<Duration>,
        burst: u32,
        enforce: Option<bool>,
        max_keys: u32,
    }

    /// What has a count of its own.
    pub struct Per [Honoured] {
        client: Option<Whole>,
        host: Option<Whole>,
        route: Option<Whole>,
        header: Option<String>,
        claim: Option<String>,
    }
    oneof [client, host, route, header, claim]

    /// `{}`: as it is.
    pub struct Whole [Honoured] {}
}
