//! The HTTP connection manager: what is done to every request before and after a route.
//!
//! Istio `pilot/pkg/networking/core/gateway.go` (`buildGatewayConnectionManager`) and
//! `listener_builder.go` (`buildHTTPConnectionManager`). The order of filters is Istio's: limits
//! that need no route, external authorization, tokens, policies, limits of routes, gRPC-Web, fault,
//! CORS, router.

use super::actions::{CORS, FAULT};
use super::matches::JWT;
use super::values::{ads, any, flag, limit, number};
use super::{Form, dynamic, jwt, limits, log, policies, routes};
use prost::{Message, Name};
use sallyport_config::ir::{
    ConnectionSettings, EscapedSlashes, ForwardClientCert, HttpService, LimitStage,
    PathNormalization, Snapshot, UnderscoreAction,
};
use sallyport_wire::envoy::envoy::config::core::v3::{
    Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions,
    http_protocol_options::HeadersWithUnderscoresAction,
};
use sallyport_wire::envoy::envoy::config::listener::v3::{Filter, filter};
use sallyport_wire::envoy::envoy::extensions::filters::http::cors::v3::Cors;
use sallyport_wire::envoy::envoy::extensions::filters::http::fault::v3::HttpFault;
use sallyport_wire::envoy::envoy::extensions::filters::http::grpc_web::v3::GrpcWeb;
use sallyport_wire::envoy::envoy::extensions::filters::http::router::v3::Router;
use sallyport_wire::envoy::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_connection_manager as manager, http_filter,
};

/// Name of the network filter.
const MANAGER: &str = "envoy.filters.network.http_connection_manager";

/// Where a manager stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// At an edge: whoever comes is a stranger.
    Gateway {
        /// Port of the listener.
        port: u16,
    },
    /// Before a workload, for who calls it.
    Inbound {
        /// Port of the workload; 0 for all that have no listener of their own.
        port: u16,
    },
    /// Before a workload, for what it calls. Policies are asked at the other end.
    Outbound,
}

/// A connection manager.
pub(super) fn manager(
    snapshot: &Snapshot,
    role: Role,
    routes: manager::RouteSpecifier,
    grpc_web: bool,
    stat: &str,
) -> Filter {
    let settings = &snapshot.settings;
    let connection = &settings.connection;
    let mut manager = HttpConnectionManager {
        stat_prefix: stat.to_owned(),
        route_specifier: Some(routes),
        http_filters: filters(snapshot, role, grpc_web),
        access_log: log::access_log(settings.access_log.as_ref()),
        use_remote_address: flag(matches!(role, Role::Gateway { .. })),
        xff_num_trusted_hops: settings.trusted_hops,
        generate_request_id: flag(settings.request_id),
        append_x_forwarded_port: settings.x_forwarded_port,
        proxy_100_continue: true,
        upgrade_configs: vec![manager::UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..manager::UpgradeConfig::default()
        }],
        stream_idle_timeout: limit(connection.stream_idle_timeout),
        request_timeout: limit(connection.request_timeout),
        request_headers_timeout: limit(connection.request_headers_timeout),
        drain_timeout: limit(Some(settings.drain)),
        common_http_protocol_options: Some(common(connection)),
        http_protocol_options: Some(Http1ProtocolOptions {
            accept_http_10: settings.http10,
            ..Http1ProtocolOptions::default()
        }),
        http2_protocol_options: Some(http2(connection)),
        ..HttpConnectionManager::default()
    };
    paths(&mut manager, settings.path_normalization, connection);
    match &settings.server_header {
        // an answer to the workload is its upstream's
        Some(name) if role != Role::Outbound => manager.server_name.clone_from(name),
        _ => {
            manager
                .set_server_header_transformation(manager::ServerHeaderTransformation::PassThrough);
        }
    }
    match role {
        Role::Gateway { .. } => {
            client_certificate(&mut manager, settings.forward_client_cert, true)
        }
        Role::Inbound { .. } => {
            client_certificate(&mut manager, ForwardClientCert::AppendForward, false);
        }
        Role::Outbound => {}
    }
    Filter {
        name: MANAGER.to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(any(&manager))),
    }
}

/// The routes of a service; none for a table that does not exist.
pub(super) fn specifier(
    snapshot: &Snapshot,
    service: &HttpService,
    form: Form,
) -> Option<manager::RouteSpecifier> {
    let at = usize::try_from(service.routes.0).ok();
    let table = at.and_then(|at| snapshot.route_tables.get(at))?;
    Some(match form {
        Form::Inline => manager::RouteSpecifier::RouteConfig(routes::table(snapshot, table)),
        Form::Discovery => by_name(&table.name),
    })
}

