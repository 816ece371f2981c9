//! Whom CUSTOM policies ask: extension providers of the mesh, as authorizers.
//!
//! Istio `pilot/pkg/security/authz/builder/extauthz.go`. As there, all CUSTOM policies of a proxy must
//! name the same provider; where they do not, or it cannot be asked, they refuse what they match.

use super::draft::Draft;
use super::{clusters, millis};
use crate::api::mesh_config::{
    EnvoyExtAuthzGrpc, EnvoyExtAuthzHttp, ExtensionProvider, RequestBody,
};
use crate::api::{AuthorizationPolicy as Written, Map};
use crate::diag::codes;
use crate::ir::{
    Authorizer, AuthorizerId, CheckBody, CheckProtocol, Cluster, ClusterId, HttpCheck, Millis,
    TextMatch,
};
use crate::world::Typed;
use std::time::Duration;

/// Istio's limit for an answer: so long that other timeouts count.
const TIMEOUT: Millis = Millis(600_000);
/// What a client is told when nobody answers.
const STATUS_ON_ERROR: u16 = 403;

/// The authorizer of a proxy's CUSTOM policies; `None`, with a diagnostic, when there is none.
pub(super) fn of(draft: &mut Draft<'_>, policies: &[Typed<'_, Written>]) -> Option<AuthorizerId> {
    let name = |policy: &Typed<'_, Written>| policy.spec.provider.as_ref().map(|p| p.name.clone());
    let (first, named) = policies.iter().find_map(|p| Some((*p, name(p)?)))?;
    if let Some(other) = policies.iter().find(|p| name(p).as_ref() != Some(&named)) {
        let other = name(other).unwrap_or_default();
        let why = format!(
            "all policies of a proxy must name the same provider, not `{named}` and `{other}`"
        );
        return refuse(draft, first, &why);
    }
    let world = draft.world;
    let mut all = world.mesh.extension_providers.iter();
    let Some(provider) = all.find(|p| p.name == named) else {
        return refuse(
            draft,
            first,
            &format!("there is no extension provider `{named}`"),
        );
    };
    match authorizer(draft, provider) {
        Ok(authorizer) => {
            draft.policies.authorizers.push(authorizer);
            let last = draft.policies.authorizers.len() - 1;
            Some(AuthorizerId(u32::try_from(last).unwrap_or(u32::MAX)))
        }
        Err(why) => refuse(
            draft,
            first,
            &format!("extension provider `{named}`: {why}"),
        ),
    }
}

/// Every authorizer that can be asked, whether anybody here asks it or not: what sidecars of one
/// vantage call does not depend on their policies.
pub(super) fn all(draft: &mut Draft<'_>) -> Vec<Authorizer> {
    let world = draft.world;
    let providers = world.mesh.extension_providers.iter();
    providers
        .filter_map(|provider| authorizer(draft, provider).ok())
        .collect()
}

/// Authorizers that name clusters of one snapshot, for another, which gets what it lacks of them.
pub(super) fn moved(
    mut authorizers: Vec<Authorizer>,
    from: &[Cluster],
    to: &mut Vec<Cluster>,
) -> Vec<Authorizer> {
    for authorizer in &mut authorizers {
        let at = usize::try_from(authorizer.cluster.0).unwrap_or(usize::MAX);
        let Some(cluster) = from.get(at) else {
            continue;
        };
        let known = to.iter().position(|known| known.name == cluster.name);
        let at = known.unwrap_or_else(|| {
            to.push(cluster.clone());
            to.len() - 1
        });
        authorizer.cluster = ClusterId(u32::try_from(at).unwrap_or(u32::MAX));
    }
    authorizers
}

fn refuse<T>(draft: &mut Draft<'_>, policy: Typed<'_, Written>, why: &str) -> Option<T> {
    let message = format!("nobody can be asked, so what the rules match is answered 403: {why}");
    draft.report(
        codes::SP0404,
        policy.resource,
        "spec.provider.name",
        message,
    );
    None
}

