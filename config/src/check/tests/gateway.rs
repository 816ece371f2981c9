//! `Gateway` and the TLS settings of servers.

use super::{NETWORKING, Row, findings, table};

/// One server; `CODE path` below `spec.servers[0]`.
fn servers(rows: &[Row]) {
    let mut wrong = Vec::new();
    for (server, expected) in rows {
        let text = format!(
            "apiVersion: {NETWORKING}\nkind: Gateway\nmetadata: {{name: a}}\nspec: {{selector: {{istio: x}}, servers: [{{{server}}}]}}\n"
        );
        let found: Vec<String> = findings(&text)
            .iter()
            .map(|f| f.replacen("servers[0].", "", 1))
            .collect();
        if found != *expected {
            wrong.push(format!(
                "{server}\n  expected {expected:?}\n  found    {found:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn as_a_whole() {
    table(
        NETWORKING,
        "Gateway",
        &[
            (
                "{selector: {a: b}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}",
                &[],
            ),
            (
                "{servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}",
                &["IST0133 spec"],
            ),
            ("{selector: {a: b}}", &["IST0106 spec"]),
            (
                "{selector: {'a b': c}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}",
                &["IST0106 selector.a b"],
            ),
            (
                "{selector: {a: b}, servers: [{port: {number: 80, name: x, protocol: HTTP}, hosts: [a.b]}, {port: {number: 81, name: x, protocol: HTTP}, hosts: [a.b]}]}",
                &["IST0106 servers[1].port.name"],
            ),
        ],
    );
}

#[test]
fn hosts_ports_and_bind() {
    servers(HOSTS_PORTS_AND_BIND);
}

const HOSTS_PORTS_AND_BIND: &[Row] = &[
    (
        "port: {number: 80, name: http, protocol: HTTP}, hosts: [a.b, '*.b', 'ns/c.b', './d.b', '*/e.b']",
        &[],
    ),
    (
        "port: {number: 80, name: http, protocol: HTTP}",
        &["IST0106 servers[0]"],
    ),
    (
        "port: {number: 80, name: http, protocol: HTTP}, hosts: ['a.*']",
        &["IST0106 hosts[0]"],
    ),
    (
        "port: {number: 80, name: http, protocol: HTTP}, hosts: ['a.b:80']",
        &["IST0106 hosts[0]"],
    ),
    (
        "port: {number: 80, name: http, protocol: HTTP}, hosts: ['a_b/c.d']",
        &["IST0106 hosts[0]"],
    ),
    (
        "port: {number: 80, name: http, protocol: HTTP}, hosts: ['ns/']",
        &["IST0106 hosts[0]"],
    ),
    (
        "port: {number: 80, name: http, protocol: HTTP}, hosts: ['10.0.0.1']",
        &["IST0106 hosts[0]"],
    ),
    (
        "port: {number: 80, name: http, protocol: HTTP}, hosts: ['*', a.b]",
        &["IST0133 hosts"],
    ),
    ("hosts: [a.b]", &["IST0106 port"]),
    (
        "port: {number: 0, name: http, protocol: HTTP}, hosts: [a.b]",
        &["IST0106 port.number"],
    ),
    (
        "port: {number: 0, name: http, protocol: HTTP}, bind: 'unix:///run/x', hosts: [a.b]",
        &[],
    ),
    (
        "port: {number: 80, protocol: HTTP}, hosts: [a.b]",
        &["IST0106 port"],
    ),
    (
        "port: {number: 80, name: http}, hosts: [a.b]",
        &["IST0106 port"],
    ),
    (
        "port: {number: 80, name: http, protocol: http2}, hosts: [a.b]",
        &[],
    ),
    (
        "port: {number: 80, name: http, protocol: HTTPX}, hosts: [a.b]",
        &["IST0106 port.protocol"],
    ),
    (
        "port: {number: 80, name: http, protocol: HTTP, targetPort: 8080}, hosts: [a.b]",
        &["IST0106 port.targetPort"],
    ),
    (
        "port: {number: 80, name: http, protocol: HTTP}, bind: 10.0.0.1, hosts: [a.b]",
        &[],
    ),
    (
        "port: {number: 80, name: http, protocol: HTTP}, bind: localhost, hosts: [a.b]",
        &["IST0106 bind"],
    ),
    (
        "port: {number: 80, name: http, protocol: HTTP}, bind: 'unix://x', hosts: [a.b]",
        &["IST0106 bind"],
    ),
    (
        "port: {number: 80, name: http, protocol: HTTP}, defaultEndpoint: '127.0.0.1:80', hosts: [a.b]",
        &["IST0133 defaultEndpoint"],
    ),
];

#[test]
fn tls() {
    let https = "port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.b]";
    let rows: &[(&str, &[&str])] = TLS;
    for (settings, expected) in rows {
        let text = format!(
            "apiVersion: {NETWORKING}\nkind: Gateway\nmetadata: {{name: a}}\nspec: {{selector: {{istio: x}}, servers: [{{{https}, tls: {{{settings}}}}}]}}\n"
        );
        let found: Vec<String> = findings(&text)
            .iter()
            .map(|f| f.replacen("servers[0].", "", 1))
            .collect();
        assert_eq!(found, *expected, "{settings}");
    }
    servers(TLS_2);
}

const TLS: &[Row] = &[
    ("mode: SIMPLE, credentialName: c", &[]),
    ("mode: SIMPLE, credentialNames: [a, b]", &[]),
    (
        "mode: SIMPLE, credentialNames: [a, b, c]",
        &["IST0106 tls.credentialNames"],
    ),
    (
        "mode: SIMPLE, credentialName: c, credentialNames: [a]",
        &["IST0106 tls.credentialNames"],
    ),
    ("mode: SIMPLE, serverCertificate: c, privateKey: k", &[]),
    ("mode: SIMPLE, serverCertificate: c", &["IST0106 tls"]),
    ("mode: SIMPLE", &["IST0106 tls"]),
    (
        "mode: SIMPLE, credentialName: c, serverCertificate: c, privateKey: k",
        &["IST0133 tls"],
    ),
    (
        "mode: SIMPLE, tlsCertificates: [{serverCertificate: c, privateKey: k}]",
        &[],
    ),
    (
        "mode: SIMPLE, tlsCertificates: [{serverCertificate: c}]",
        &["IST0106 tls.tlsCertificates[0]"],
    ),
    ("mode: MUTUAL, credentialName: c", &[]),
    (
        "mode: MUTUAL, serverCertificate: c, privateKey: k",
        &["IST0106 tls"],
    ),
    (
        "mode: MUTUAL, serverCertificate: c, privateKey: k, caCertificates: a",
        &[],
    ),
    (
        "mode: OPTIONAL_MUTUAL, credentialName: c, insecureSkipVerify: true",
        &[],
    ),
    (
        "mode: SIMPLE, credentialName: c, insecureSkipVerify: true",
        &["IST0106 tls.insecureSkipVerify"],
    ),
    ("mode: ISTIO_MUTUAL", &[]),
    ("mode: ISTIO_MUTUAL, credentialName: c", &["IST0106 tls"]),
    ("mode: PASSTHROUGH", &[]),
    ("mode: PASSTHROUGH, credentialName: c", &["IST0106 tls"]),
    ("mode: AUTO_PASSTHROUGH", &[]),
    (
        "mode: SIMPLE, credentialName: c, httpsRedirect: true",
        &["IST0106 tls.httpsRedirect"],
    ),
    (
        "mode: SIMPLE, credentialName: c, minProtocolVersion: TLSV1_3, maxProtocolVersion: TLSV1_2",
        &["IST0106 tls.minProtocolVersion"],
    ),
    (
        "mode: SIMPLE, credentialName: c, minProtocolVersion: TLSV1_1",
        &["SP0113 tls.minProtocolVersion"],
    ),
    (
        "mode: SIMPLE, credentialName: c, maxProtocolVersion: TLSV1_1",
        &["SP0113 tls.maxProtocolVersion"],
    ),
    (
        "mode: SIMPLE, credentialName: c, cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256]",
        &[],
    ),
    (
        "mode: SIMPLE, credentialName: c, cipherSuites: [AES128-SHA, ECDHE-RSA-AES128-GCM-SHA256]",
        &["SP0113 tls.cipherSuites[0]"],
    ),
    (
        "mode: SIMPLE, credentialName: c, cipherSuites: [X, ECDHE-RSA-AES128-GCM-SHA256]",
        &["IST0133 tls.cipherSuites[0]"],
    ),
    ("mode: SIMPLES", &["SP0003 tls.mode"]),
];

const TLS_2: &[Row] = &[
    (
        "port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.b]",
        &["IST0106 servers[0]"],
    ),
    (
        "port: {number: 80, name: http, protocol: HTTP}, hosts: [a.b], tls: {httpsRedirect: true}",
        &[],
    ),
    (
        "port: {number: 80, name: http, protocol: HTTP}, hosts: [a.b], tls: {mode: SIMPLE, credentialName: c}",
        &["IST0106 tls"],
    ),
];

#[test]
fn the_switches_of_http3() {
    let found = |name: &str, value: &str| {
        findings(&format!(
            "apiVersion: {NETWORKING}\nkind: Gateway\nmetadata: {{name: a, annotations: {{sallyport.io/{name}: {value}}}}}\nspec: {{selector: {{a: b}}, servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ['*']}}]}}\n"
        ))
    };
    for name in ["http3", "http3-early-data"] {
        assert!(found(name, "\"off\"").is_empty());
        assert!(found(name, "\"on\"").is_empty());
        assert_eq!(
            found(name, "maybe"),
            [format!("IST0133 metadata.annotations.sallyport.io/{name}")]
        );
    }
}
