//! `Gateway` (`networking/v1alpha3/gateway.proto`).

use super::shared::Port;
use crate::message::{Map, enumeration, message};

message! {
    /// Which ports and hosts a set of gateway workloads serves.
    pub struct Gateway [Honoured] {
        selector: Map<String>,
        servers: Vec<Server>,
    }

    /// One port with its hosts.
    pub struct Server [Honoured] {
        port: Option<Port>,
        bind: String,
        hosts: Vec<String>,
        tls: Option<ServerTlsSettings>,
        default_endpoint: String => NoEffect("Istio never implemented it"),
        name: String,
    }

    /// TLS of a server.
    pub struct ServerTlsSettings [Honoured] {
        https_redirect: bool,
        mode: ServerTlsMode,
        server_certificate: String,
        private_key: String,
        ca_certificates: String,
        ca_crl: String,
        tls_certificates: Vec<TlsCertificate>,
        credential_name: String,
        credential_names: Vec<String>,
        ca_cert_credential_name: String,
        subject_alt_names: Vec<String> => Partly("all but e-mail addresses"),
        verify_certificate_spki: Vec<String>,
        verify_certificate_hash: Vec<String>,
        min_protocol_version: TlsProtocol,
        max_protocol_version: TlsProtocol,
        cipher_suites: Vec<String>,
        ecdh_curves: Vec<String>,
        insecure_skip_verify: Option<bool> => Later("mutual TLS"),
    }

    /// One of several certificates of a server (RSA beside ECDSA).
    pub struct TlsCertificate [Honoured] {
        server_certificate: String,
        private_key: String,
        ca_certificates: String,
    }
}

enumeration! {
    /// What a server does with TLS.
    pub enum ServerTlsMode {
        Passthrough = "PASSTHROUGH",
        Simple = "SIMPLE",
        Mutual = "MUTUAL",
        AutoPassthrough = "AUTO_PASSTHROUGH",
        IstioMutual = "ISTIO_MUTUAL",
        OptionalMutual = "OPTIONAL_MUTUAL",
    }

    /// A TLS version.
    pub enum TlsProtocol {
        TlsAuto = "TLS_AUTO",
        Tlsv1_0 = "TLSV1_0",
        Tlsv1_1 = "TLSV1_1",
        Tlsv1_2 = "TLSV1_2",
        Tlsv1_3 = "TLSV1_3",
    }
}
