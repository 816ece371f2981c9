//! Transport sockets towards upstreams: TLS, and who the client is in front of it.

use super::Form;
use super::clusters::{ISTIO_TLS, TLS_MODE};
use super::tls::{authorities, certificate, is_known, names, revocations, roots, transport_socket};
use super::values::{any, structure, text};
use sallyport_config::ir::{
    Bundle, ClientTls, Cluster as Upstream, PeerNames, ProxyVersion, Roots, ServerName, Snapshot,
    UpstreamProtocol, UpstreamTls, Wire,
};
use sallyport_wire::envoy::envoy::config::cluster::v3::cluster::TransportSocketMatch;
use sallyport_wire::envoy::envoy::config::core::v3::proxy_protocol_config::Version;
use sallyport_wire::envoy::envoy::config::core::v3::{
    ProxyProtocolConfig, TransportSocket, transport_socket,
};
use sallyport_wire::envoy::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
use sallyport_wire::envoy::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use sallyport_wire::envoy::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, TlsParameters, UpstreamTlsContext,
    certificate_validation_context::TrustChainVerification, subject_alt_name_matcher::SanType,
    tls_parameters::TlsProtocol,
};

/// Envoy's transport socket that speaks the PROXY protocol.
const PROXY_PROTOCOL: &str = "envoy.transport_sockets.upstream_proxy_protocol";

/// The transport sockets of a cluster: one, or one by what its endpoints speak.
#[derive(Default)]
pub(super) struct Sockets {
    pub(super) always: Option<TransportSocket>,
    pub(super) by_endpoint: Vec<TransportSocketMatch>,
}

/// Whether the connections that are asked for can be made. If not the cluster has no endpoints:
/// requests to it are refused, never sent in another way.
pub(super) fn is_served(snapshot: &Snapshot, upstream: &Upstream) -> bool {
    match &upstream.tls {
        UpstreamTls::Refused(_) => false,
        UpstreamTls::Plain => true,
        UpstreamTls::Always(tls) | UpstreamTls::ByEndpoint(tls) => {
            let vouched = match &tls.roots {
                Roots::Given(bundle) => authorities(bundle),
                Roots::System | Roots::Unchecked => true,
            };
            vouched
                && tls.crl.as_ref().is_none_or(revocations)
                && tls.certificate.is_none_or(|id| is_known(snapshot, id))
        }
    }
}

/// The transport sockets of a cluster.
pub(super) fn sockets(snapshot: &Snapshot, upstream: &Upstream, form: Form) -> Sockets {
    let mut sockets = secured(snapshot, upstream, form);
    if let Some(version) = upstream.traffic.proxy_protocol {
        if sockets.by_endpoint.is_empty() {
            let inner = sockets.always.take().unwrap_or_else(raw);
            sockets.always = Some(announced(version, inner));
        }
        for socket in &mut sockets.by_endpoint {
            let inner = socket.transport_socket.take().unwrap_or_else(raw);
            socket.transport_socket = Some(announced(version, inner));
        }
    }
    sockets
}

/// Says whose a connection is before anything else, TLS included.
fn announced(version: ProxyVersion, inner: TransportSocket) -> TransportSocket {
    let version = match version {
        ProxyVersion::V1 => Version::V1,
        ProxyVersion::V2 => Version::V2,
    };
    let config = ProxyProtocolUpstreamTransport {
        config: Some(ProxyProtocolConfig {
            version: version.into(),
            ..ProxyProtocolConfig::default()
        }),
        transport_socket: Some(inner),
        ..ProxyProtocolUpstreamTransport::default()
    };
    TransportSocket {
        name: PROXY_PROTOCOL.to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(any(&config))),
    }
}

fn secured(snapshot: &Snapshot, upstream: &Upstream, form: Form) -> Sockets {
    let wire = match upstream.protocol {
        UpstreamProtocol::Http1 => Wire::Http1,
        UpstreamProtocol::Http2 => Wire::Http2,
        // whatever it is, the handshake cannot know
        UpstreamProtocol::Client => Wire::Tcp,
    };
    let socket = |tls: &ClientTls| transport_socket(&context(snapshot, tls, wire, form));
    match &upstream.tls {
        _ if !is_served(snapshot, upstream) => Sockets::default(),
        UpstreamTls::Plain | UpstreamTls::Refused(_) => Sockets::default(),
        UpstreamTls::Always(tls) => Sockets {
            always: Some(socket(tls)),
            ..Sockets::default()
        },
        UpstreamTls::ByEndpoint(tls) => Sockets {
            always: None,
            by_endpoint: vec![
                TransportSocketMatch {
                    name: "tlsMode-istio".to_owned(),
                    r#match: Some(structure([(TLS_MODE, text(ISTIO_TLS))])),
                    transport_socket: Some(socket(tls)),
                },
                TransportSocketMatch {
                    name: "tlsMode-disabled".to_owned(),
                    r#match: Some(structure([])),
                    transport_socket: Some(raw()),
                },
            ],
        },
    }
}

fn raw() -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.raw_buffer".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(any(
            &RawBuffer {},
        ))),
    }
}

fn context(snapshot: &Snapshot, tls: &ClientTls, wire: Wire, form: Form) -> UpstreamTlsContext {
    let mut common = CommonTlsContext {
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
            tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
            ..TlsParameters::default()
        }),
        alpn_protocols: tls.alpn(wire).iter().map(|&name| name.to_owned()).collect(),
        ..CommonTlsContext::default()
    };
    if let Some(id) = tls.certificate {
        certificate(snapshot, id, form, &mut common);
    }
    let sni = match &tls.sni {
        ServerName::Fixed(sni) => sni.clone(),
        ServerName::Authority => String::new(),
    };
    let mut validation = CertificateValidationContext::default();
    match &tls.names {
        // of the authority's own name each connection's options take care
        PeerNames::Any => {}
        PeerNames::ServerName if sni.is_empty() => {}
        PeerNames::ServerName => {
            let own = std::slice::from_ref(&sni);
            validation.match_typed_subject_alt_names = names(own, &[SanType::Dns]);
        }
        PeerNames::OneOf(list) => {
            let kinds = [
                SanType::Dns,
                SanType::Uri,
                SanType::Email,
                SanType::IpAddress,
            ];
            validation.match_typed_subject_alt_names = names(list, &kinds);
        }
    }
    let bundle = match &tls.roots {
        Roots::System => Some(Bundle::File(super::tls::SYSTEM_ROOTS.to_owned())),
        Roots::Given(bundle) => Some(bundle.clone()),
        Roots::Unchecked => None,
    };
    if bundle.is_none() {
        validation.set_trust_chain_verification(TrustChainVerification::AcceptUntrusted);
    }
    common.validation_context_type =
        Some(roots(bundle.as_ref(), tls.crl.as_ref(), validation, form));
    UpstreamTlsContext {
        common_tls_context: Some(common),
        sni,
        ..UpstreamTlsContext::default()
    }
}
