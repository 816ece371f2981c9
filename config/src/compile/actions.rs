//! What a rule does: redirect, answer, or forward; with fault, CORS, rewrite and mirrors.
//!
//! Istio `pilot/pkg/networking/core/route/route.go` (`translateRoute`, `ApplyRedirect`,
//! `applyHTTPRouteDestination`, `TranslateCORSPolicy`, `TranslateFault`). An error is what is wrong
//! with the rule; the caller turns it into a route that fails.

use super::clusters::{Asker, resolve};
use super::draft::Draft;
use super::{headers, millis, retries};
use crate::api::shared::{Percent, StringMatch};
use crate::api::virtual_service::{
    CorsPolicy, HttpDirectResponse, HttpFaultInjection, HttpRedirect, HttpRewrite, HttpRoute,
    RedirectPortSelection, UnmatchedPreflights,
};
use crate::ir::{
    AbortStatus, Action, Cors, DirectResponse, Fault, FaultAbort, FaultDelay, Forward, HeaderOps,
    Mirror, PathMatch, PathRewrite, Ppm, Redirect, RedirectPort, Rewrite, Route, Target,
};
use std::sync::Arc;

/// Fills in everything behind the matcher.
pub(super) fn fill(
    draft: &mut Draft<'_>,
    route: &mut Route,
    http: &HttpRoute,
    asker: Asker<'_>,
    path: &str,
    tls: bool,
) -> Result<(), String> {
    let level = headers::level(http.headers.as_ref())?;
    if let Some(redirect) = &http.redirect {
        route.headers = level.ops;
        route.action = Action::Redirect(Box::new(redirection(
            redirect,
            &route.matcher.path,
            asker.server_port,
            tls,
        )?));
        return Ok(());
    }
    if let Some(direct) = &http.direct_response {
        route.headers = level.ops;
        route.action = Action::Direct(answer(direct)?);
        return Ok(());
    }
    route.fault = http
        .fault
        .as_ref()
        .map(fault)
        .transpose()?
        .filter(|f| f.delay.is_some() || f.abort.is_some());
    route.cors = http
        .cors_policy
        .as_ref()
        .map(|policy| cors(draft, policy))
        .transpose()?;
    let mut rewrite = match &http.rewrite {
        Some(rewrite) => rewriting(draft, rewrite, &route.matcher.path)?,
        None => Rewrite::default(),
    };
    rewrite.authority = rewrite.authority.or(level.authority);
    let (targets, merged) = targets(draft, http, asker, path, level.ops)?;
    route.headers = merged;
    let mirrors = mirrors(draft, http, asker, path);
    route.action = Action::Forward(Box::new(Forward {
        targets,
        rewrite,
        timeout: http.timeout.map(millis).filter(|t| t.0 > 0),
        retry: retries::policy(
            http.retries.as_ref(),
            draft.world.mesh.default_http_retry_policy.as_ref(),
        ),
        mirrors,
    }));
    Ok(())
}

/// Destinations with weights, and the header operations of the route: with one destination, both
/// levels in one list.
fn targets(
    draft: &mut Draft<'_>,
    http: &HttpRoute,
    asker: Asker<'_>,
    path: &str,
    route: HeaderOps,
) -> Result<(Vec<Target>, HeaderOps), String> {
    let several = http.route.len() > 1;
    let mut targets = Vec::with_capacity(http.route.len());
    let mut ops = route;
    for (index, to) in http.route.iter().enumerate() {
        let weight = u32::try_from(to.weight).unwrap_or(0);
        if several && weight == 0 {
            continue;
        }
        let Some(destination) = &to.destination else {
            return Err(format!("route[{index}] has no destination"));
        };
        let cluster = resolve(
            draft,
            asker,
            destination,
            &format!("{path}.route[{index}].destination"),
        );
        let level = headers::level(to.headers.as_ref())?;
        let headers = if several {
            level.ops
        } else {
            ops = headers::merge(std::mem::take(&mut ops), level.ops);
            HeaderOps::default()
        };
        targets.push(Target {
            cluster,
            weight,
            headers,
            authority: level.authority,
        });
    }
    if targets.is_empty() {
        return Err(
            "it has no destination with a weight, no redirect and no directResponse".to_owned(),
        );
    }
    Ok((targets, ops))
}

