//! TLS settings of servers (`Gateway`, `Sidecar`) and clients (`DestinationRule`).

use std::collections::HashSet;

use super::{Path, Scope, words};
use crate::api::destination_rule::{ClientTlsMode, ClientTlsSettings};
use crate::api::gateway::{ServerTlsMode, ServerTlsSettings, TlsProtocol};
use crate::diag::codes;

/// Cipher suites that Istio knows and the TLS library here has.
const SUITES: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

/// Cipher suites that Istio knows and the TLS library here does not have: CBC and static RSA.
const WEAK_SUITES: [&str; 9] = [
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
];

/// Settings of a server.
pub(super) fn server(tls: &ServerTlsSettings, at: &Path<'_>, scope: &mut Scope<'_>) {
    protocols(tls, at, scope);
    suites(&tls.cipher_suites, at, scope);
    if tls.credential_names.len() > 2 {
        let message = format!("{} credentials, 2 are allowed", tls.credential_names.len());
        scope.error(
            &at.field("credentialNames"),
            message,
            "one with an RSA key and one with an ECDSA key",
        );
    }
    if tls.tls_certificates.len() > 2 {
        let message = format!("{} certificates, 2 are allowed", tls.tls_certificates.len());
        scope.error(
            &at.field("tlsCertificates"),
            message,
            "one with an RSA key and one with an ECDSA key",
        );
    }
    if !tls.credential_name.is_empty() && !tls.credential_names.is_empty() {
        scope.error(
            &at.field("credentialNames"),
            "only one of `credentialName` and `credentialNames` may be set",
            "keep one of them",
        );
    }
    mode(tls, at, scope);
}

/// What the mode needs, and what it has no use for.
fn mode(tls: &ServerTlsSettings, at: &Path<'_>, scope: &mut Scope<'_>) {
    let files = !tls.server_certificate.is_empty()
        || !tls.private_key.is_empty()
        || !tls.tls_certificates.is_empty();
    let credential = !tls.credential_name.is_empty() || !tls.credential_names.is_empty();
    match tls.mode {
        ServerTlsMode::IstioMutual => {
            if files || credential {
                let help = "remove them; the certificate of the workload is used";
                scope.error(
                    at,
                    "mode ISTIO_MUTUAL takes no certificates of its own",
                    help,
                );
            }
        }
        ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough => {
            if files || credential {
                let message = format!("certificates have no effect in mode {}", tls.mode.as_str());
                scope.error(
                    at,
                    message,
                    "use mode SIMPLE to terminate TLS, or remove them",
                );
            }
        }
        ServerTlsMode::Simple => own_certificate(tls, credential, at, scope),
        ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {
            own_certificate(tls, credential, at, scope);
            let authority = credential
                || !tls.ca_certificates.is_empty()
                || !tls.ca_cert_credential_name.is_empty();
            let message = format!(
                "mode {} needs `caCertificates` to check clients with",
                tls.mode.as_str()
            );
            scope.require(
                authority,
                at,
                &message,
                "set `caCertificates`, or use `credentialName`",
            );
        }
    }
    if tls.insecure_skip_verify == Some(true)
        && !matches!(
            tls.mode,
            ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual
        )
    {
        let message =
            "`insecureSkipVerify` means something in mode MUTUAL and OPTIONAL_MUTUAL only";
        scope.error(&at.field("insecureSkipVerify"), message, "remove it");
    }
}

fn own_certificate(
    tls: &ServerTlsSettings,
    credential: bool,
    at: &Path<'_>,
    scope: &mut Scope<'_>,
) {
    let mode = tls.mode.as_str();
    if credential {
        if !tls.server_certificate.is_empty() || !tls.private_key.is_empty() {
            let message = "`credentialName` is used and the files beside it are not";
            scope.warn(at, message, "remove `serverCertificate` and `privateKey`");
        }
        return;
    }
    if tls.tls_certificates.is_empty() {
        let certificate = !tls.server_certificate.is_empty();
        scope.require(
            certificate,
            at,
            &format!("mode {mode} needs a certificate"),
            "set `credentialName`, or `serverCertificate` and `privateKey`",
        );
        if certificate {
            scope.require(
                !tls.private_key.is_empty(),
                at,
                "`privateKey` is missing",
                "name the file of the key",
            );
        }
        return;
    }
    if !tls.server_certificate.is_empty() || !tls.private_key.is_empty() {
        scope.error(
            &at.field("tlsCertificates"),
            "only one of `tlsCertificates` and `serverCertificate` may be set",
            "keep one of them",
        );
    }
    for (i, pair) in tls.tls_certificates.iter().enumerate() {
        let both = !pair.server_certificate.is_empty() && !pair.private_key.is_empty();
        scope.require(
            both,
            &at.item("tlsCertificates", i),
            "a certificate needs `serverCertificate` and `privateKey`",
            "",
        );
    }
}

