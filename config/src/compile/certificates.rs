//! Credentials: names become key pairs, from Secrets or from files.
//!
//! A credential belongs to the namespace of the gateway's workload. Keys inside a Secret: `cert`
//! and `key` come before `tls.crt` and `tls.key`; CAs are in `<name>-cacert` before the Secret
//! itself, as `cacert` before `ca.crt`. Istio `pilot/pkg/credentials/kube/secrets.go`,
//! `pilot/pkg/model/credentials/resource.go`. A credential that is missing is a certificate
//! without content: its listener stays and refuses handshakes until it appears.

use super::draft::{Draft, finding};
use crate::api::destination_rule::ClientTlsSettings;
use crate::api::gateway::ServerTlsSettings;
use crate::api::kube;
use crate::diag::{Code, codes};
use crate::ir::{Bundle, Certificate, CertificateId, CertificateSource, Origin, Secret};
use crate::resource::Resource;
use std::collections::HashMap;
use std::sync::Arc;

/// Member of a Secret with an OCSP response as DER.
const STAPLE: &str = "tls.ocsp-staple";
/// Name of the workload's own certificate, as Istio's secret service calls it.
const WORKLOAD: &str = "default";

/// Certificates by name, each once.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    by_name: HashMap<String, CertificateId>,
    all: Vec<Certificate>,
}

impl Certificates {
    /// All of them, in the order in which they were asked for.
    pub(super) fn finish(self) -> Vec<Certificate> {
        self.all
    }

    fn add(&mut self, name: String, found: KeyPair, origin: Origin) -> CertificateId {
        let id = CertificateId(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        self.by_name.insert(name.clone(), id);
        self.all.push(Certificate {
            name,
            source: found.source,
            staple: found.staple,
            origin,
        });
        id
    }
}

/// What stands behind a name.
struct KeyPair {
    source: CertificateSource,
    /// What its authority says about it.
    staple: Option<Arc<[u8]>>,
}

impl From<CertificateSource> for KeyPair {
    fn from(source: CertificateSource) -> Self {
        Self {
            source,
            staple: None,
        }
    }
}

/// Where a credential name points to.
enum Place<'n> {
    Secret { namespace: &'n str, name: &'n str },
    ConfigMap { namespace: &'n str, name: &'n str },
    Elsewhere(&'static str),
}

/// Reads `name`, `kubernetes://[ns/]name`, `kubernetes-gateway://ns/name`, `configmap://ns/name`.
fn place<'n>(text: &'n str, own: &'n str) -> Place<'n> {
    let named = |rest: &'n str| match rest.split_once('/') {
        Some((namespace, name)) => (namespace, name),
        None => (own, rest),
    };
    let secret = |(namespace, name)| Place::Secret { namespace, name };
    match text.split_once("://") {
        None => secret((own, text)),
        Some(("kubernetes" | "kubernetes-gateway", rest)) => secret(named(rest)),
        Some(("configmap", rest)) => {
            let (namespace, name) = named(rest);
            Place::ConfigMap { namespace, name }
        }
        Some(("builtin", _)) => {
            Place::Elsewhere("the workload's own certificate is not served yet")
        }
        Some(("sds", _)) => Place::Elsewhere("an external secret service is not asked yet"),
        Some(_) => Place::Elsewhere("the scheme is not known"),
    }
}

fn member<'s>(secret: &'s kube::Secret, key: &str) -> Option<&'s [u8]> {
    let text = secret.string_data.get(key).map(|t| t.0.as_bytes());
    text.or_else(|| secret.data.get(key).map(|b| b.0.as_slice()))
        .filter(|bytes| !bytes.is_empty())
}

fn key_pair(secret: &kube::Secret) -> Option<KeyPair> {
    let pair = |chain, key| Some((member(secret, chain)?, member(secret, key)?));
    let (chain, key) = pair("cert", "key").or_else(|| pair("tls.crt", "tls.key"))?;
    Some(KeyPair {
        source: CertificateSource::Inline {
            chain: Arc::from(chain),
            key: Secret(Arc::from(key)),
        },
        staple: member(secret, STAPLE).map(Arc::from),
    })
}

