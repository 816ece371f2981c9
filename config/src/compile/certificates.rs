//! Credentials: names become key pairs, from Secrets or from files.
//!
//! A credential belongs to the namespace of the gateway's workload. Keys inside a Secret: `cert`
//! and `key` come before `tls.crt` and `tls.key`; CAs are in `<name>-cacert` before the Secret
//! itself, as `cacert` before `ca.crt`. Istio `pilot/pkg/credentials/kube/secrets.go`,
//! `pilot/pkg/model/credentials/resource.go`. A credential that is missing is a certificate
//! without content: its listener stays and refuses handshakes until it appears.

use super::draft::{Draft, finding};
use crate::api::gateway::ServerTlsSettings;
use crate::api::kube;
use crate::diag::{Code, codes};
use crate::ir::{Certificate, CertificateId, CertificateSource, Origin, Secret};
use crate::resource::Resource;
use std::collections::HashMap;
use std::sync::Arc;

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

    fn add(&mut self, name: String, source: CertificateSource, origin: Origin) -> CertificateId {
        let id = CertificateId(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        self.by_name.insert(name.clone(), id);
        self.all.push(Certificate {
            name,
            source,
            origin,
        });
        id
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

fn key_pair(secret: &kube::Secret) -> Option<CertificateSource> {
    let pair = |chain, key| Some((member(secret, chain)?, member(secret, key)?));
    let (chain, key) = pair("cert", "key").or_else(|| pair("tls.crt", "tls.key"))?;
    Some(CertificateSource::Inline {
        chain: Arc::from(chain),
        key: Secret(Arc::from(key)),
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
        .add(name, source, draft.world.origin(gateway, path))
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
    let source = look_up(draft, text).unwrap_or_else(|(code, why)| {
        let found = finding(code, gateway, path, why);
        draft.found.push(found.help(format!(
            "handshakes are refused until namespace `{own}` of the gateway has it"
        )));
        CertificateSource::Missing
    });
    draft
        .certificates
        .add(name, source, draft.world.origin(gateway, path.to_owned()))
}

fn look_up(draft: &Draft<'_>, text: &str) -> Result<CertificateSource, (Code, String)> {
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

/// CAs that a server verifies client certificates with. None: nothing verifies, so the shell has
/// to refuse handshakes.
pub(super) fn client_ca(
    draft: &mut Draft<'_>,
    gateway: &Resource,
    tls: &ServerTlsSettings,
    path: &str,
) -> Option<Arc<[u8]>> {
    let first = tls.credential_names.first().unwrap_or(&tls.credential_name);
    let (text, field) = match tls.ca_cert_credential_name.as_str() {
        "" => (first.as_str(), "credentialName"),
        given => (given, "caCertCredentialName"),
    };
    if text.is_empty() {
        return None;
    }
    let found = ca(draft, text, field == "credentialName");
    if found.is_none() {
        let message = format!(
            "credential {text:?} has no CA for client certificates (cacert or ca.crt), handshakes are refused"
        );
        draft.report(codes::IST0161, gateway, &format!("{path}.{field}"), message);
    }
    found
}

fn ca(draft: &Draft<'_>, text: &str, beside: bool) -> Option<Arc<[u8]>> {
    let world = draft.world;
    match place(text, &draft.view.namespace) {
        Place::Secret { namespace, name } => {
            let beside = beside
                .then(|| world.secret(namespace, &format!("{name}-cacert")))
                .flatten();
            let secrets = beside.into_iter().chain(world.secret(namespace, name));
            let mut found = secrets
                .filter_map(|s| member(s.spec, "cacert").or_else(|| member(s.spec, "ca.crt")));
            found.next().map(Arc::from)
        }
        Place::ConfigMap { namespace, name } => {
            let map = world.config_map(namespace, name)?.spec;
            let text = map.data.get("cacert").or_else(|| map.data.get("ca.crt"))?;
            Some(Arc::from(text.as_bytes()))
        }
        Place::Elsewhere(_) => None,
    }
}
