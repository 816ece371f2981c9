//! TLS towards clients, and the certificates for it.

use super::values::{any, bytes, duration, exact, file, flag, limit};
use super::{Form, SDS_CLUSTER};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use sallyport_config::ir::{
    Bundle, Certificate, CertificateId, CertificateSource, Millis, Pin, ServerTls, ServerTlsMode,
    Snapshot, TlsVersion,
};
use sallyport_wire::envoy::envoy::config::core::v3::{
    ApiConfigSource, ApiVersion, ConfigSource, GrpcService, TransportSocket, api_config_source,
    config_source, grpc_service, transport_socket,
};
use sallyport_wire::envoy::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, Secret,
    SubjectAltNameMatcher, TlsCertificate, TlsParameters,
    common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
    secret,
    subject_alt_name_matcher::SanType,
    tls_parameters::TlsProtocol,
};
use sallyport_wire::envoy::google::protobuf::Duration;

use sallyport_wire::envoy::envoy::r#type::matcher::v3::string_matcher::MatchPattern;

/// Name of the transport socket.
const TLS: &str = "envoy.transport_sockets.tls";
/// How long a listener or cluster waits for a Secret before it goes on without: an Envoy that has
/// just started serves nothing until then.
const SECRET_WAIT: Millis = Millis(5_000);
/// Name of the workload's own certificate at the agent.
pub const OWN: &str = "default";
/// Where Debian keeps the authorities that it trusts; an agent finds them by the name `system`.
pub(super) const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Name of the mesh's roots at the agent.
pub const ROOTS: &str = "ROOTCA";

/// The transport socket of a terminating chain; none where no certificate is known, and no place
/// that one could come from.
pub(super) fn downstream(
    snapshot: &Snapshot,
    tls: &ServerTls,
    form: Form,
) -> Option<TransportSocket> {
    let mut common = CommonTlsContext {
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: version(tls.min_version).into(),
            tls_maximum_protocol_version: version(tls.max_version).into(),
            cipher_suites: tls.cipher_suites.clone(),
            ..TlsParameters::default()
        }),
        alpn_protocols: tls.alpn.clone(),
        ..CommonTlsContext::default()
    };
    for id in &tls.certificates {
        certificate(snapshot, *id, form, &mut common);
    }
    let own = common.tls_certificate_sds_secret_configs.len() + common.tls_certificates.len();
    if own == 0 && tls.mode == ServerTlsMode::IstioMutual {
        common.tls_certificate_sds_secret_configs = vec![sds(OWN, form)];
    } else if own == 0 {
        return None;
    }
    // whom nobody can vouch for must not come in
    let verified = tls.mode != ServerTlsMode::Simple;
    if verified && tls.mode != ServerTlsMode::IstioMutual && !vouched(tls) {
        return None;
    }
    common.validation_context_type = validation(tls, form);
    let required = matches!(tls.mode, ServerTlsMode::Mutual | ServerTlsMode::IstioMutual);
    let context = DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: flag(required),
        ..DownstreamTlsContext::default()
    };
    Some(transport_socket(&context))
}

/// Mutual TLS of the mesh before a workload: the peer's identity must be one of these trust domains.
/// Istio `pilot/pkg/security/authn/utils` (`BuildInboundTLS`).
pub(super) fn inbound(trust_domains: &[String], form: Form) -> TransportSocket {
    let under = |domain: &String| SubjectAltNameMatcher {
        san_type: SanType::Uri.into(),
        matcher: Some(super::values::matcher(MatchPattern::Prefix(format!(
            "spiffe://{domain}/"
        )))),
        ..SubjectAltNameMatcher::default()
    };
    let context = CertificateValidationContext {
        match_typed_subject_alt_names: trust_domains.iter().map(under).collect(),
        ..CertificateValidationContext::default()
    };
    let common = CommonTlsContext {
        tls_params: Some(TlsParameters {
            tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
            tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
            ..TlsParameters::default()
        }),
        alpn_protocols: ["h2", "http/1.1"].map(str::to_owned).to_vec(),
        tls_certificate_sds_secret_configs: vec![sds(OWN, form)],
        validation_context_type: Some(roots(Some(&Bundle::Workload), None, context, form)),
        ..CommonTlsContext::default()
    };
    transport_socket(&DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: flag(true),
        ..DownstreamTlsContext::default()
    })
}

/// A transport socket of TLS.
pub(super) fn transport_socket<M: prost::Message + prost::Name>(context: &M) -> TransportSocket {
    TransportSocket {
        name: TLS.to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(any(context))),
    }
}