/// Key pairs of a server, by credential or by files.
pub(super) fn of_server(
    draft: &mut Draft<'_>,
    gateway: &Resource,
    tls: &ServerTlsSettings,
    path: &str,
) -> Vec<CertificateId> {
    let mut ids = Vec::new();
    if !tls.credential_names.is_empty() {
        for (index, name) in tls.credential_names.iter().enumerate() {
            ids.push(credential(
                draft,
                gateway,
                name,
                &format!("{path}.credentialNames[{index}]"),
            ));
        }
    } else if !tls.credential_name.is_empty() {
        ids.push(credential(
            draft,
            gateway,
            &tls.credential_name,
            &format!("{path}.credentialName"),
        ));
    } else if !tls.tls_certificates.is_empty() {
        for (index, pair) in tls.tls_certificates.iter().enumerate() {
            let path = format!("{path}.tlsCertificates[{index}]");
            ids.push(files(
                draft,
                gateway,
                (&pair.server_certificate, &pair.private_key),
                path,
            ));
        }
    } else if !tls.server_certificate.is_empty() {
        let path = format!("{path}.serverCertificate");
        ids.push(files(
            draft,
            gateway,
            (&tls.server_certificate, &tls.private_key),
            path,
        ));
    }
    ids
}

fn files(
    draft: &mut Draft<'_>,
    gateway: &Resource,
    (chain, key): (&str, &str),
    path: String,
) -> CertificateId {
    let name = format!("file://{chain}");
    if let Some(known) = draft.certificates.by_name.get(&name) {
        return *known;
    }
    let source = CertificateSource::Files {
        chain: chain.to_owned(),
        key: key.to_owned(),
    };
    draft
        .certificates
        .add(name, source.into(), draft.world.origin(gateway, path))
}

fn credential(draft: &mut Draft<'_>, gateway: &Resource, text: &str, path: &str) -> CertificateId {
    let own = draft.view.namespace.as_str();
    let name = match place(text, own) {
        Place::Secret { namespace, name } if namespace == own => format!("kubernetes://{name}"),
        Place::Secret { namespace, name } => format!("kubernetes://{namespace}/{name}"),
        _ => text.to_owned(),
    };
    if let Some(known) = draft.certificates.by_name.get(&name) {
        return *known;
    }
    let found = look_up(draft, text).unwrap_or_else(|(code, why)| {
        let found = finding(code, gateway, path, why);
        draft.found.push(found.help(format!(
            "handshakes fail until namespace `{own}` of the gateway has it"
        )));
        CertificateSource::Missing.into()
    });
    draft
        .certificates
        .add(name, found, draft.world.origin(gateway, path.to_owned()))
}

fn look_up(draft: &Draft<'_>, text: &str) -> Result<KeyPair, (Code, String)> {
    let own = draft.view.namespace.as_str();
    let invalid = |why: String| {
        (
            codes::IST0161,
            format!("credential {text:?} cannot be used: {why}"),
        )
    };
    let (namespace, name) = match place(text, own) {
        Place::Secret { namespace, name } => (namespace, name),
        Place::ConfigMap { .. } => {
            return Err(invalid("a ConfigMap holds no private key".to_owned()));
        }
        Place::Elsewhere(why) => return Err(invalid(why.to_owned())),
    };
    match draft.world.secret(namespace, name) {
        Some(secret) => key_pair(secret.spec).ok_or_else(|| {
            invalid(format!(
                "Secret {namespace}/{name} has neither cert and key nor tls.crt and tls.key"
            ))
        }),
        None => Err((
            codes::IST0101,
            format!("Referenced credentialName not found: {text:?}"),
        )),
    }
}