/// A table that is fetched by its name.
pub(super) fn by_name(table: &str) -> manager::RouteSpecifier {
    manager::RouteSpecifier::Rds(Rds {
        config_source: Some(ads()),
        route_config_name: table.to_owned(),
    })
}

/// A filter by name.
pub(super) fn filter<M: Message + Name>(name: &str, config: &M) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(any(config))),
        ..HttpFilter::default()
    }
}

fn filters(snapshot: &Snapshot, role: Role, grpc_web: bool) -> Vec<HttpFilter> {
    let mut filters = Vec::new();
    let port = match role {
        Role::Gateway { port } | Role::Inbound { port } => Some(port),
        Role::Outbound => None,
    };
    if let Some(port) = port {
        filters.extend(limits::filters(snapshot, LimitStage::First, port));
        filters.extend(policies::custom(snapshot));
        if let Some(tokens) = jwt::authentication(&snapshot.policies.jwt) {
            filters.push(filter(JWT, &tokens));
        }
        filters.extend(policies::http(&snapshot.policies));
        filters.extend(limits::filters(snapshot, LimitStage::Routed, port));
    }
    if grpc_web {
        filters.push(filter("envoy.filters.http.grpc_web", &GrpcWeb {}));
    }
    filters.push(filter(FAULT, &HttpFault::default()));
    filters.push(filter(CORS, &Cors {}));
    if role == Role::Outbound && !dynamic::names(snapshot).is_empty() {
        filters.push(filter(dynamic::HTTP, &dynamic::http()));
    }
    let router = Router {
        suppress_envoy_headers: !snapshot.settings.debug_headers,
        ..Router::default()
    };
    filters.push(filter("envoy.filters.http.router", &router));
    filters
}

fn paths(
    manager: &mut HttpConnectionManager,
    normalization: PathNormalization,
    connection: &ConnectionSettings,
) {
    use manager::PathWithEscapedSlashesAction as Action;
    manager.normalize_path = flag(normalization != PathNormalization::None);
    manager.merge_slashes = connection.merge_slashes
        || matches!(
            normalization,
            PathNormalization::MergeSlashes | PathNormalization::DecodeAndMergeSlashes
        );
    let decode = normalization == PathNormalization::DecodeAndMergeSlashes;
    let action = match connection.escaped_slashes {
        EscapedSlashes::Keep if decode => Action::UnescapeAndForward,
        EscapedSlashes::Keep => Action::KeepUnchanged,
        EscapedSlashes::Reject => Action::RejectRequest,
        EscapedSlashes::UnescapeAndRedirect => Action::UnescapeAndRedirect,
        EscapedSlashes::UnescapeAndForward => Action::UnescapeAndForward,
    };
    manager.set_path_with_escaped_slashes_action(action);
}

fn common(connection: &ConnectionSettings) -> HttpProtocolOptions {
    let mut options = HttpProtocolOptions {
        idle_timeout: limit(connection.idle_timeout),
        max_connection_duration: connection
            .max_connection_duration
            .and_then(super::values::duration),
        max_stream_duration: connection
            .max_stream_duration
            .and_then(super::values::duration),
        ..HttpProtocolOptions::default()
    };
    options.set_headers_with_underscores_action(match connection.underscores {
        UnderscoreAction::Allow => HeadersWithUnderscoresAction::Allow,
        UnderscoreAction::Reject => HeadersWithUnderscoresAction::RejectRequest,
        UnderscoreAction::Drop => HeadersWithUnderscoresAction::DropHeader,
    });
    options
}

fn http2(connection: &ConnectionSettings) -> Http2ProtocolOptions {
    Http2ProtocolOptions {
        max_concurrent_streams: connection.max_concurrent_streams.and_then(number),
        initial_stream_window_size: connection.initial_stream_window.and_then(number),
        initial_connection_window_size: connection.initial_connection_window.and_then(number),
        ..Http2ProtocolOptions::default()
    }
}

fn client_certificate(
    manager: &mut HttpConnectionManager,
    forward: ForwardClientCert,
    whole: bool,
) {
    use manager::ForwardClientCertDetails as Details;
    let details = match forward {
        ForwardClientCert::Sanitize => Details::Sanitize,
        ForwardClientCert::ForwardOnly => Details::ForwardOnly,
        ForwardClientCert::AppendForward => Details::AppendForward,
        ForwardClientCert::SanitizeSet => Details::SanitizeSet,
        ForwardClientCert::AlwaysForwardOnly => Details::AlwaysForwardOnly,
    };
    manager.set_forward_client_cert_details(details);
    if matches!(details, Details::AppendForward | Details::SanitizeSet) {
        manager.set_current_client_cert_details = Some(manager::SetCurrentClientCertDetails {
            subject: flag(true),
            cert: whole,
            dns: true,
            uri: true,
            ..manager::SetCurrentClientCertDetails::default()
        });
    }
}