/// Whether client certificates can be verified.
fn vouched(tls: &ServerTls) -> bool {
    tls.client_ca.as_ref().is_some_and(authorities)
        && tls.client_crl.as_ref().is_none_or(revocations)
}

/// Whether a bundle is one of authorities, as far as it is here to be looked at. Envoy would refuse
/// everything that a broken one is a part of.
pub(super) fn authorities(bundle: &Bundle) -> bool {
    match bundle {
        Bundle::Inline(text) => has::<CertificateDer<'_>>(text),
        Bundle::File(_) | Bundle::Workload => true,
        Bundle::Missing(_) => false,
    }
}

/// Whether a bundle is one of revocation lists.
pub(super) fn revocations(bundle: &Bundle) -> bool {
    match bundle {
        Bundle::Inline(text) => has::<CertificateRevocationListDer<'_>>(text),
        Bundle::File(_) | Bundle::Workload => true,
        Bundle::Missing(_) => false,
    }
}

/// Whether a PEM text has such a section, and nothing broken before it.
fn has<T: PemObject>(text: &[u8]) -> bool {
    T::from_pem_slice(text).is_ok()
}

fn find(snapshot: &Snapshot, id: CertificateId) -> Option<&Certificate> {
    snapshot.certificates.get(usize::try_from(id.0).ok()?)
}

/// Whether a certificate can be shown now; another may come by its name.
pub(super) fn is_known(snapshot: &Snapshot, id: CertificateId) -> bool {
    let own = |c: &Certificate| c.source == CertificateSource::Workload;
    find(snapshot, id).is_some_and(|c| own(c) || pair(c).is_some())
}

/// Adds a certificate to a context: by name where somebody else keeps it, or in place.
pub(super) fn certificate(
    snapshot: &Snapshot,
    id: CertificateId,
    form: Form,
    common: &mut CommonTlsContext,
) {
    let Some(found) = find(snapshot, id) else {
        return;
    };
    let by_name = match (&found.source, form) {
        (CertificateSource::Workload, _) => sds(OWN, form),
        // files are the proxy's host's: its agent reads them, and says when they change
        (CertificateSource::Files { chain, key }, Form::Discovery) => {
            sds(&format!("file-cert:{chain}~{key}"), form)
        }
        (CertificateSource::Inline { .. } | CertificateSource::Missing, Form::Discovery) => {
            SdsSecretConfig {
                name: found.name.clone(),
                sds_config: Some(ConfigSource {
                    initial_fetch_timeout: duration(SECRET_WAIT),
                    ..super::values::ads()
                }),
            }
        }
        (_, Form::Inline) => {
            common.tls_certificates.extend(pair(found));
            return;
        }
    };
    common.tls_certificate_sds_secret_configs.push(by_name);
}

/// Chain and key; none while there are none.
fn pair(certificate: &Certificate) -> Option<TlsCertificate> {
    let (chain, key) = match &certificate.source {
        CertificateSource::Inline { chain, key } => {
            if !has::<CertificateDer<'_>>(chain) || !has::<PrivateKeyDer<'_>>(&key.0) {
                return None;
            }
            (bytes(chain), bytes(&key.0))
        }
        CertificateSource::Files { chain, key } => (file(chain), file(key)),
        CertificateSource::Workload | CertificateSource::Missing => return None,
    };
    // Envoy refuses the whole pair for one that is not about it.
    let staple = certificate.staple.as_deref().filter(|staple| {
        let CertificateSource::Inline { chain, .. } = &certificate.source else {
            return false;
        };
        let leaf = CertificateDer::from_pem_slice(chain).ok();
        let facts = leaf.and_then(|leaf| sallyport_core::certificate::read(&leaf));
        facts.is_some_and(|facts| sallyport_core::ocsp::read(staple, &facts.serial).is_ok())
    });
    Some(TlsCertificate {
        certificate_chain: Some(chain),
        private_key: Some(key),
        ocsp_staple: staple.map(bytes),
        ..TlsCertificate::default()
    })
}

/// Secrets that chains ask for by name.
pub(super) fn secrets(snapshot: &Snapshot) -> Vec<Secret> {
    let inline = snapshot
        .certificates
        .iter()
        .filter(|c| matches!(c.source, CertificateSource::Inline { .. }));
    let secret = |certificate: &Certificate| {
        Some(Secret {
            name: certificate.name.clone(),
            r#type: Some(secret::Type::TlsCertificate(pair(certificate)?)),
        })
    };
    inline.filter_map(secret).collect()
}