/// The workload's own certificate, by which it is known in the mesh.
pub(super) fn workload(draft: &mut Draft<'_>, asker: &Resource, path: &str) -> CertificateId {
    if let Some(known) = draft.certificates.by_name.get(WORKLOAD) {
        return *known;
    }
    let origin = draft.world.origin(asker, path.to_owned());
    let name = WORKLOAD.to_owned();
    draft
        .certificates
        .add(name, CertificateSource::Workload.into(), origin)
}

/// The key pair that a client of mode MUTUAL shows.
pub(super) fn of_client(
    draft: &mut Draft<'_>,
    rule: &Resource,
    tls: &ClientTlsSettings,
    path: &str,
) -> CertificateId {
    if tls.credential_name.is_empty() {
        let path = format!("{path}.clientCertificate");
        return files(
            draft,
            rule,
            (&tls.client_certificate, &tls.private_key),
            path,
        );
    }
    let path = format!("{path}.credentialName");
    credential(draft, rule, &tls.credential_name, &path)
}

/// Authorities that a server verifies client certificates with, and what they revoked. None: it
/// names none, so the shell has to refuse handshakes.
pub(super) fn client_ca(
    draft: &mut Draft<'_>,
    gateway: &Resource,
    tls: &ServerTlsSettings,
    path: &str,
) -> (Option<Bundle>, Option<Bundle>) {
    let file = |path: &String| {
        Some(path.clone())
            .filter(|p| !p.is_empty())
            .map(Bundle::File)
    };
    let crl = file(&tls.ca_crl);
    let first = tls.credential_names.first().unwrap_or(&tls.credential_name);
    let (text, field) = match tls.ca_cert_credential_name.as_str() {
        "" => (first.as_str(), "credentialName"),
        given => (given, "caCertCredentialName"),
    };
    if text.is_empty() {
        let pairs = tls
            .tls_certificates
            .iter()
            .map(|pair| &pair.ca_certificates);
        let mut given = std::iter::once(&tls.ca_certificates).chain(pairs);
        return (given.find_map(file), crl);
    }
    let (ca, revoked) = authorities(draft, gateway, text, &format!("{path}.{field}"));
    (Some(ca), revoked.or(crl))
}

/// Authorities of a credential, and what they revoked: `<name>-cacert` comes before the Secret
/// itself, `cacert` before `ca.crt`, and beside it `crl` before `ca.crl`.
pub(super) fn authorities(
    draft: &mut Draft<'_>,
    asker: &Resource,
    text: &str,
    path: &str,
) -> (Bundle, Option<Bundle>) {
    if let Some(found) = ca(draft, text) {
        return found;
    }
    let message = format!(
        "credential {text:?} has no CA to verify peers with (cacert or ca.crt), handshakes are refused"
    );
    draft.report(codes::IST0161, asker, path, message);
    (Bundle::Missing(format!("no CA in credential {text}")), None)
}

fn ca(draft: &Draft<'_>, text: &str) -> Option<(Bundle, Option<Bundle>)> {
    let world = draft.world;
    let inline = |bytes: &[u8]| Bundle::Inline(Arc::from(bytes));
    match place(text, &draft.view.namespace) {
        Place::Secret { namespace, name } => {
            let beside = world.secret(namespace, &format!("{name}-cacert"));
            let secrets = beside.into_iter().chain(world.secret(namespace, name));
            let mut found = secrets.filter_map(|s| {
                let either = |one, other| member(s.spec, one).or_else(|| member(s.spec, other));
                let crl = either("crl", "ca.crl").map(inline);
                Some((inline(either("cacert", "ca.crt")?), crl))
            });
            found.next()
        }
        Place::ConfigMap { namespace, name } => {
            let data = &world.config_map(namespace, name)?.spec.data;
            let either = |one, other| data.get(one).or_else(|| data.get(other));
            let crl = either("crl", "ca.crl").map(|text| inline(text.as_bytes()));
            Some((inline(either("cacert", "ca.crt")?.as_bytes()), crl))
        }
        Place::Elsewhere(_) => None,
    }
}
