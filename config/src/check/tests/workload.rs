//! `ServiceEntry`, `WorkloadEntry`, `WorkloadGroup`, `Sidecar`.

use super::{NETWORKING, Row, table};

#[test]
fn service_entries() {
    table(NETWORKING, "ServiceEntry", SERVICE_ENTRIES);
}

const SERVICE_ENTRIES: &[Row] = &[
    (
        "{hosts: [a.b], ports: [{number: 443, name: https, protocol: HTTPS}], resolution: DNS}",
        &[],
    ),
    (
        "{ports: [{number: 443, name: https, protocol: HTTPS}]}",
        &["IST0106 spec"],
    ),
    (
        "{hosts: ['*'], ports: [{number: 443, name: https, protocol: HTTPS}]}",
        &["IST0106 hosts[0]"],
    ),
    (
        "{hosts: [a], ports: [{number: 443, name: https, protocol: HTTPS}]}",
        &["IST0133 hosts[0]"],
    ),
    (
        "{hosts: [a.b, a.b], ports: [{number: 443, name: https, protocol: HTTPS}]}",
        &["IST0106 hosts[1]"],
    ),
    ("{hosts: [a.b]}", &["IST0133 spec"]),
    (
        "{hosts: [a.b], ports: [{number: 0, name: https, protocol: HTTPS}]}",
        &["IST0106 ports[0].number"],
    ),
    (
        "{hosts: [a.b], ports: [{number: 443, protocol: HTTPS}]}",
        &["IST0106 ports[0]"],
    ),
    (
        "{hosts: [a.b], ports: [{number: 443, name: a, protocol: X}]}",
        &["IST0106 ports[0].protocol"],
    ),
    (
        "{hosts: [a.b], ports: [{number: 443, name: a, protocol: TLS}, {number: 443, name: b, protocol: TLS}]}",
        &["IST0106 ports[1].number"],
    ),
    (
        "{hosts: [a.b], ports: [{number: 443, name: a, protocol: TLS}, {number: 444, name: a, protocol: TLS}]}",
        &["IST0106 ports[1].name"],
    ),
    (
        "{hosts: [a.b], addresses: [10.0.0.1], ports: [{number: 80, name: a, protocol: TCP}], resolution: DNS}",
        &[],
    ),
    (
        "{hosts: [a.b], addresses: [10.0.0.0/8], ports: [{number: 80, name: a, protocol: TCP}], resolution: DNS}",
        &["IST0106 addresses[0]"],
    ),
    (
        "{hosts: [a.b], addresses: [10.0.0.0/8], ports: [{number: 80, name: a, protocol: TCP}]}",
        &[],
    ),
    (
        "{hosts: [a.b], addresses: [x], ports: [{number: 80, name: a, protocol: TCP}]}",
        &["IST0106 addresses[0]"],
    ),
    (
        "{hosts: [a.b, c.b], ports: [{number: 80, name: a, protocol: TCP}], resolution: DNS}",
        &["IST0133 hosts"],
    ),
    (
        "{hosts: [a.b], ports: [{number: 80, name: a, protocol: HTTP}], endpoints: [{address: 10.0.0.1}]}",
        &["IST0106 endpoints"],
    ),
    (
        "{hosts: [a.b], ports: [{number: 80, name: a, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 10.0.0.1}]}",
        &[],
    ),
    (
        "{hosts: [a.b], ports: [{number: 80, name: a, protocol: HTTP}], resolution: STATIC, endpoints: [{address: c.d}]}",
        &["IST0106 endpoints[0].address"],
    ),
    (
        "{hosts: [a.b], ports: [{number: 80, name: a, protocol: HTTP}], resolution: DNS, endpoints: [{address: c.d}]}",
        &[],
    ),
    (
        "{hosts: [a.b], ports: [{number: 80, name: a, protocol: HTTP}], resolution: STATIC}",
        &["IST0133 spec"],
    ),
    (
        "{hosts: [a.b], ports: [{number: 80, name: a, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 10.0.0.1, ports: {b: 81}}]}",
        &["IST0106 endpoints[0].ports"],
    ),
    (
        "{hosts: [a.b], ports: [{number: 80, name: a, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 'unix:///run/x'}]}",
        &[],
    ),
    (
        "{hosts: ['*.b'], ports: [{number: 80, name: a, protocol: HTTP}], resolution: DNS}",
        &["IST0106 resolution"],
    ),
    (
        "{hosts: ['*.b'], ports: [{number: 80, name: a, protocol: HTTP}], resolution: DYNAMIC_DNS}",
        &[],
    ),
    (
        "{hosts: [a.b], ports: [{number: 80, name: a, protocol: HTTP}], resolution: DYNAMIC_DNS}",
        &["IST0106 hosts"],
    ),
    (
        "{hosts: [a.b], ports: [{number: 80, name: a, protocol: HTTP}], resolution: DNS_ROUND_ROBIN, endpoints: [{address: c.d}, {address: e.f}]}",
        &["IST0106 endpoints"],
    ),
    (
        "{hosts: [a.b], ports: [{number: 80, name: a, protocol: HTTP}], resolution: STATIC, workloadSelector: {labels: {a: b}}, endpoints: [{address: 10.0.0.1}]}",
        &["IST0106 workloadSelector"],
    ),
    (
        "{hosts: [a.b], ports: [{number: 80, name: a, protocol: HTTP}], resolution: STATIC, workloadSelector: {labels: {a: b}}}",
        &[],
    ),
];