fn authorizer(draft: &mut Draft<'_>, provider: &ExtensionProvider) -> Result<Authorizer, String> {
    let name = provider.name.clone();
    if let Some(http) = &provider.envoy_ext_authz_http {
        let (cluster, host) = service(draft, &http.service, http.port)?;
        Ok(Authorizer {
            name,
            cluster,
            host,
            timeout: timeout(http.timeout),
            fail_open: http.fail_open,
            status_on_error: status(&http.status_on_error)?,
            body: body(http.include_request_body_in_check.as_ref())?,
            protocol: CheckProtocol::Http(Box::new(check(http)?)),
        })
    } else if let Some(grpc) = &provider.envoy_ext_authz_grpc {
        let EnvoyExtAuthzGrpc {
            service: at, port, ..
        } = grpc;
        let (cluster, host) = service(draft, at, *port)?;
        Ok(Authorizer {
            name,
            cluster,
            host,
            timeout: timeout(grpc.timeout),
            fail_open: grpc.fail_open,
            status_on_error: status(&grpc.status_on_error)?,
            body: body(grpc.include_request_body_in_check.as_ref())?,
            protocol: CheckProtocol::Grpc,
        })
    } else {
        Err("it is none of external authorization".to_owned())
    }
}

/// `[namespace/]host`.
fn service(draft: &mut Draft<'_>, at: &str, port: u32) -> Result<(ClusterId, String), String> {
    let (namespace, host) = match at.split_once('/') {
        Some((namespace, host)) => (Some(namespace), host),
        None => (None, at),
    };
    let port = u16::try_from(port).ok().filter(|port| *port > 0);
    let port = port.ok_or("`port` must be between 1 and 65535")?;
    let cluster = clusters::of_service(draft, namespace, host, port);
    let cluster = cluster.ok_or_else(|| format!("there is no service `{at}` with port {port}"))?;
    Ok((cluster, host.to_owned()))
}

fn timeout(said: Option<Duration>) -> Millis {
    said.map(millis).filter(|t| t.0 > 0).unwrap_or(TIMEOUT)
}

fn status(said: &str) -> Result<u16, String> {
    if said.is_empty() {
        return Ok(STATUS_ON_ERROR);
    }
    let status = said.parse().ok().filter(|s| (200..=599).contains(s));
    status.ok_or_else(|| format!("`statusOnError: {said}` is not a status between 200 and 599"))
}

fn body(said: Option<&RequestBody>) -> Result<Option<CheckBody>, String> {
    let Some(said) = said else { return Ok(None) };
    match said.max_request_bytes {
        0 => Err("`maxRequestBytes` must be positive".to_owned()),
        bytes => Ok(Some(CheckBody {
            bytes: bytes.min(Authorizer::BODY_MAX),
            partial: said.allow_partial_message,
            raw: said.pack_as_bytes,
        })),
    }
}

fn check(http: &EnvoyExtAuthzHttp) -> Result<HttpCheck, String> {
    let path_prefix = http.path_prefix.clone();
    if !path_prefix.is_empty() && !path_prefix.starts_with('/') {
        return Err(format!(
            "`pathPrefix: {path_prefix}` must begin with a slash"
        ));
    }
    let include = match http.include_request_headers_in_check.as_slice() {
        [] => &http.include_headers_in_check,
        given => given,
    };
    Ok(HttpCheck {
        path_prefix,
        include: names(include),
        add: added(&http.include_additional_headers_in_check),
        to_upstream: names(&http.headers_to_upstream_on_allow),
        on_deny: names(&http.headers_to_downstream_on_deny),
        on_allow: names(&http.headers_to_downstream_on_allow),
    })
}

fn names(patterns: &[String]) -> Vec<TextMatch> {
    let lower = patterns.iter().map(|pattern| pattern.to_ascii_lowercase());
    lower.map(|pattern| TextMatch::parse(&pattern)).collect()
}

fn added(fields: &Map<String>) -> Vec<(String, String)> {
    let mut fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect();
    fields.sort();
    fields
}
