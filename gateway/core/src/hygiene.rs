//! What an edge removes from and adds to a message's fields: nobody outside may steer the mesh, and
//! everybody inside learns who called.
//!
//! The rules are those that Envoy follows as an Istio gateway (`use_remote_address`,
//! `xff_num_trusted_hops`): fields that instruct Envoy are removed, addresses are appended, the
//! request id is ours.

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::call::Scheme;
use crate::h1::{FieldSet, HeaderEdits, HeaderIndex, KnownHeader, decimal};
use crate::rng::Rng;

/// What to do with `x-forwarded-client-cert` (Istio: `forwardClientCertDetails`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientCertDetails {
    /// Remove it.
    Sanitize,
    /// Forward the client's if its connection is mutual TLS, else remove it.
    ForwardOnly,
    /// Append ours if the connection is mutual TLS, else remove it.
    AppendForward,
    /// Replace it by ours if the connection is mutual TLS, else remove it. Istio's default.
    SanitizeSet,
    /// Forward whatever came.
    AlwaysForwardOnly,
}

/// Settings of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HygieneSettings {
    /// Proxies of ours in front of the gateway (`gatewayTopology.numTrustedProxies`).
    pub trusted_proxies: u32,
    /// `x-forwarded-client-cert`.
    pub client_cert: ClientCertDetails,
    /// Set `x-request-id` (`proxyHeaders.requestId`).
    pub request_id: bool,
    /// Set `x-envoy-attempt-count` (`proxyHeaders.attemptCount`).
    pub attempt_count: bool,
    /// The `server` of every response; `None` leaves the upstream's.
    pub server_name: Option<Box<str>>,
    /// Set `x-envoy-upstream-service-time` (`proxyHeaders.envoyDebugHeaders`).
    pub service_time: bool,
}

impl Default for HygieneSettings {
    fn default() -> Self {
        Self {
            trusted_proxies: 0,
            client_cert: ClientCertDetails::SanitizeSet,
            request_id: true,
            attempt_count: true,
            server_name: Some("istio-envoy".into()),
            service_time: true,
        }
    }
}

/// The client's end of a connection, with the texts that every request on it needs.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// Its address.
    pub address: IpAddr,
    /// The same as text.
    pub text: &'a str,
    /// The transport's scheme.
    pub scheme: Scheme,
    /// The `x-forwarded-client-cert` element for its certificate, if it showed one that was
    /// verified.
    pub client_cert: Option<&'a [u8]>,
}

/// Cleans a request's fields. Starts `edits` over with the head's `drop` set; returns the address
/// of the client as far as it can be trusted.
pub fn clean_request(
    edits: &mut HeaderEdits,
    drop: FieldSet,
    buf: &[u8],
    index: &HeaderIndex,
    settings: &HygieneSettings,
    peer: Peer<'_>,
    rng: &mut Rng,
) -> IpAddr {
    edits.begin(drop, index);
    let trusted = settings.trusted_proxies > 0;
    // `forwarded` says the same as the x-forwarded-* fields, which are rewritten: from a client
    // that is not trusted it could only contradict them.
    let spoofed =
        |known: KnownHeader| known.is_envoy() || (known == KnownHeader::Forwarded && !trusted);
    for (position, field) in index.fields().iter().enumerate() {
        if field.known.is_some_and(spoofed) {
            edits.remove_at(position);
        }
    }
    let client = forwarded_for(edits, buf, index, settings.trusted_proxies, peer);
    if !(trusted && index.has(KnownHeader::XForwardedProto)) {
        let scheme = peer.scheme.as_str().as_bytes();
        edits.set_known(index, KnownHeader::XForwardedProto, scheme);
    }
    client_cert(edits, buf, index, settings.client_cert, peer);
    if settings.request_id && !(trusted && index.has(KnownHeader::XRequestId)) {
        edits.set_known(index, KnownHeader::XRequestId, &request_id(rng));
    }
    if settings.attempt_count {
        edits.add_known(KnownHeader::XEnvoyAttemptCount, &[b"1"]);
    }
    client
}

/// The scheme that the client used: the transport's, unless a trusted proxy says otherwise. Of
/// several lines the last is the nearest proxy's.
#[must_use]
pub fn client_scheme(
    buf: &[u8],
    index: &HeaderIndex,
    settings: &HygieneSettings,
    transport: Scheme,
) -> Scheme {
    let told = index.all(KnownHeader::XForwardedProto).last();
    match told.map(|(_, field)| field.value.of(buf)) {
        Some(b"http") if settings.trusted_proxies > 0 => Scheme::Http,
        Some(b"https") if settings.trusted_proxies > 0 => Scheme::Https,
        _ => transport,
    }
}

/// Says which attempt a request is, when it is not the first.
pub fn set_attempt(edits: &mut HeaderEdits, index: &HeaderIndex, attempt: u32) {
    let mut digits = [0; 20];
    let text = decimal(&mut digits, u64::from(attempt));
    edits.set_known(index, KnownHeader::XEnvoyAttemptCount, text);
}