#[test]
fn workloads() {
    table(
        NETWORKING,
        "WorkloadEntry",
        &[
            ("{address: 10.0.0.1, ports: {http: 80}, locality: a/b}", &[]),
            ("{address: a.b}", &[]),
            ("{network: n}", &[]),
            ("{}", &["IST0106 spec"]),
            ("{address: 'a.b:80'}", &["IST0106 address"]),
            ("{address: 'unix://run'}", &["IST0106 address"]),
            (
                "{address: 'unix:///run/x', ports: {http: 80}}",
                &["IST0106 ports"],
            ),
            (
                "{address: 10.0.0.1, ports: {http: 0}}",
                &["IST0106 ports.http"],
            ),
            (
                "{address: 10.0.0.1, labels: {'a b': c}}",
                &["IST0106 labels.a b"],
            ),
            ("{address: 10.0.0.1, locality: a//c}", &["IST0106 locality"]),
        ],
    );
    table(
        NETWORKING,
        "WorkloadGroup",
        &[
            ("{template: {serviceAccount: a}}", &[]),
            ("{}", &["IST0106 spec"]),
            (
                "{template: {address: 10.0.0.1}}",
                &["IST0133 template.address"],
            ),
            ("{template: {}, probe: {httpGet: {port: 80}}}", &[]),
            (
                "{template: {}, probe: {httpGet: {port: 0}}}",
                &["IST0106 probe.httpGet.port"],
            ),
            (
                "{template: {}, probe: {periodSeconds: -1, tcpSocket: {port: 1}}}",
                &["IST0106 probe.periodSeconds"],
            ),
            ("{template: {}, probe: {}}", &["IST0106 probe"]),
            (
                "{template: {}, probe: {exec: {command: []}}}",
                &["IST0106 probe.exec"],
            ),
        ],
    );
}

#[test]
fn sidecars() {
    table(NETWORKING, "Sidecar", SIDECARS);
}

const SIDECARS: &[Row] = &[
    ("{egress: [{hosts: ['./*']}]}", &[]),
    (
        "{egress: [{hosts: ['./*']}, {hosts: ['*/a.b']}]}",
        &["SP0103 egress[0]"],
    ),
    (
        "{egress: [{hosts: ['./*']}, {port: {number: 80, protocol: HTTP, name: a}, hosts: ['*/*']}]}",
        &["SP0103 egress[0]"],
    ),
    (
        "{egress: [{port: {number: 80, protocol: HTTP, name: a}, hosts: ['*/*']}, {hosts: ['./*']}]}",
        &[],
    ),
    ("{egress: [{}]}", &["IST0106 egress[0]"]),
    (
        "{egress: [{hosts: [a.b]}]}",
        &["IST0106 egress[0].hosts[0]"],
    ),
    ("{egress: [{hosts: ['~/*', '~ns/*']}]}", &[]),
    (
        "{egress: [{hosts: ['~/a']}]}",
        &["IST0106 egress[0].hosts[0]"],
    ),
    (
        "{egress: [{hosts: ['a_b/*']}]}",
        &["IST0106 egress[0].hosts[0]"],
    ),
    (
        "{egress: [{hosts: ['./*', './*']}]}",
        &["IST0133 egress[0].hosts[1]"],
    ),
    (
        "{egress: [{bind: 127.0.0.1, hosts: ['./*']}]}",
        &["IST0106 egress[0].bind"],
    ),
    (
        "{egress: [{captureMode: NONE, hosts: ['./*']}]}",
        &["IST0106 egress[0].captureMode"],
    ),
    (
        "{ingress: [{port: {number: 80, protocol: HTTP, name: a}, defaultEndpoint: '127.0.0.1:8080'}]}",
        &[],
    ),
    (
        "{ingress: [{port: {number: 80, protocol: HTTP, name: a}, defaultEndpoint: '[::1]:8080'}]}",
        &[],
    ),
    (
        "{ingress: [{port: {number: 80, protocol: HTTP, name: a}, defaultEndpoint: 'unix:///run/x'}]}",
        &[],
    ),
    (
        "{ingress: [{port: {number: 80, protocol: HTTP, name: a}, defaultEndpoint: '10.0.0.1:8080'}]}",
        &["IST0106 ingress[0].defaultEndpoint"],
    ),
    (
        "{ingress: [{port: {number: 80, protocol: HTTP, name: a}, defaultEndpoint: '127.0.0.1'}]}",
        &["IST0106 ingress[0].defaultEndpoint"],
    ),
    (
        "{ingress: [{defaultEndpoint: '127.0.0.1:80'}]}",
        &["IST0106 ingress[0]"],
    ),
    (
        "{ingress: [{port: {number: 80, protocol: HTTP, name: a}}, {port: {number: 80, protocol: HTTP, name: b}}]}",
        &["IST0106 ingress[1].port.number"],
    ),
];