fn validation(tls: &ServerTls, form: Form) -> Option<ValidationContextType> {
    // Istio does not say of which kind a name is: any will do
    let kinds = [
        SanType::Dns,
        SanType::Uri,
        SanType::Email,
        SanType::IpAddress,
    ];
    let mut context = CertificateValidationContext {
        match_typed_subject_alt_names: names(&tls.subject_alt_names, &kinds),
        ..CertificateValidationContext::default()
    };
    for pin in &tls.pins {
        match pin {
            Pin::Key(digest) => context.verify_certificate_spki.push(base64(digest)),
            Pin::Certificate(digest) => context.verify_certificate_hash.push(hex(digest)),
        }
    }
    let own = &Bundle::Workload;
    let ca = match tls.mode {
        ServerTlsMode::Simple => return None,
        ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => tls.client_ca.as_ref(),
        ServerTlsMode::IstioMutual => tls.client_ca.as_ref().or(Some(own)),
    };
    Some(roots(ca, tls.client_crl.as_ref(), context, form))
}

/// Exact names of these kinds.
pub(super) fn names(names: &[String], kinds: &[SanType]) -> Vec<SubjectAltNameMatcher> {
    let of = |name: &String, kind: &SanType| SubjectAltNameMatcher {
        san_type: (*kind).into(),
        matcher: Some(exact(name)),
        ..SubjectAltNameMatcher::default()
    };
    let names = names.iter();
    names
        .flat_map(|name| kinds.iter().map(move |kind| of(name, kind)))
        .collect()
}

/// A validation by roots, which stand here or are kept by the agent.
pub(super) fn roots(
    roots: Option<&Bundle>,
    crl: Option<&Bundle>,
    mut context: CertificateValidationContext,
    form: Form,
) -> ValidationContextType {
    let in_place = |bundle: &Bundle| match bundle {
        Bundle::Inline(text) => Some(bytes(text)),
        Bundle::File(path) => Some(file(path)),
        Bundle::Workload | Bundle::Missing(_) => None,
    };
    context.crl = crl.and_then(in_place);
    let kept = match (roots, form) {
        (Some(Bundle::Workload), _) => sds(ROOTS, form),
        (Some(Bundle::File(path)), Form::Discovery) => {
            let path = if path == SYSTEM_ROOTS { "system" } else { path };
            sds(&format!("file-root:{path}"), form)
        }
        (given, _) => {
            context.trusted_ca = given.and_then(in_place);
            return ValidationContextType::ValidationContext(context);
        }
    };
    ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(context),
        validation_context_sds_secret_config: Some(kept),
        ..CombinedCertificateValidationContext::default()
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * i) & 63).ok();
            let digit = digit.and_then(|at| DIGITS.get(at)).copied();
            let shown = i <= three.len();
            text.push(digit.filter(|_| shown).map_or('=', char::from));
        }
    }
    text
}

/// A secret that the agent keeps; inline: one that stands in the same bootstrap.
pub(super) fn sds(name: &str, form: Form) -> SdsSecretConfig {
    SdsSecretConfig {
        name: name.to_owned(),
        // without an identity there is nothing to do; without somebody's file there is all else
        sds_config: (form == Form::Discovery).then(|| match name {
            OWN | ROOTS => agent(limit(None)),
            _ => agent(duration(SECRET_WAIT)),
        }),
    }
}

fn agent(wait: Option<Duration>) -> ConfigSource {
    let agent = grpc_service::EnvoyGrpc {
        cluster_name: SDS_CLUSTER.to_owned(),
        ..grpc_service::EnvoyGrpc::default()
    };
    let source = ApiConfigSource {
        api_type: api_config_source::ApiType::Grpc.into(),
        transport_api_version: ApiVersion::V3.into(),
        grpc_services: vec![GrpcService {
            target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(agent)),
            ..GrpcService::default()
        }],
        set_node_on_first_message_only: true,
        ..ApiConfigSource::default()
    };
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        initial_fetch_timeout: wait,
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::ApiConfigSource(
            source,
        )),
        ..ConfigSource::default()
    }
}

fn version(version: TlsVersion) -> TlsProtocol {
    match version {
        TlsVersion::V1_2 => TlsProtocol::TlSv12,
        TlsVersion::V1_3 => TlsProtocol::TlSv13,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_written_as_envoy_reads_them() {
        assert_eq!(base64(b""), "");
        assert_eq!(base64(b"f"), "Zg==");
        assert_eq!(base64(b"fo"), "Zm8=");
        assert_eq!(base64(b"foobar"), "Zm9vYmFy");
        assert_eq!(hex(&[0, 255]), "00ff");
    }
}
