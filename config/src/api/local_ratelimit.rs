//! Envoy's `LocalRateLimit` (`extensions/filters/http/local_ratelimit/v3/local_rate_limit.proto`), as far
//! as it is understood inside an `EnvoyFilter`.

use std::time::Duration;

use crate::message::{IntOrString, enumeration, message};

message! {
    /// Configuration of the filter.
    pub struct LocalRateLimit [Honoured] {
        stat_prefix: String,
        status: Option<HttpStatus>,
        token_bucket: Option<TokenBucket>,
        filter_enabled: Option<RuntimeShare>,
        filter_enforced: Option<RuntimeShare>,
        response_headers_to_add: Vec<HeaderOption>,
        rate_limited_as_resource_exhausted: bool,
        local_rate_limit_per_downstream_connection: bool,
        enable_x_ratelimit_headers: String,
        always_consume_default_token_bucket: Option<bool>,
        stage: u32,
    }

    /// Status of a refusal.
    pub struct HttpStatus [Honoured] {
        code: Option<IntOrString>,
    }

    /// The bucket.
    pub struct TokenBucket [Honoured] {
        max_tokens: u32,
        tokens_per_fill: Option<u32>,
        fill_interval: Option<Duration>,
    }

    /// A share that a runtime key could change; there is none here.
    pub struct RuntimeShare [Honoured] {
        default_value: Option<Share>,
        runtime_key: String,
    }

    /// A share.
    pub struct Share [Honoured] {
        numerator: u32,
        denominator: Denominator,
    }

    /// A field of a refusal.
    pub struct HeaderOption [Honoured] {
        header: Option<HeaderValue>,
        append: Option<bool>,
        append_action: String,
        keep_empty_value: bool,
    }

    /// A field.
    pub struct HeaderValue [Honoured] {
        key: String,
        value: String,
    }
}

enumeration! {
    /// Parts of a whole.
    pub enum Denominator {
        Hundred = "HUNDRED",
        TenThousand = "TEN_THOUSAND",
        Million = "MILLION",
    }
}