fn protocols(tls: &ServerTlsSettings, at: &Path<'_>, scope: &mut Scope<'_>) {
    let (min, max) = (tls.min_protocol_version, tls.max_protocol_version);
    if max != TlsProtocol::TlsAuto && min > max {
        let message = format!(
            "the least version {} is above the greatest {}",
            min.as_str(),
            max.as_str()
        );
        scope.error(&at.field("minProtocolVersion"), message, "swap them");
        return;
    }
    let old = |v| matches!(v, TlsProtocol::Tlsv1_0 | TlsProtocol::Tlsv1_1);
    if old(max) {
        let help = "set it to TLSV1_2 or TLSV1_3";
        scope.note(
            codes::SP0113,
            &at.field("maxProtocolVersion"),
            format!(
                "{} is not offered here, so nobody can connect",
                max.as_str()
            ),
            help,
        );
    } else if old(min) {
        let help = "set it to TLSV1_2";
        scope.note(
            codes::SP0113,
            &at.field("minProtocolVersion"),
            format!(
                "{} is not offered here; the least version is TLSV1_2",
                min.as_str()
            ),
            help,
        );
    }
}

/// A list of cipher suites; unknown ones are dropped as Istio does.
pub(super) fn suites(list: &[String], at: &Path<'_>, scope: &mut Scope<'_>) {
    let mut seen = HashSet::new();
    for (i, suite) in list.iter().enumerate() {
        let at = at.item("cipherSuites", i);
        if !seen.insert(suite) {
            scope.warn(
                &at,
                format!("cipher suite `{suite}` is given twice"),
                "remove one of them",
            );
        } else if WEAK_SUITES.contains(&suite.as_str()) {
            let help = format!("use {}", SUITES.join(", "));
            scope.note(
                codes::SP0113,
                &at,
                format!("cipher suite `{suite}` is not offered here"),
                &help,
            );
        } else if !SUITES.contains(&suite.as_str()) {
            let help = format!("the suites are {}", SUITES.join(", "));
            scope.warn(
                &at,
                format!("cipher suite `{suite}` is not known and left out"),
                &help,
            );
        }
    }
    if !list.is_empty() && !list.iter().any(|s| SUITES.contains(&s.as_str())) {
        scope.warn(
            &at.field("cipherSuites"),
            "no suite of the list is offered here, so only TLS 1.3 is left",
            "add a suite with AES-GCM or ChaCha20",
        );
    }
}

/// Settings of a client.
pub(super) fn client(tls: &ClientTlsSettings, at: &Path<'_>, scope: &mut Scope<'_>) {
    let files = !tls.client_certificate.is_empty()
        || !tls.private_key.is_empty()
        || !tls.ca_certificates.is_empty();
    let credential = !tls.credential_name.is_empty();
    if tls.insecure_skip_verify == Some(true) {
        if tls.mode == ClientTlsMode::Simple && !tls.ca_certificates.is_empty() {
            scope.error(
                &at.field("caCertificates"),
                "`caCertificates` and `insecureSkipVerify` contradict each other",
                "remove one of them",
            );
        }
        scope.warn(
            &at.field("insecureSkipVerify"),
            "whoever answers is believed: the connection is encrypted, but to anybody",
            "set `caCertificates`",
        );
    }
    match tls.mode {
        ClientTlsMode::Mutual => client_certificate(tls, files, at, scope),
        ClientTlsMode::IstioMutual => {
            let own = files || credential;
            scope.require(
                !own,
                at,
                "mode ISTIO_MUTUAL takes no certificates of its own",
                "remove them, or use mode MUTUAL",
            );
        }
        ClientTlsMode::Simple => {
            if !tls.client_certificate.is_empty() || !tls.private_key.is_empty() {
                scope.warn(
                    at,
                    "a client certificate is not used in mode SIMPLE",
                    "use mode MUTUAL",
                );
            }
        }
        ClientTlsMode::Disable => {
            if files || credential || !tls.sni.is_empty() || !tls.subject_alt_names.is_empty() {
                scope.warn(
                    at,
                    "mode is DISABLE, so the other settings do nothing",
                    "set `mode`",
                );
            }
        }
    }
    if !tls.sni.is_empty() && !words::is_ip(&tls.sni) {
        scope.judge(&at.field("sni"), words::fqdn(&tls.sni), "");
    }
    for (i, name) in tls.subject_alt_names.iter().enumerate() {
        scope.require(
            !name.is_empty(),
            &at.item("subjectAltNames", i),
            "the name is empty",
            "remove it",
        );
    }
}

/// A certificate of one's own, from one place.
fn client_certificate(tls: &ClientTlsSettings, files: bool, at: &Path<'_>, scope: &mut Scope<'_>) {
    let credential = !tls.credential_name.is_empty();
    if credential && files {
        scope.error(
            at,
            "only one of `credentialName` and files may be set",
            "keep one of them",
        );
    } else if !credential {
        scope.require(
            !tls.client_certificate.is_empty(),
            at,
            "mode MUTUAL needs `clientCertificate`",
            "set it, or `credentialName`",
        );
        scope.require(
            !tls.private_key.is_empty(),
            at,
            "mode MUTUAL needs `privateKey`",
            "set it, or `credentialName`",
        );
    }
}
