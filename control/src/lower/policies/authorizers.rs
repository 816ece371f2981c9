//! Whom CUSTOM policies ask, as Envoy's `ext_authz` filters.
//!
//! Each stands behind an RBAC filter whose shadow rules say in metadata which policy matches; where
//! none does, nobody is asked. Istio `pilot/pkg/security/authz/builder/extauthz.go`.

use super::super::cluster_name;
use super::super::values::{any, duration, wildcard};
use sallyport_config::ir::{Authorizer, CheckProtocol, HttpCheck, Snapshot, TextMatch};
use sallyport_wire::envoy::envoy::config::core::v3::{
    ApiVersion, GrpcService, HeaderValue, HttpUri, grpc_service, http_uri,
};
use sallyport_wire::envoy::envoy::extensions::filters::http::ext_authz::v3::{
    AuthorizationRequest, AuthorizationResponse, BufferSettings, ExtAuthz, HttpService, ext_authz,
};
use sallyport_wire::envoy::envoy::extensions::filters::network::ext_authz::v3::ExtAuthz as NetworkExtAuthz;
use sallyport_wire::envoy::envoy::r#type::matcher::v3::{
    ListStringMatcher, MetadataMatcher, StringMatcher, ValueMatcher,
    metadata_matcher::{PathSegment, path_segment},
    string_matcher::MatchPattern,
    value_matcher,
};
use sallyport_wire::envoy::envoy::r#type::v3::{HttpStatus, StatusCode};
use sallyport_wire::envoy::google::protobuf::Any;

/// Name of the HTTP filter.
pub(super) const HTTP: &str = "envoy.filters.http.ext_authz";
/// Name of the network filter.
pub(super) const NETWORK: &str = "envoy.filters.network.ext_authz";
/// Prefix of what shadow rules of CUSTOM policies leave in metadata.
pub(super) const SHADOW: &str = "istio_ext_authz_";
/// Key of the rule that matches, behind [`SHADOW`].
const EFFECTIVE: &str = "shadow_effective_policy_id";
/// How ids of CUSTOM policies begin.
const CUSTOM: &str = "istio-ext-authz";
/// Istio's prefix of the statistics of the network filter.
const STATISTICS: &str = "tcp.";

/// The filter of an HTTP connection manager; `rules` names the RBAC filter before it.
pub(super) fn http(snapshot: &Snapshot, asked: &Authorizer, rules: &str) -> ExtAuthz {
    let (services, allowed_headers) = match &asked.protocol {
        CheckProtocol::Grpc => {
            let service = grpc(snapshot, asked);
            (ext_authz::Services::GrpcService(service), None)
        }
        CheckProtocol::Http(check) => {
            let service = over_http(snapshot, asked, check);
            (
                ext_authz::Services::HttpService(service),
                names(&check.include),
            )
        }
    };
    ExtAuthz {
        transport_api_version: ApiVersion::V3.into(),
        failure_mode_allow: asked.fail_open,
        with_request_body: asked.body.map(|body| BufferSettings {
            max_request_bytes: body.bytes,
            allow_partial_message: body.partial,
            pack_as_bytes: body.raw,
        }),
        // routes see what an authorizer changed
        clear_route_cache: true,
        status_on_error: Some(status(asked.status_on_error)),
        filter_enabled_metadata: Some(matched(rules)),
        allowed_headers,
        services: Some(services),
        ..ExtAuthz::default()
    }
}

/// The filter before bytes; none where the authorizer can be asked about requests only: Istio
/// ignores the policy there.
pub(super) fn network(snapshot: &Snapshot, asked: &Authorizer, rules: &str) -> Option<Any> {
    (asked.protocol == CheckProtocol::Grpc).then(|| {
        any(&NetworkExtAuthz {
            stat_prefix: STATISTICS.to_owned(),
            grpc_service: Some(grpc(snapshot, asked)),
            failure_mode_allow: asked.fail_open,
            transport_api_version: ApiVersion::V3.into(),
            filter_enabled_metadata: Some(matched(rules)),
            ..NetworkExtAuthz::default()
        })
    })
}

/// Holds when the RBAC filter of this name has found a CUSTOM policy.
fn matched(rules: &str) -> MetadataMatcher {
    let key = path_segment::Segment::Key(format!("{SHADOW}{EFFECTIVE}"));
    let begins = StringMatcher {
        match_pattern: Some(MatchPattern::Prefix(CUSTOM.to_owned())),
        ..StringMatcher::default()
    };
    MetadataMatcher {
        filter: rules.to_owned(),
        path: vec![PathSegment { segment: Some(key) }],
        value: Some(ValueMatcher {
            match_pattern: Some(value_matcher::MatchPattern::StringMatch(begins)),
        }),
        ..MetadataMatcher::default()
    }
}

fn grpc(snapshot: &Snapshot, asked: &Authorizer) -> GrpcService {
    let service = grpc_service::EnvoyGrpc {
        cluster_name: cluster_name(snapshot, asked.cluster),
        authority: asked.host.clone(),
        ..grpc_service::EnvoyGrpc::default()
    };
    GrpcService {
        target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(service)),
        timeout: duration(asked.timeout),
        ..GrpcService::default()
    }
}

fn over_http(snapshot: &Snapshot, asked: &Authorizer, check: &HttpCheck) -> HttpService {
    let add = |(key, value): &(String, String)| HeaderValue {
        key: key.clone(),
        value: value.clone(),
        ..HeaderValue::default()
    };
    let cluster = cluster_name(snapshot, asked.cluster);
    HttpService {
        server_uri: Some(HttpUri {
            // wanted, and not looked at
            uri: format!("http://{}", asked.host),
            http_upstream_type: Some(http_uri::HttpUpstreamType::Cluster(cluster)),
            timeout: duration(asked.timeout),
        }),
        path_prefix: check.path_prefix.clone(),
        authorization_request: Some(AuthorizationRequest {
            headers_to_add: check.add.iter().map(add).collect(),
            ..AuthorizationRequest::default()
        }),
        authorization_response: Some(AuthorizationResponse {
            allowed_upstream_headers: names(&check.to_upstream),
            allowed_client_headers: names(&check.on_deny),
            allowed_client_headers_on_success: names(&check.on_allow),
            ..AuthorizationResponse::default()
        }),
        ..HttpService::default()
    }
}

/// Names of fields in any case; none where none is named.
fn names(names: &[TextMatch]) -> Option<ListStringMatcher> {
    let any_case = |name: &TextMatch| StringMatcher {
        // a regular expression has no such switch, and does not need one
        ignore_case: !matches!(name, TextMatch::Present),
        ..wildcard(name)
    };
    (!names.is_empty()).then(|| ListStringMatcher {
        patterns: names.iter().map(any_case).collect(),
    })
}

/// A status, if Envoy knows it; it refuses any other.
fn status(code: u16) -> HttpStatus {
    let known = StatusCode::try_from(i32::from(code));
    let known = known.unwrap_or(StatusCode::Forbidden);
    HttpStatus { code: known.into() }
}
