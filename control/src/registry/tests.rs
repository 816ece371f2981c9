//! Entries that come and go with streams.

use super::*;
use crate::proxy::ProxyKind;

const GROUP: &str = "apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: vm, namespace: shop}
spec:
  metadata: {labels: {app: web, version: v1}}
  template: {serviceAccount: web, ports: {http: 8080}, labels: {app: old, tier: front}}
";

fn set(text: &str) -> ResourceSet {
    let texts = [("a.yaml".to_owned(), text.to_owned())];
    sallyport_config::parse(&texts).set
}

fn proxy() -> Proxy {
    Proxy {
        kind: ProxyKind::Sidecar,
        namespace: "shop".to_owned(),
        service_account: "web".to_owned(),
        labels: [("version".to_owned(), "v2".to_owned())].into(),
        addresses: vec!["10.0.0.7".parse().unwrap()],
        group: Some("vm".to_owned()),
        ..Proxy::default()
    }
}

fn registry() -> Arc<Registry> {
    Registry::open(None, Duration::from_secs(10))
}

/// The only text.
fn text(registry: &Registry) -> Option<Value> {
    let mut texts = registry.texts();
    assert!(texts.len() <= 1, "{texts:?}");
    let (_, text) = texts.pop()?;
    // it is what the compiler takes without a word
    let parsed = sallyport_config::parse(&[("a.yaml".to_owned(), text.clone())]);
    assert_eq!(
        (parsed.set.len(), parsed.diagnostics.iter().count()),
        (1, 0)
    );
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_entry_comes_with_its_proxy_and_goes_a_while_after_it() {
    let registry = registry();
    let set = set(GROUP);
    let stream = registry.register(&proxy(), &set).unwrap().unwrap();
    registry.changed().await;
    let object = text(&registry).unwrap();
    assert_eq!(object["metadata"]["name"], "vm-10.0.0.7");
    let labels = &object["spec"]["labels"];
    let values = ["app", "version", "tier", TLS].map(|name| labels[name].as_str().unwrap());
    assert_eq!(values, ["web", "v2", "front", "istio"]);
    assert_eq!(object["spec"]["ports"]["http"], 8080);
    // a second stream of the same proxy changes nothing, nor does its end
    drop(registry.register(&proxy(), &set).unwrap());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!registry.expire() && text(&registry).is_some());
    let begun = Instant::now();
    drop(stream);
    while text(&registry).is_some() {
        registry.changed().await;
    }
    assert_eq!(begun.elapsed().as_secs(), 10);
}

const TLS: &str = "security.istio.io/tlsMode";

#[tokio::test(start_paused = true)]
async fn a_group_with_a_probe_serves_while_it_is_healthy() {
    let registry = registry();
    let probed = format!("{GROUP}  probe: {{tcpSocket: {{port: 8080}}}}\n");
    let stream = registry.register(&proxy(), &set(&probed)).unwrap().unwrap();
    assert_eq!(text(&registry), None);
    stream.report(&Ok(()));
    assert!(text(&registry).is_some());
    stream.report(&Err("refused".to_owned()));
    assert_eq!(text(&registry), None);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_come_back_after_a_restart_is_gone() {
    let directory = std::env::temp_dir().join(format!("sallyport-registry-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let registry = Registry::open(Some(&directory), Duration::from_secs(10));
    let _stream = registry.register(&proxy(), &set(GROUP)).unwrap().unwrap();
    registry.save();
    let again = Registry::open(Some(&directory), Duration::from_secs(10));
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!(text(&again), text(&registry));
    let begun = Instant::now();
    again.changed().await;
    assert_eq!(text(&again), None);
    assert_eq!(begun.elapsed(), RETURN_WITHIN);
}

#[test]
fn groups_are_for_their_own_workloads() {
    let registry = registry();
    let refused = |proxy: Proxy| registry.register(&proxy, &set(GROUP)).unwrap_err();
    let other = Proxy {
        service_account: "thief".to_owned(),
        ..proxy()
    };
    assert!(refused(other).message().contains("service account web"));
    let elsewhere = Proxy {
        namespace: "bank".to_owned(),
        ..proxy()
    };
    assert!(
        refused(elsewhere)
            .message()
            .contains("no WorkloadGroup bank/vm")
    );
    let none = Proxy {
        group: None,
        ..proxy()
    };
    assert!(registry.register(&none, &set(GROUP)).unwrap().is_none());
}
