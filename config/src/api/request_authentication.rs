//! `RequestAuthentication` (`security/v1beta1/request_authentication.proto`).

use std::time::Duration;

use super::shared::{PolicyTargetReference, WorkloadSelector};
use crate::message::{enumeration, message};

message! {
    /// Which tokens are checked, and how.
    pub struct RequestAuthentication [Honoured] {
        selector: Option<WorkloadSelector>,
        target_ref: Option<PolicyTargetReference>,
        target_refs: Vec<PolicyTargetReference>,
        jwt_rules: Vec<JwtRule>,
    }

    /// One issuer.
    pub struct JwtRule [Honoured] {
        issuer: String,
        audiences: Vec<String>,
        jwks_uri also "jwks_uri": String,
        jwks: String,
        from_headers: Vec<JwtHeader>,
        from_params: Vec<String>,
        from_cookies: Vec<String>,
        output_payload_to_header: String,
        output_claim_to_headers: Vec<ClaimToHeader>,
        forward_original_token: bool,
        timeout: Option<Duration> => Later("fetching keys"),
        space_delimited_claims: Vec<String>,
        presence: Presence,
    }

    /// A header that carries the token.
    pub struct JwtHeader [Honoured] {
        name: String,
        prefix: String,
    }

    /// A claim that is copied to a header.
    pub struct ClaimToHeader [Honoured] {
        header: String,
        claim: String,
    }
}

enumeration! {
    /// Whether a token must be there.
    pub enum Presence {
        Optional = "OPTIONAL",
        Required = "REQUIRED",
    }
}