fn mirrors(draft: &mut Draft<'_>, http: &HttpRoute, asker: Asker<'_>, path: &str) -> Vec<Mirror> {
    let mut out = Vec::new();
    let mut add = |draft: &mut Draft<'_>, destination: Option<&_>, share: Ppm, path: String| {
        if let Some(destination) = destination.filter(|_| share.0 > 0) {
            out.push(Mirror {
                cluster: resolve(draft, asker, destination, &path),
                share,
            });
        }
    };
    if http.mirror.is_some() {
        let share = match (&http.mirror_percentage, http.mirror_percent) {
            (Some(percent), _) => ppm(percent.value),
            (None, Some(percent)) => ppm(f64::from(percent)),
            (None, None) => Ppm::ALL,
        };
        add(draft, http.mirror.as_ref(), share, format!("{path}.mirror"));
    }
    for (index, mirror) in http.mirrors.iter().enumerate() {
        let share = mirror
            .percentage
            .as_ref()
            .map_or(Ppm::ALL, |p| ppm(p.value));
        add(
            draft,
            mirror.destination.as_ref(),
            share,
            format!("{path}.mirrors[{index}].destination"),
        );
    }
    out
}

/// A percentage as parts per million; what is out of range is cut off.
pub(super) fn ppm(percent: f64) -> Ppm {
    let millionths = (percent.clamp(0.0, 100.0) * 10_000.0).round();
    // integers up to a million are exact in a float, and their text is that of an integer
    Ppm(format!("{millionths:.0}").parse().unwrap_or(0))
}

fn share(percentage: Option<&Percent>) -> Ppm {
    percentage.map_or(Ppm(0), |p| ppm(p.value))
}

fn fault(said: &HttpFaultInjection) -> Result<Fault, String> {
    let delay = said.delay.as_ref().map(|delay| {
        let share = match &delay.percentage {
            Some(percentage) => ppm(percentage.value),
            None => ppm(f64::from(delay.percent)),
        };
        let duration = delay.fixed_delay.ok_or("fault.delay has no fixedDelay")?;
        Ok::<_, String>(FaultDelay {
            duration: millis(duration),
            share,
        })
    });
    let abort = said.abort.as_ref().map(|abort| {
        let status = match (abort.http_status, &abort.grpc_status) {
            (Some(status), _) => {
                let status = u16::try_from(status)
                    .ok()
                    .filter(|s| (200..600).contains(s));
                AbortStatus::Http(status.ok_or("fault.abort.httpStatus is not 200 to 599")?)
            }
            (None, Some(name)) => AbortStatus::Grpc(grpc_status(name)?),
            (None, None) => return Err("fault.abort has no status".to_owned()),
        };
        Ok(FaultAbort {
            status,
            share: share(abort.percentage.as_ref()),
        })
    });
    // without a share nothing is ever injected
    Ok(Fault {
        delay: delay.transpose()?.filter(|d| d.share.0 > 0),
        abort: abort.transpose()?.filter(|a| a.share.0 > 0),
    })
}

/// Names of gRPC statuses by number.
const GRPC: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

fn grpc_status(name: &str) -> Result<u8, String> {
    let by_name = GRPC
        .iter()
        .position(|known| *known == name)
        .and_then(|n| u8::try_from(n).ok());
    by_name
        .or_else(|| name.parse().ok().filter(|n| *n <= 16))
        .ok_or_else(|| format!("fault.abort.grpcStatus `{name}` is no gRPC status"))
}

fn cors(draft: &Draft<'_>, policy: &CorsPolicy) -> Result<Cors, String> {
    let exact = |text: &String| StringMatch {
        exact: Some(text.clone()),
        ..StringMatch::default()
    };
    let origins = if policy.allow_origins.is_empty() {
        policy.allow_origin.iter().map(exact).collect()
    } else {
        policy.allow_origins.clone()
    };
    Ok(Cors {
        allow_origins: draft.regexes.values(&origins)?,
        allow_methods: policy.allow_methods.join(","),
        allow_headers: policy.allow_headers.join(","),
        expose_headers: policy.expose_headers.join(","),
        max_age_seconds: policy.max_age.map(|age| age.as_secs()),
        allow_credentials: policy.allow_credentials.unwrap_or(false),
        forward_unmatched_preflights: policy.unmatched_preflights != UnmatchedPreflights::Ignore,
    })
}

fn rewriting(
    draft: &Draft<'_>,
    rewrite: &HttpRewrite,
    matched: &PathMatch,
) -> Result<Rewrite, String> {
    let path = if let Some(regex) = &rewrite.uri_regex_rewrite {
        let pattern = draft.regexes.check(&regex.match_)?;
        Some(PathRewrite::Regex {
            pattern,
            to: regex.rewrite.clone(),
        })
    } else if rewrite.uri.is_empty() {
        None
    } else {
        Some(match matched {
            PathMatch::Prefix { prefix, .. } => PathRewrite::Prefix {
                from: prefix.clone(),
                to: rewrite.uri.clone(),
            },
            _ => PathRewrite::Full(rewrite.uri.clone()),
        })
    };
    Ok(Rewrite {
        path,
        authority: Some(rewrite.authority.clone()).filter(|a| !a.is_empty()),
    })
}