/// Cleans an upstream's response. Starts `edits` over with the head's `drop` set. `date` is added
/// if the upstream sent none (RFC 9110 §6.6.1).
pub fn clean_response(
    edits: &mut HeaderEdits,
    drop: FieldSet,
    index: &HeaderIndex,
    settings: &HygieneSettings,
    service_millis: u64,
    date: &[u8],
) {
    edits.begin(drop, index);
    for (position, field) in index.fields().iter().enumerate() {
        if field.known.is_some_and(KnownHeader::is_envoy) {
            edits.remove_at(position);
        }
    }
    if settings.service_time {
        let mut digits = [0; 20];
        let text = decimal(&mut digits, service_millis);
        edits.add_known(KnownHeader::XEnvoyUpstreamServiceTime, &[text]);
    }
    if !index.has(KnownHeader::Date) {
        edits.add_known(KnownHeader::Date, &[date]);
    }
    if let Some(server) = &settings.server_name {
        edits.set_known(index, KnownHeader::Server, server.as_bytes());
    }
}

/// Seconds that a client may remember where HTTP/3 is; Istio says the same.
const ALT_SVC: &[u8] = b"\"; ma=86400";

/// Tells the client that the same host serves HTTP/3 on this port (RFC 7838 §3, RFC 9114 §3.1.1),
/// unless the upstream has said something about that itself.
pub fn advertise_http3(edits: &mut HeaderEdits, index: &HeaderIndex, port: u16) {
    if !index.has(KnownHeader::AltSvc) {
        let mut digits = [0; 20];
        let port = decimal(&mut digits, port.into());
        edits.add_known(KnownHeader::AltSvc, &[b"h3=\":", port, ALT_SVC]);
    }
}

/// Appends the peer to `x-forwarded-for` and sets `x-envoy-external-address` to the client: the
/// entry that the outermost trusted proxy wrote, or the peer itself.
fn forwarded_for(
    edits: &mut HeaderEdits,
    buf: &[u8],
    index: &HeaderIndex,
    trusted_proxies: u32,
    peer: Peer<'_>,
) -> IpAddr {
    let entry = nth_from_right(buf, index, trusted_proxies);
    let trusted = entry.and_then(|text| Some((str::from_utf8(text).ok()?.parse().ok()?, text)));
    let (client, text) = trusted.unwrap_or((peer.address, peer.text.as_bytes()));
    let mut parts: SmallVec<[&[u8]; 8]> = SmallVec::new();
    for (position, field) in index.all(KnownHeader::XForwardedFor) {
        if !field.value.is_empty() {
            parts.extend([field.value.of(buf), b","]);
        }
        edits.remove_at(position);
    }
    parts.push(peer.text.as_bytes());
    edits.add_known(KnownHeader::XForwardedFor, &parts);
    edits.add_known(KnownHeader::XEnvoyExternalAddress, &[text]);
    client
}

/// The `n`th entry of `x-forwarded-for` from the right, counted from 1, over all its lines.
fn nth_from_right<'b>(buf: &'b [u8], index: &HeaderIndex, n: u32) -> Option<&'b [u8]> {
    let skip = usize::try_from(n).ok()?.checked_sub(1)?;
    let lines: SmallVec<[&[u8]; 4]> = index
        .all(KnownHeader::XForwardedFor)
        .map(|(_, field)| field.value.of(buf))
        .collect();
    let entries = lines
        .iter()
        .rev()
        .flat_map(|line| line.rsplit(|b| *b == b','));
    entries.map(<[u8]>::trim_ascii).nth(skip)
}

fn client_cert(
    edits: &mut HeaderEdits,
    buf: &[u8],
    index: &HeaderIndex,
    details: ClientCertDetails,
    peer: Peer<'_>,
) {
    let known = KnownHeader::XForwardedClientCert;
    match (details, peer.client_cert) {
        (ClientCertDetails::AlwaysForwardOnly, _) | (ClientCertDetails::ForwardOnly, Some(_)) => {}
        (ClientCertDetails::SanitizeSet, Some(ours)) => {
            edits.set_known(index, known, ours);
        }
        (ClientCertDetails::AppendForward, Some(ours)) => {
            let mut parts: SmallVec<[&[u8]; 8]> = SmallVec::new();
            for (position, field) in index.all(known) {
                parts.extend([field.value.of(buf), b","]);
                edits.remove_at(position);
            }
            parts.push(ours);
            edits.add_known(known, &parts);
        }
        _ => {
            if index.has(known) {
                edits.remove_known(index, known);
            }
        }
    }
}

/// A random UUID (RFC 9562 §5.4) in its text form.
fn request_id(rng: &mut Rng) -> [u8; 36] {
    let high = (rng.next_u64() & !0xf000) | 0x4000;
    let low = (rng.next_u64() & (u64::MAX >> 2)) | 1 << 63;
    let mut digits = [[0; 8]; 4];
    for (eight, bits) in digits.iter_mut().zip([high >> 32, high, low >> 32, low]) {
        *eight = hex_digits(bits);
    }
    let mut text = [b'-'; 36];
    let mut rest = digits.as_flattened();
    for group in [0..8, 9..13, 14..18, 19..23, 24..36] {
        if let Some(to) = text.get_mut(group)
            && let Some((from, more)) = rest.split_at_checked(to.len())
        {
            to.copy_from_slice(from);
            rest = more;
        }
    }
    text
}

/// The lower 32 bits as eight hexadecimal digits, all at once: one nibble a byte, then 39 more
/// for every nibble above 9, which takes it from `9` to `a`.
const fn hex_digits(bits: u64) -> [u8; 8] {
    let pairs = (bits & 0xffff) | (bits & 0xffff_0000) << 16;
    let bytes = (pairs | pairs << 8) & 0x00ff_00ff_00ff_00ff;
    let nibbles = (bytes | bytes << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let above_nine = (nibbles + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    (nibbles + 0x3030_3030_3030_3030 + above_nine * 39).to_be_bytes()
}

#[cfg(test)]
mod tests;
