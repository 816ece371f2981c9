//! TLS of a Gateway server towards clients. Istio `pilot/pkg/networking/core/listener.go`
//! (`buildGatewayListenerTLSContext`), `pkg/config/security` for the names of cipher suites.
//!
//! What this program cannot do is compiled truthfully all the same: the shell knows its limits
//! and refuses, never weakens.

use super::certificates;
use super::draft::Draft;
use crate::api::gateway::{ServerTlsMode as Declared, ServerTlsSettings, TlsProtocol};
use crate::ir::{Bundle, Pin, ServerTls, ServerTlsMode, TlsVersion};
use crate::message::base64;
use crate::resource::Resource;

/// Protocols offered, in order.
const ALPN: [&str; 2] = ["h2", "http/1.1"];
/// Cipher suites of TLS 1.2 that exist here: ECDHE with an AEAD.
const SUITES: [&str; 6] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
];

/// TLS settings of a terminating server; the error says why it cannot be served at all.
pub(super) fn server(
    draft: &mut Draft<'_>,
    gateway: &Resource,
    tls: &ServerTlsSettings,
    path: &str,
) -> Result<ServerTls, String> {
    let mode = match tls.mode {
        Declared::Simple => ServerTlsMode::Simple,
        Declared::Mutual => ServerTlsMode::Mutual,
        Declared::OptionalMutual => ServerTlsMode::OptionalMutual,
        Declared::IstioMutual => ServerTlsMode::IstioMutual,
        Declared::Passthrough | Declared::AutoPassthrough => {
            return Err("the server does not terminate TLS".to_owned());
        }
    };
    let own = mode == ServerTlsMode::IstioMutual;
    let certificates = if own {
        vec![certificates::workload(draft, gateway, path)]
    } else {
        certificates::of_server(draft, gateway, tls, path)
    };
    let (client_ca, client_crl) = match mode {
        ServerTlsMode::Simple => (None, None),
        ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {
            certificates::client_ca(draft, gateway, tls, path)
        }
        ServerTlsMode::IstioMutual => (Some(Bundle::Workload), None),
    };
    let (min_version, max_version) = versions(draft, tls)?;
    let cipher_suites = if own {
        Vec::new()
    } else {
        suites(draft, tls, min_version)?
    };
    Ok(ServerTls {
        mode,
        certificates,
        client_ca,
        client_crl,
        subject_alt_names: tls.subject_alt_names.clone(),
        pins: pins(tls)?,
        min_version,
        max_version,
        cipher_suites,
        alpn: ALPN.map(str::to_owned).to_vec(),
    })
}

/// `verifyCertificateSpki` in base64 and `verifyCertificateHash` in hexadecimal, perhaps with
/// colons. One that cannot be read must not be left out: the others would let in more than all.
fn pins(tls: &ServerTlsSettings) -> Result<Vec<Pin>, String> {
    let keys = tls.verify_certificate_spki.iter().map(|text| {
        let digest = base64(text).and_then(|bytes| bytes.try_into().ok());
        let why = || format!("verifyCertificateSpki {text:?} is no SHA-256 digest in base64");
        digest.map(Pin::Key).ok_or_else(why)
    });
    let certificates = tls.verify_certificate_hash.iter().map(|text| {
        let digest = hex(&text.replace(':', "")).and_then(|bytes| bytes.try_into().ok());
        let why = || format!("verifyCertificateHash {text:?} is no SHA-256 digest in hexadecimal");
        digest.map(Pin::Certificate).ok_or_else(why)
    });
    keys.chain(certificates).collect()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    };
    text.as_bytes().chunks(2).map(byte).collect()
}

fn versions(
    draft: &Draft<'_>,
    tls: &ServerTlsSettings,
) -> Result<(TlsVersion, TlsVersion), String> {
    let mesh = draft
        .world
        .mesh
        .tls_defaults
        .as_ref()
        .map(|d| d.min_protocol_version)
        .unwrap_or_default();
    let min = match (tls.min_protocol_version, mesh) {
        (TlsProtocol::TlsAuto, mesh) => mesh,
        (given, _) => given,
    };
    let min = if min == TlsProtocol::Tlsv1_3 {
        TlsVersion::V1_3
    } else {
        TlsVersion::V1_2
    };
    let max = match tls.max_protocol_version {
        TlsProtocol::TlsAuto | TlsProtocol::Tlsv1_3 => TlsVersion::V1_3,
        TlsProtocol::Tlsv1_2 => TlsVersion::V1_2,
        old => {
            return Err(format!(
                "maxProtocolVersion {} is not spoken here",
                old.as_str()
            ));
        }
    };
    if min > max {
        return Err("minProtocolVersion is above maxProtocolVersion".to_owned());
    }
    Ok((min, max))
}

/// The suites that can be honoured; validation has named the others.
fn suites(
    draft: &Draft<'_>,
    tls: &ServerTlsSettings,
    min: TlsVersion,
) -> Result<Vec<String>, String> {
    let mesh = draft.world.mesh.tls_defaults.as_ref();
    let said = match (tls.cipher_suites.as_slice(), mesh) {
        ([], Some(mesh)) => mesh.cipher_suites.as_slice(),
        (said, _) => said,
    };
    let mut kept: Vec<String> = Vec::new();
    for name in said.iter().filter(|name| SUITES.contains(&name.as_str())) {
        if !kept.contains(name) {
            kept.push(name.clone());
        }
    }
    // suites concern TLS 1.2 only
    if kept.is_empty() && !said.is_empty() && min < TlsVersion::V1_3 {
        return Err("none of its cipher suites exists here".to_owned());
    }
    Ok(kept)
}
