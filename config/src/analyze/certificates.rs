//! Are the certificates that Gateways name there and usable, and does one serve two Gateways?

use std::collections::{HashMap, HashSet};

use super::conflicting_gateways::canonical;
use super::gateways::names;
use super::{Finding, Findings, Index};
use crate::api::gateway::{ServerTlsMode, ServerTlsSettings};
use crate::api::kube::Secret;
use crate::diag::codes;
use crate::resource::Resource;

/// Secrets that do not exist, or hold nothing usable.
pub(super) fn secrets(index: &Index<'_>, to: &mut Findings) {
    let mut by_name: HashMap<&str, Vec<(&Resource, &Secret)>> = HashMap::new();
    let mut namespaces = HashSet::new();
    for (resource, secret) in index.set.secrets() {
        by_name
            .entry(&resource.meta.name)
            .or_default()
            .push((resource, secret));
        namespaces.insert(&*resource.meta.namespace);
    }
    for (resource, gateway) in index.set.gateways() {
        for (i, server) in gateway.servers.iter().enumerate() {
            let Some(tls) = &server.tls else { continue };
            for (field, name) in credentials(tls) {
                // files, other sources and other namespaces are not looked into
                if name.is_empty() || name.contains("://") {
                    continue;
                }
                let path = format!("spec.servers[{i}].tls.{field}");
                let found = by_name.get(name).map_or(&[][..], Vec::as_slice);
                let own = found
                    .iter()
                    .find(|(r, _)| r.meta.namespace == resource.meta.namespace)
                    .or_else(|| found.first());
                match own {
                    Some(secret) => usable(resource, *secret, (tls, name), &by_name, path, to),
                    None if namespaces.contains(&*resource.meta.namespace) => {
                        let message = format!(
                            "there is no Secret `{name}`: connections to the server are reset until it is there"
                        );
                        let help =
                            "a Secret is looked for in the namespace of the gateway's workload";
                        to.push(Finding::new(codes::IST0101, resource, path, message).help(help));
                    }
                    None => {}
                }
            }
        }
    }
}

fn credentials(tls: &ServerTlsSettings) -> impl Iterator<Item = (String, &str)> {
    let one = std::iter::once(("credentialName".to_owned(), tls.credential_name.as_str()));
    one.chain(
        tls.credential_names
            .iter()
            .enumerate()
            .map(|(i, n)| (format!("credentialNames[{i}]"), n.as_str())),
    )
}

fn usable(
    on: &Resource,
    (resource, secret): (&Resource, &Secret),
    (tls, name): (&ServerTlsSettings, &str),
    by_name: &HashMap<&str, Vec<(&Resource, &Secret)>>,
    path: String,
    to: &mut Findings,
) {
    let pair = [("cert", "key"), ("tls.crt", "tls.key")]
        .into_iter()
        .find(|(c, _)| text(secret, c).is_some());
    let problem = match pair {
        None => Some("it has no `tls.crt` (or `cert`)".to_owned()),
        Some((certificate, key)) => match (text(secret, certificate), text(secret, key)) {
            (Some(c), _) if !is_pem(&c, "CERTIFICATE") => {
                Some(format!("`{certificate}` is not a PEM certificate"))
            }
            (_, None) => Some(format!("it has no `{key}`")),
            (_, Some(k)) if !is_pem(&k, "PRIVATE KEY") => {
                Some(format!("`{key}` is not a PEM private key"))
            }
            _ => None,
        },
    };
    let needs_ca = matches!(
        tls.mode,
        ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual
    ) && tls.ca_cert_credential_name.is_empty();
    let other = format!("{name}-cacert");
    let has_ca = |s: &Secret| {
        ["cacert", "ca.crt"]
            .into_iter()
            .any(|k| text(s, k).is_some_and(|t| is_pem(&t, "CERTIFICATE")))
    };
    let ca = !needs_ca
        || has_ca(secret)
        || by_name
            .get(other.as_str())
            .is_some_and(|l| l.iter().any(|(_, s)| has_ca(s)));
    let problem = problem.or_else(|| {
        (!ca).then(|| {
            format!(
                "mode {} needs a CA: `ca.crt` in it, or a Secret `{other}`",
                tls.mode.as_str()
            )
        })
    });
    if let Some(problem) = problem {
        let message = format!("Secret `{name}` cannot be used: {problem}");
        let finding = Finding::new(codes::IST0161, on, path, message)
            .help("connections to the server are reset until the Secret is good");
        to.push(finding.label(resource, "metadata.name", "the Secret is here"));
    }
}

/// A value of a Secret as text; binary values read as empty, which no PEM is.
fn text(secret: &Secret, key: &str) -> Option<String> {
    let plain = secret.string_data.get(key).map(|t| t.0.clone());
    plain.or_else(|| {
        secret
            .data
            .get(key)
            .map(|b| String::from_utf8(b.0.clone()).unwrap_or_default())
    })
}

/// Whether a block of this kind is opened and closed. What is in it is the TLS library's to judge.
fn is_pem(text: &str, kind: &str) -> bool {
    let begin = text
        .lines()
        .any(|l| l.starts_with("-----BEGIN ") && l.trim_end().ends_with(&format!("{kind}-----")));
    begin && text.contains("-----END ")
}

/// One certificate in several Gateways of the same workloads.
pub(super) fn shared(index: &Index<'_>, to: &mut Findings) {
    let mut users: HashMap<(String, String), Vec<(&Resource, usize)>> = HashMap::new();
    for (resource, gateway) in index.set.gateways() {
        let selector = canonical(&gateway.selector);
        for (i, server) in gateway.servers.iter().enumerate() {
            let Some(tls) = &server.tls else { continue };
            let certificate = if tls.credential_name.is_empty() {
                &tls.server_certificate
            } else {
                &tls.credential_name
            };
            if certificate.is_empty() {
                continue;
            }
            let list = users
                .entry((selector.clone(), certificate.clone()))
                .or_default();
            if !list.iter().any(|(r, _)| std::ptr::eq(*r, resource)) {
                list.push((resource, i));
            }
        }
    }
    for ((_, certificate), list) in &users {
        let Some(((first, first_server), rest)) = list.split_first() else {
            continue;
        };
        for (resource, server) in rest {
            let message = format!(
                "certificate `{certificate}` is used by Gateways {}: browsers reuse a connection for every host of a certificate",
                names(&[first, resource])
            );
            let finding = Finding::new(
                codes::IST0138,
                resource,
                format!("spec.servers[{server}].tls"),
                message,
            );
            to.push(
                finding
                    .help("put the hosts into one Gateway, or give each its own certificate")
                    .label(
                        first,
                        format!("spec.servers[{first_server}].tls"),
                        "it is used here first",
                    ),
            );
        }
    }
}
