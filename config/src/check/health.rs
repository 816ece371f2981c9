//! Active health checks: an annotation of ours on a `DestinationRule`, for Istio has none.
//!
//! ```yaml
//! sallyport.io/health-check: |
//!   http: {path: /healthz, host: shop.example}    # or tcp: {}, or grpc: {service: shop.Shop}
//!   interval: 10s
//!   timeout: 1s
//!   unhealthyThreshold: 3
//!   healthyThreshold: 2
//! ```

use super::{Path, Scope};
use crate::ir::{HealthCheck, HealthProbe, Millis};
use crate::message::go_duration;
use crate::resource::Resource;
use crate::yaml::read::read;
use crate::yaml::{Entry, Node};

/// The annotation.
pub(crate) const ANNOTATION: &str = "sallyport.io/health-check";
/// Shortest interval: checks must not become a load.
const INTERVAL_MIN: Millis = Millis(500);
/// Longest interval and timeout.
const TIME_MAX: Millis = Millis(3_600_000);
/// Most checks in a row that a threshold may ask for.
const THRESHOLD_MAX: u32 = 100;

/// Says what is wrong with the annotation, if there is one.
pub(super) fn check(scope: &mut Scope<'_>) {
    if let Some(Err(why)) = of(scope.resource) {
        let root = Path::root("metadata");
        let at = root.field("annotations");
        let help = "write http: {path: /healthz}, tcp: {} or grpc: {}; interval, timeout, \
                    unhealthyThreshold, healthyThreshold";
        scope.error(&at.field(ANNOTATION), why, help);
    }
}

/// The health check of a rule, if it has one, or what is wrong with it.
pub(crate) fn of(rule: &Resource) -> Option<Result<HealthCheck, String>> {
    let text = rule.meta.annotations.get(ANNOTATION)?;
    let documents = read(rule.file, text);
    let broken = documents.broken.first().map(|b| b.message.clone());
    let node = documents.list.first().map(|document| &document.node);
    Some(match (broken, node) {
        (Some(why), _) => Err(format!("the health check is not YAML: {why}")),
        (None, None) => Err("the health check is empty".to_owned()),
        (None, Some(node)) => decode(node),
    })
}

fn decode(node: &Node) -> Result<HealthCheck, String> {
    let mut probe = None;
    let mut check = HealthCheck {
        probe: HealthProbe::Tcp,
        interval: Millis(10_000),
        timeout: Millis(1_000),
        unhealthy: 3,
        healthy: 2,
    };
    for entry in node.entries() {
        let value = &entry.value;
        let mut is_probe = |found| match probe.replace(found) {
            None => Ok(()),
            Some(_) => Err("a health check is one of `http`, `tcp` and `grpc`".to_owned()),
        };
        match &*entry.key {
            "http" => is_probe(http(value)?)?,
            "tcp" => is_probe(HealthProbe::Tcp)?,
            "grpc" => is_probe(grpc(value)?)?,
            "interval" => check.interval = time(entry, INTERVAL_MIN)?,
            "timeout" => check.timeout = time(entry, Millis(1))?,
            "unhealthyThreshold" => check.unhealthy = threshold(entry)?,
            "healthyThreshold" => check.healthy = threshold(entry)?,
            other => return Err(format!("a health check has no `{other}`")),
        }
    }
    check.probe = probe.ok_or("a health check needs `http`, `tcp` or `grpc`")?;
    Ok(check)
}

fn http(node: &Node) -> Result<HealthProbe, String> {
    let (mut path, mut host) = ("/".to_owned(), String::new());
    for entry in node.entries() {
        match &*entry.key {
            "path" => path = text(entry)?,
            "host" => host = text(entry)?,
            other => return Err(format!("`http` of a health check has no `{other}`")),
        }
    }
    let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !path.starts_with('/') || !visible(&path) || !visible(&host) {
        return Err("`path` must begin with `/`, and neither it nor `host` have spaces".to_owned());
    }
    Ok(HealthProbe::Http { path, host })
}

fn grpc(node: &Node) -> Result<HealthProbe, String> {
    let mut service = String::new();
    for entry in node.entries() {
        match &*entry.key {
            "service" => service = text(entry)?,
            other => return Err(format!("`grpc` of a health check has no `{other}`")),
        }
    }
    if service.len() > 127 {
        return Err("`service` of a health check has at most 127 bytes".to_owned());
    }
    Ok(HealthProbe::Grpc { service })
}

fn text(entry: &Entry) -> Result<String, String> {
    let text = entry.value.scalar().map(str::to_owned);
    text.ok_or_else(|| format!("`{}` is not text", entry.key))
}

fn time(entry: &Entry, least: Millis) -> Result<Millis, String> {
    let found = go_duration(&text(entry)?).ok();
    let millis = found.and_then(|time| u64::try_from(time.as_millis()).ok());
    let wanted = (least.0..=TIME_MAX.0).contains(&millis.unwrap_or(0));
    millis.filter(|_| wanted).map(Millis).ok_or_else(|| {
        let least = least.0;
        format!("`{}` is a time from {least}ms to 1h, like 10s", entry.key)
    })
}

fn threshold(entry: &Entry) -> Result<u32, String> {
    let number = text(entry)?.parse().ok();
    let wrong = || format!("`{}` is a number from 1 to {THRESHOLD_MAX}", entry.key);
    number
        .filter(|n| (1..=THRESHOLD_MAX).contains(n))
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::FileId;

    fn decoded(text: &str) -> Result<HealthCheck, String> {
        decode(&read(FileId(0), text).list[0].node)
    }

    #[test]
    fn health_checks_are_read_strictly() {
        let http = decoded("{http: {path: /up, host: a.b}, interval: 2s, timeout: 300ms}").unwrap();
        let (path, host) = ("/up".to_owned(), "a.b".to_owned());
        assert_eq!(http.probe, HealthProbe::Http { path, host });
        assert_eq!((http.interval, http.timeout), (Millis(2_000), Millis(300)));
        assert_eq!((http.unhealthy, http.healthy), (3, 2));
        let tcp = decoded("{tcp: {}, unhealthyThreshold: 1, healthyThreshold: 5}").unwrap();
        assert_eq!(
            (tcp.probe, tcp.unhealthy, tcp.healthy),
            (HealthProbe::Tcp, 1, 5)
        );
        let grpc = decoded("grpc: {service: x.Y}").unwrap().probe;
        assert_eq!(
            grpc,
            HealthProbe::Grpc {
                service: "x.Y".to_owned()
            }
        );
        for wrong in [
            "{}",
            "{tcp: {}, http: {}}",
            "http: {path: up}",
            "http: {path: '/a b'}",
            "http: {method: POST}",
            "grpc: {name: x}",
            "{tcp: {}, interval: 1ms}",
            "{tcp: {}, interval: soon}",
            "{tcp: {}, timeout: 2h}",
            "{tcp: {}, unhealthyThreshold: 0}",
            "{tcp: {}, healthyThreshold: 1000}",
            "{tcp: {}, every: 1s}",
        ] {
            assert!(decoded(wrong).is_err(), "{wrong}");
        }
    }
}
