//! `DestinationRule`.

use super::{NETWORKING, Row, findings, table};

/// One traffic policy; `CODE path` below `spec.trafficPolicy`.
fn policies(rows: &[Row]) {
    let mut wrong = Vec::new();
    for (policy, expected) in rows {
        let text = format!(
            "apiVersion: {NETWORKING}\nkind: DestinationRule\nmetadata: {{name: a}}\nspec: {{host: a.b, trafficPolicy: {{{policy}}}}}\n"
        );
        let found: Vec<String> = findings(&text)
            .iter()
            .map(|f| f.replacen("trafficPolicy.", "", 1))
            .collect();
        if found != *expected {
            wrong.push(format!(
                "{policy}\n  expected {expected:?}\n  found    {found:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn as_a_whole() {
    table(
        NETWORKING,
        "DestinationRule",
        &[
            ("{host: a.b}", &[]),
            ("{host: '*.b'}", &[]),
            ("{}", &["IST0106 spec"]),
            ("{host: 'a.b:80'}", &["IST0106 host"]),
            ("{host: a.b, subsets: [{name: v1, labels: {v: '1'}}]}", &[]),
            (
                "{host: a.b, subsets: [{labels: {v: '1'}}]}",
                &["IST0106 subsets[0]"],
            ),
            (
                "{host: a.b, subsets: [{name: v1, labels: {v: '1'}}, {name: v1, labels: {v: '2'}}]}",
                &["IST0106 subsets[1].name"],
            ),
            (
                "{host: a.b, subsets: [{name: 'v.1', labels: {v: '1'}}]}",
                &["IST0106 subsets[0].name"],
            ),
            ("{host: a, subsets: [{name: v1}]}", &["IST0133 subsets[0]"]),
            (
                "{host: a.b, subsets: [{name: v1, labels: {v: '*'}}]}",
                &["IST0106 subsets[0].labels.v"],
            ),
            ("{host: a.b, exportTo: ['~', '.']}", &["IST0106 exportTo"]),
            (
                "{host: a.b, workloadSelector: {matchLabels: {'a b': c}}}",
                &["IST0106 workloadSelector.matchLabels.a b"],
            ),
        ],
    );
}

#[test]
fn load_balancing() {
    policies(LOAD_BALANCING);
}

const LOAD_BALANCING: &[Row] = &[
    ("loadBalancer: {simple: ROUND_ROBIN}", &[]),
    (
        "loadBalancer: {simple: LEAST_CONN}",
        &["IST0002 loadBalancer.simple"],
    ),
    (
        "loadBalancer: {simple: ROUND_ROBIN, consistentHash: {useSourceIp: true}}",
        &["SP0009 loadBalancer"],
    ),
    (
        "loadBalancer: {consistentHash: {}}",
        &["IST0106 loadBalancer.consistentHash"],
    ),
    ("loadBalancer: {consistentHash: {httpHeaderName: x-a}}", &[]),
    (
        "loadBalancer: {consistentHash: {httpHeaderName: 'x a'}}",
        &["IST0106 loadBalancer.consistentHash.httpHeaderName"],
    ),
    (
        "loadBalancer: {consistentHash: {httpCookie: {ttl: 0s}}}",
        &["IST0106 loadBalancer.consistentHash.httpCookie"],
    ),
    (
        "loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 65537}}}",
        &[],
    ),
    (
        "loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 65536}}}",
        &["IST0106 loadBalancer.consistentHash.maglev.tableSize"],
    ),
    (
        "loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 0}}}",
        &["IST0106 loadBalancer.consistentHash.maglev.tableSize"],
    ),
    (
        "loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 5000011}}}",
        &["IST0106 loadBalancer.consistentHash.maglev.tableSize"],
    ),
    (
        "loadBalancer: {consistentHash: {useSourceIp: true, minimumRingSize: 10}}",
        &["IST0002 loadBalancer.consistentHash.minimumRingSize"],
    ),
    (
        "loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 10s, minimumPercent: 5, aggression: 1.5}}",
        &[],
    ),
    (
        "loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 10s, aggression: 0.5}}",
        &["IST0106 loadBalancer.warmup.aggression"],
    ),
    (
        "loadBalancer: {simple: ROUND_ROBIN, warmup: {}}",
        &["IST0106 loadBalancer.warmup"],
    ),
    (
        "loadBalancer: {simple: RANDOM, warmup: {duration: 10s}}",
        &["IST0106 loadBalancer.warmup"],
    ),
    (
        "loadBalancer: {simple: ROUND_ROBIN, warmupDurationSecs: 10s}",
        &["IST0002 loadBalancer.warmupDurationSecs"],
    ),
];

#[test]
fn localities() {
    let rows: &[Row] = LOCALITIES;
    for (setting, expected) in rows {
        let text = format!(
            "apiVersion: {NETWORKING}\nkind: DestinationRule\nmetadata: {{name: a}}\nspec: {{host: a.b, trafficPolicy: {{outlierDetection: {{consecutive5xxErrors: 3}}, loadBalancer: {{localityLbSetting: {setting}}}}}}}\n"
        );
        let found: Vec<String> = findings(&text)
            .iter()
            .map(|f| f.replacen("trafficPolicy.loadBalancer.localityLbSetting.", "", 1))
            .collect();
        assert_eq!(found, *expected, "{setting}");
    }
    policies(&[(
        "loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}]}}",
        &["IST0133 loadBalancer.localityLbSetting.failover"],
    )]);
}

const LOCALITIES: &[Row] = &[
    (
        "{distribute: [{from: a/b/*, to: {'a/b/*': 80, 'a/c/*': 20}}]}",
        &[],
    ),
    (
        "{distribute: [{from: a/b/*, to: {'a/b/*': 80, 'a/c/*': 10}}]}",
        &["IST0106 distribute[0].to"],
    ),
    (
        "{distribute: [{from: a, to: {b: 100, c: 0}}]}",
        &["IST0106 distribute[0].to"],
    ),
    (
        "{distribute: [{from: 'a/*/c', to: {b: 100}}]}",
        &["IST0106 distribute[0].from"],
    ),
    (
        "{distribute: [{from: 'a/b/c/d', to: {b: 100}}]}",
        &["IST0106 distribute[0].from"],
    ),
    (
        "{distribute: [{from: a/*, to: {b: 100}}, {from: a/b, to: {b: 100}}]}",
        &["IST0106 distribute[1].from"],
    ),
    ("{failover: [{from: a, to: b}]}", &[]),
    ("{failover: [{from: a, to: a}]}", &["IST0106 failover[0]"]),
    (
        "{failover: [{from: a/b, to: c}]}",
        &["IST0106 failover[0].from"],
    ),
    (
        "{failoverPriority: [topology.kubernetes.io/region, 'a=b']}",
        &[],
    ),
    (
        "{failoverPriority: ['a b']}",
        &["IST0106 failoverPriority[0]"],
    ),
    (
        "{distribute: [{from: a, to: {b: 100}}], failover: [{from: a, to: b}]}",
        &["SP0104 failover"],
    ),
    (
        "{distribute: [{from: a, to: {b: 100}}], failoverPriority: [a]}",
        &["IST0106 failoverPriority"],
    ),
];

#[test]
fn connections() {
    policies(&[
        ("connectionPool: {}", &["IST0106 connectionPool"]),
        (
            "connectionPool: {tcp: {maxConnections: 10, connectTimeout: 5s}}",
            &[],
        ),
        (
            "connectionPool: {tcp: {maxConnections: -1}}",
            &["IST0106 connectionPool.tcp.maxConnections"],
        ),
        (
            "connectionPool: {tcp: {connectTimeout: 0s}}",
            &["IST0106 connectionPool.tcp.connectTimeout"],
        ),
        (
            "connectionPool: {tcp: {connectTimeout: 99ms}}",
            &["SP0201 connectionPool.tcp.connectTimeout"],
        ),
        ("connectionPool: {tcp: {connectTimeout: 100ms}}", &[]),
        ("connectionPool: {tcp: {idleTimeout: 0s}}", &[]),
        (
            "connectionPool: {tcp: {tcpKeepalive: {time: 7200s, interval: 75s}}}",
            &[],
        ),
        (
            "connectionPool: {tcp: {tcpKeepalive: {time: 500ms}}}",
            &["IST0106 connectionPool.tcp.tcpKeepalive.time"],
        ),
        (
            "connectionPool: {http: {maxRequestsPerConnection: 11}}",
            &[],
        ),
        (
            "connectionPool: {http: {maxRequestsPerConnection: 10}}",
            &["SP0202 connectionPool.http.maxRequestsPerConnection"],
        ),
        (
            "connectionPool: {http: {http1MaxPendingRequests: -2}}",
            &["IST0106 connectionPool.http.http1MaxPendingRequests"],
        ),
        (
            "connectionPool: {http: {useClientProtocol: true, h2UpgradePolicy: UPGRADE}}",
            &["IST0106 connectionPool.http.useClientProtocol"],
        ),
        (
            "connectionPool: {http: {http2KeepAlive: {interval: 1s}}}",
            &["IST0106 connectionPool.http.http2KeepAlive"],
        ),
    ]);
}

#[test]
fn outliers() {
    let rows: &[Row] = &[
        ("{}", &[]),
        (
            "{consecutive5xxErrors: 7, consecutiveGatewayErrors: 3, interval: 5s}",
            &[],
        ),
        (
            "{consecutiveGatewayErrors: 5}",
            &["SP0207 consecutiveGatewayErrors"],
        ),
        (
            "{consecutive5xxErrors: 0, consecutiveGatewayErrors: 5}",
            &[],
        ),
        ("{interval: 0s}", &["IST0106 interval"]),
        ("{baseEjectionTime: 1us}", &["IST0106 baseEjectionTime"]),
        ("{maxEjectionPercent: 101}", &["IST0106 maxEjectionPercent"]),
        ("{maxEjectionPercent: 100}", &["SP0208 maxEjectionPercent"]),
        ("{minHealthPercent: -1}", &["IST0106 minHealthPercent"]),
        ("{minHealthPercent: 40}", &["SP0209 minHealthPercent"]),
        ("{consecutiveErrors: 5}", &["SP0105 consecutiveErrors"]),
        ("{consecutiveErrors: -5}", &["IST0106 consecutiveErrors"]),
        (
            "{consecutiveLocalOriginFailures: 5}",
            &["IST0106 consecutiveLocalOriginFailures"],
        ),
        (
            "{consecutiveLocalOriginFailures: 5, splitExternalLocalOriginErrors: true}",
            &[],
        ),
        (
            "{outlierDetectionHttpErrorCodes: [500, 600]}",
            &["IST0106 outlierDetectionHttpErrorCodes[1]"],
        ),
    ];
    for (detection, expected) in rows {
        let text = format!(
            "apiVersion: {NETWORKING}\nkind: DestinationRule\nmetadata: {{name: a}}\nspec: {{host: a.b, trafficPolicy: {{outlierDetection: {detection}}}}}\n"
        );
        let found: Vec<String> = findings(&text)
            .iter()
            .map(|f| f.replacen("trafficPolicy.outlierDetection.", "", 1))
            .collect();
        assert_eq!(found, *expected, "{detection}");
    }
}

#[test]
fn tls_ports_and_tunnels() {
    policies(TLS_PORTS_AND_TUNNELS);
    table(
        NETWORKING,
        "DestinationRule",
        &[(
            "{host: a.b, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true}}}, subsets: [{name: v1, labels: {v: '1'}, trafficPolicy: {loadBalancer: {simple: RANDOM}}}]}",
            &["SP0303 subsets[0].trafficPolicy.loadBalancer"],
        )],
    );
}

const TLS_PORTS_AND_TUNNELS: &[Row] = &[
    ("tls: {mode: SIMPLE, caCertificates: /ca.pem}", &[]),
    ("tls: {mode: MUTUAL, credentialName: c}", &[]),
    (
        "tls: {mode: MUTUAL, clientCertificate: c, privateKey: k}",
        &[],
    ),
    (
        "tls: {mode: MUTUAL, clientCertificate: c}",
        &["IST0106 tls"],
    ),
    (
        "tls: {mode: MUTUAL, credentialName: c, caCertificates: a}",
        &["IST0106 tls"],
    ),
    ("tls: {mode: ISTIO_MUTUAL}", &[]),
    (
        "tls: {mode: ISTIO_MUTUAL, caCertificates: a}",
        &["IST0106 tls"],
    ),
    ("tls: {mode: SIMPLE, sni: 'a b'}", &["IST0106 tls.sni"]),
    (
        "tls: {mode: SIMPLE, insecureSkipVerify: true}",
        &["IST0133 tls.insecureSkipVerify"],
    ),
    ("tls: {sni: a.b}", &["IST0133 tls"]),
    (
        "portLevelSettings: [{port: {number: 443}, tls: {mode: SIMPLE}}]",
        &[],
    ),
    (
        "portLevelSettings: [{tls: {mode: SIMPLE}}]",
        &["IST0106 portLevelSettings[0]"],
    ),
    (
        "portLevelSettings: [{port: {number: 0}}]",
        &["IST0106 portLevelSettings[0].port.number"],
    ),
    (
        "portLevelSettings: [{port: {number: 80}}, {port: {number: 80}}]",
        &["IST0133 portLevelSettings[1].port.number"],
    ),
    (
        "portLevelSettings: [{port: {number: 80}, tunnel: {protocol: CONNECT}}]",
        &["SP0002 portLevelSettings[0].tunnel"],
    ),
    (
        "tunnel: {protocol: CONNECT, targetHost: a.b, targetPort: 443}",
        &[],
    ),
    (
        "tunnel: {protocol: GET, targetHost: a.b, targetPort: 443}",
        &["IST0106 tunnel.protocol"],
    ),
    ("tunnel: {targetHost: a.b}", &["IST0106 tunnel.targetPort"]),
    (
        "tunnel: {targetHost: a.b, targetPort: 443}, proxyProtocol: {version: V2}",
        &["IST0106 proxyProtocol"],
    ),
    (
        "retryBudget: {percent: 120}",
        &["IST0106 retryBudget.percent"],
    ),
];