fn redirection(
    said: &HttpRedirect,
    matched: &PathMatch,
    server_port: u16,
    tls: bool,
) -> Result<Redirect, String> {
    let status = match said.redirect_code {
        0 => 301,
        code @ (301 | 302 | 303 | 307 | 308) => u16::try_from(code).unwrap_or(301),
        other => {
            return Err(format!(
                "redirectCode {other} is not one of 301, 302, 303, 307, 308"
            ));
        }
    };
    let path = match (&said.prefix_rewrite, said.uri.as_str()) {
        (Some(to), _) => Some(PathRewrite::Prefix {
            from: match matched {
                PathMatch::Prefix { prefix, .. } => prefix.clone(),
                PathMatch::Any => "/".to_owned(),
                _ => return Err("redirect.prefixRewrite needs a uri match by prefix".to_owned()),
            },
            to: to.clone(),
        }),
        (None, "") => None,
        (None, uri) => Some(PathRewrite::Full(uri.to_owned())),
    };
    let some = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
    let scheme = some(&said.scheme);
    let secure = scheme.as_deref().map_or(tls, |s| s == "https");
    let number = match (said.port, said.derive_port) {
        (Some(port), _) => {
            Some(u16::try_from(port).map_err(|_| format!("redirect.port {port} is no port"))?)
        }
        (None, Some(RedirectPortSelection::FromRequestPort)) => Some(server_port),
        (None, _) => None,
    };
    let port = match number {
        // Istio leaves out the scheme's own port, and with it the replacement
        Some(443) if secure => RedirectPort::Keep,
        Some(80) if !secure => RedirectPort::Keep,
        Some(number) => RedirectPort::Number(number),
        None if said.derive_port == Some(RedirectPortSelection::FromProtocolDefault) => {
            RedirectPort::Default
        }
        None => RedirectPort::Keep,
    };
    Ok(Redirect {
        status,
        path,
        authority: some(&said.authority),
        scheme,
        port,
    })
}

/// Longest body of a direct response (Envoy's `max_direct_response_body_size` as Istio sets it).
const LONGEST_BODY: usize = 1024 * 1024;

fn answer(said: &HttpDirectResponse) -> Result<DirectResponse, String> {
    let status = u16::try_from(said.status)
        .ok()
        .filter(|s| (200..600).contains(s));
    let status =
        status.ok_or_else(|| format!("directResponse.status {} is not 200 to 599", said.status))?;
    let body = said.body.as_ref();
    let string = body.and_then(|b| b.string.as_ref()).map(|s| s.as_bytes());
    let bytes = body.and_then(|b| b.bytes.as_ref()).map(|b| b.0.as_slice());
    let body = string.or(bytes).unwrap_or_default();
    if body.len() > LONGEST_BODY {
        return Err(format!(
            "directResponse.body is longer than {LONGEST_BODY} bytes"
        ));
    }
    Ok(DirectResponse {
        status,
        body: Arc::from(body),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_to_parts_per_million() {
        for (percent, want) in [
            (0.0, 0),
            (100.0, 1_000_000),
            (0.0001, 1),
            (33.333, 333_330),
            (250.0, 1_000_000),
            (-1.0, 0),
        ] {
            assert_eq!(ppm(percent), Ppm(want), "{percent}");
        }
    }

    #[test]
    fn grpc_statuses_go_by_name_or_number() {
        assert_eq!(grpc_status("UNAVAILABLE"), Ok(14));
        assert_eq!(grpc_status("14"), Ok(14));
        assert!(grpc_status("17").is_err() && grpc_status("nonsense").is_err());
    }

    #[test]
    fn the_port_of_a_redirect_is_left_out_where_the_scheme_implies_it() {
        let said = |port, derive_port, scheme: &str| HttpRedirect {
            port,
            derive_port,
            scheme: scheme.to_owned(),
            ..HttpRedirect::default()
        };
        let request = Some(RedirectPortSelection::FromRequestPort);
        let default = Some(RedirectPortSelection::FromProtocolDefault);
        for (said, server_port, tls, want) in [
            (
                said(Some(80), None, "https"),
                80,
                false,
                RedirectPort::Number(80),
            ),
            (
                said(Some(443), None, "https"),
                80,
                false,
                RedirectPort::Keep,
            ),
            (said(None, request, ""), 80, false, RedirectPort::Keep),
            (said(None, request, ""), 85, false, RedirectPort::Number(85)),
            (said(None, request, ""), 443, true, RedirectPort::Keep),
            (said(None, default, ""), 85, false, RedirectPort::Default),
            (said(None, None, ""), 85, false, RedirectPort::Keep),
        ] {
            assert_eq!(
                redirection(&said, &PathMatch::Any, server_port, tls)
                    .unwrap()
                    .port,
                want,
                "{said:?}"
            );
        }
    }
}
