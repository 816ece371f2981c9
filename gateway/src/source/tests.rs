//! What a reading gives, file by file.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::files::tests::Scratch;
use super::*;
use crate::args::{Endpoint, Node};
use crate::log::{Format, Level as LogLevel};
use crate::rt::DriverChoice;

const GATEWAY: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: ['*']
    tls: {mode: SIMPLE, credentialName: api}
";

fn options(config: &Path, credentials: &Path) -> Options {
    let none = Endpoint(None);
    Options {
        control: None,
        jwks_ca: None,
        allow_private: Vec::new(),
        dns: Vec::new(),
        dns_family: sallyport_issuers::DnsFamily::Auto,
        config: vec![config.to_owned()],
        node: Node {
            name: "gw".to_owned(),
            service_account: String::new(),
            namespace: "istio-system".to_owned(),
            labels: [("istio".to_owned(), "ingressgateway".to_owned())].into(),
            cluster: String::new(),
            network: String::new(),
            locality: String::new(),
        },
        workers: None,
        driver: DriverChoice::Auto,
        admin: none,
        status: none,
        metrics: none,
        bind: vec![IpAddr::from([127, 0, 0, 1])],
        port_map: [(443, 0)].into(),
        credentials: Some(credentials.to_owned()),
        identity: None,
        state_dir: None,
        memory_limit: None,
        check: false,
        log_level: LogLevel::Info,
        log_format: Format::Text,
        debounce: Duration::ZERO,
    }
}

/// Certificate and key as PEM.
fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["a.example.com".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn chain_of(loaded: &Loaded) -> String {
    use sallyport_config::ir::CertificateSource;
    let snapshot = loaded.snapshot.as_ref().unwrap();
    match &snapshot.certificates[0].source {
        CertificateSource::Inline { chain, .. } => String::from_utf8(chain.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_secret_object_comes_before_a_directory() {
    let scratch = Scratch::new("secret-first");
    let (config, credentials) = (scratch.0.join("config"), scratch.0.join("credentials"));
    fs::create_dir_all(&config).unwrap();
    fs::create_dir_all(credentials.join("api")).unwrap();
    let (directory, object) = (pair(), pair());
    fs::write(credentials.join("api/tls.crt"), &directory.0).unwrap();
    fs::write(credentials.join("api/tls.key"), &directory.1).unwrap();
    fs::write(config.join("a.yaml"), GATEWAY).unwrap();
    let mut pipeline = Pipeline::new(&options(&config, &credentials));
    let loaded = pipeline.load();
    assert_eq!(chain_of(&loaded), directory.0);
    assert!(loaded.directories.contains(&credentials.join("api")));
    let snapshot = loaded.snapshot.unwrap();
    assert_eq!(snapshot.listeners[0].port, 443, "the declared port is kept");
    let member = |text: &str| text.replace('\n', "\n    ");
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: api, namespace: istio-system}}\nstringData:\n  tls.crt: |\n    {}\n  tls.key: |\n    {}\n",
        member(object.0.trim_end()),
        member(object.1.trim_end()),
    );
    fs::write(config.join("b.yaml"), secret).unwrap();
    assert_eq!(chain_of(&pipeline.load()).trim_end(), object.0.trim_end());
}

#[test]
fn nothing_at_all_is_refused_and_says_so() {
    let scratch = Scratch::new("nothing");
    let mut pipeline = Pipeline::new(&options(&scratch.0, &scratch.0));
    let loaded = pipeline.load();
    assert!(loaded.snapshot.is_none() && loaded.findings.has_errors());
    fs::write(scratch.0.join("a.yaml"), GATEWAY).unwrap();
    assert!(pipeline.load().snapshot.is_some());
    fs::remove_file(scratch.0.join("a.yaml")).unwrap();
    let loaded = pipeline.load();
    assert!(loaded.snapshot.is_none());
    assert!(
        loaded
            .findings
            .text(false)
            .contains("what was served stays")
    );
}

#[test]
fn a_key_that_is_not_the_certificates_is_an_error_at_the_field_that_asks_for_it() {
    let scratch = Scratch::new("mismatch");
    let ((chain, _), (_, key)) = (pair(), pair());
    let indented = |pem: &str| pem.replace('\n', "\n    ");
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: api, namespace: istio-system}}\n\
         stringData:\n  tls.crt: |\n    {}\n  tls.key: |\n    {}\n",
        indented(chain.trim()),
        indented(key.trim())
    );
    fs::create_dir_all(scratch.0.join("none")).unwrap();
    fs::write(scratch.0.join("a.yaml"), format!("{GATEWAY}---\n{secret}")).unwrap();
    let options = options(&scratch.0.join("a.yaml"), &scratch.0.join("none"));
    let loaded = Pipeline::new(&options).load();
    assert!(loaded.snapshot.is_some(), "all else is served");
    let text = loaded.findings.text(false);
    assert!(
        text.starts_with("error[IST0161]: kubernetes://api cannot be used"),
        "{text}"
    );
    assert!(
        text.contains("a.yaml:9:") && text.contains("credentialName: api"),
        "{text}"
    );
    assert!(text.contains("= help: give a PEM chain"), "{text}");
    assert!(!text.contains("PRIVATE"), "{text}");
}
