//! `AuthorizationPolicy`, `PeerAuthentication`, `RequestAuthentication`, `Telemetry`.

use super::{Row, SECURITY, table};

#[test]
fn authorization_policies() {
    table(SECURITY, "AuthorizationPolicy", AUTHORIZATION_POLICIES);
}

const AUTHORIZATION_POLICIES: &[Row] = &[
    ("{}", &[]),
    ("{rules: [{}]}", &[]),
    ("{action: DENY}", &["IST0106 spec"]),
    ("{action: DENY, rules: [{}]}", &[]),
    ("{action: CUSTOM, provider: {name: p}, rules: [{}]}", &[]),
    ("{action: CUSTOM, rules: [{}]}", &["IST0106 spec"]),
    ("{provider: {name: p}}", &["IST0106 provider"]),
    (
        "{selector: {matchLabels: {app: 'a*'}}}",
        &["IST0106 selector.matchLabels.app"],
    ),
    (
        "{selector: {matchLabels: {app: a}}, targetRefs: [{kind: Gateway, name: g}]}",
        &["IST0106 targetRefs"],
    ),
    (
        "{targetRefs: [{kind: Gateway, name: g, namespace: other}]}",
        &["IST0106 targetRefs[0].namespace"],
    ),
    ("{rules: [{from: [{}]}]}", &["IST0106 rules[0].from[0]"]),
    (
        "{rules: [{from: [{source: {}}]}]}",
        &["IST0106 rules[0].from[0].source"],
    ),
    (
        "{rules: [{to: [{operation: {}}]}]}",
        &["IST0106 rules[0].to[0].operation"],
    ),
    (
        "{rules: [{from: [{source: {principals: ['']}}]}]}",
        &["IST0106 rules[0].from[0].source.principals[0]"],
    ),
    (
        "{rules: [{from: [{source: {principals: ['*', 'a*', '*b']}}]}]}",
        &[],
    ),
    (
        "{rules: [{from: [{source: {principals: ['a*b']}}]}]}",
        &["IST0133 rules[0].from[0].source.principals[0]"],
    ),
    (
        "{rules: [{from: [{source: {remoteIpBlocks: [10.0.0.0/8]}}]}]}",
        &[],
    ),
    (
        "{rules: [{from: [{source: {remoteIpBlocks: [10.0.0]}}]}]}",
        &["IST0106 rules[0].from[0].source.remoteIpBlocks[0]"],
    ),
    (
        "{rules: [{from: [{source: {ipBlocks: [10.0.0.1]}}]}]}",
        &["SP0306 rules[0].from[0].source.ipBlocks"],
    ),
    (
        "{rules: [{from: [{source: {serviceAccounts: [ns/a, b]}}]}]}",
        &[],
    ),
    (
        "{rules: [{from: [{source: {serviceAccounts: ['ns/*']}}]}]}",
        &["IST0106 rules[0].from[0].source.serviceAccounts[0]"],
    ),
    (
        "{rules: [{from: [{source: {serviceAccounts: [a], namespaces: [b]}}]}]}",
        &["IST0106 rules[0].from[0].source.serviceAccounts"],
    ),
    (
        "{action: CUSTOM, provider: {name: p}, rules: [{from: [{source: {principals: [a]}}]}]}",
        &["IST0106 rules[0].from[0].source.principals"],
    ),
    (
        "{action: CUSTOM, provider: {name: p}, rules: [{when: [{key: 'request.auth.claims[a]', values: [b]}]}]}",
        &["IST0106 rules[0].when[0].key"],
    ),
    ("{rules: [{to: [{operation: {ports: ['80']}}]}]}", &[]),
    (
        "{rules: [{to: [{operation: {ports: ['x']}}]}]}",
        &["IST0106 rules[0].to[0].operation.ports[0]"],
    ),
    (
        "{rules: [{to: [{operation: {methods: [get]}}]}]}",
        &["IST0133 rules[0].to[0].operation.methods[0]"],
    ),
    (
        "{rules: [{to: [{operation: {paths: ['/a/{*}/b/{**}', '/c/{**}/d']}}]}]}",
        &[],
    ),
    (
        "{rules: [{to: [{operation: {paths: ['/a/{**}/{*}']}}]}]}",
        &["IST0106 rules[0].to[0].operation.paths[0]"],
    ),
    (
        "{rules: [{to: [{operation: {paths: ['/a/{id}']}}]}]}",
        &["IST0106 rules[0].to[0].operation.paths[0]"],
    ),
    (
        "{rules: [{to: [{operation: {paths: ['/a{*}']}}]}]}",
        &["IST0106 rules[0].to[0].operation.paths[0]"],
    ),
    (
        "{rules: [{to: [{operation: {paths: ['/{*}/b*']}}]}]}",
        &["IST0106 rules[0].to[0].operation.paths[0]"],
    ),
    (
        "{action: DENY, rules: [{to: [{operation: {methods: [DELETE]}}]}]}",
        &["IST0133 rules"],
    ),
    (
        "{action: DENY, rules: [{to: [{operation: {methods: [DELETE], ports: ['80']}}]}]}",
        &[],
    ),
    (
        "{action: DENY, rules: [{from: [{source: {namespaces: [a]}}], to: [{operation: {methods: [DELETE]}}]}]}",
        &[],
    ),
];

#[test]
fn conditions() {
    table(SECURITY, "AuthorizationPolicy", CONDITIONS);
}

const CONDITIONS: &[Row] = &[
    (
        "{rules: [{when: [{key: 'request.headers[x-a]', values: [b]}]}]}",
        &[],
    ),
    (
        "{rules: [{when: [{key: 'request.headers', values: [b]}]}]}",
        &["IST0106 rules[0].when[0].key"],
    ),
    (
        "{rules: [{when: [{key: 'request.headers[]', values: [b]}]}]}",
        &["IST0106 rules[0].when[0].key"],
    ),
    (
        "{rules: [{when: [{key: 'request.auth.claims[a][b]', notValues: [b]}]}]}",
        &[],
    ),
    (
        "{rules: [{when: [{key: source.ip, values: [10.0.0.0/8]}]}]}",
        &[],
    ),
    (
        "{rules: [{when: [{key: source.ip, values: [x]}]}]}",
        &["IST0106 rules[0].when[0].values[0]"],
    ),
    (
        "{rules: [{when: [{key: destination.port, values: ['70000']}]}]}",
        &["IST0106 rules[0].when[0].values[0]"],
    ),
    (
        "{rules: [{when: [{key: connection.sni, values: [a.b]}]}]}",
        &[],
    ),
    (
        "{rules: [{when: [{values: [a]}]}]}",
        &["IST0106 rules[0].when[0]"],
    ),
    (
        "{rules: [{when: [{key: connection.sni}]}]}",
        &["IST0106 rules[0].when[0]"],
    ),
    (
        "{rules: [{when: [{key: source.adress, values: [a]}]}]}",
        &["IST0106 rules[0].when[0].key"],
    ),
    (
        "{rules: [{when: [{key: destination.namespace, values: [a]}]}]}",
        &["IST0106 rules[0].when[0].key"],
    ),
    (
        "{rules: [{when: [{key: 'destination.labels[a]', values: [a]}]}]}",
        &["IST0106 rules[0].when[0].key"],
    ),
    (
        "{rules: [{when: [{key: 'experimental.envoy.filters.a.b[k]', values: [a]}]}]}",
        &[],
    ),
];

#[test]
fn authentication() {
    table(SECURITY, "PeerAuthentication", AUTHENTICATION);
    table(SECURITY, "RequestAuthentication", AUTHENTICATION_2);
}

const AUTHENTICATION: &[Row] = &[
    ("{mtls: {mode: STRICT}}", &[]),
    ("{mtls: {mode: ON}}", &["SP0003 mtls.mode"]),
    (
        "{selector: {matchLabels: {a: b}}, portLevelMtls: {8080: {mode: DISABLE}}}",
        &[],
    ),
    (
        "{portLevelMtls: {8080: {mode: DISABLE}}}",
        &["IST0106 portLevelMtls"],
    ),
    (
        "{selector: {matchLabels: {a: b}}, portLevelMtls: {0: {mode: DISABLE}}}",
        &["IST0106 portLevelMtls.0"],
    ),
    (
        "{selector: {matchLabels: {a: b}}, portLevelMtls: {http: {mode: DISABLE}}}",
        &["IST0106 portLevelMtls.http"],
    ),
];

const AUTHENTICATION_2: &[Row] = &[
    ("{jwtRules: [{issuer: a}]}", &[]),
    (
        "{jwtRules: [{jwksUri: 'https://a/keys'}]}",
        &["IST0106 jwtRules[0]"],
    ),
    (
        "{jwtRules: [{issuer: a, jwksUri: 'https://a/keys', fromHeaders: [{name: x-a, prefix: 'B '}]}]}",
        &[],
    ),
    (
        "{jwtRules: [{issuer: a, jwksUri: 'http://a/keys'}]}",
        &["IST0133 jwtRules[0].jwksUri"],
    ),
    (
        "{jwtRules: [{issuer: a, jwksUri: 'ftp://a/keys'}]}",
        &["IST0106 jwtRules[0].jwksUri"],
    ),
    ("{jwtRules: [{issuer: a, jwks: '{\"keys\": []}'}]}", &[]),
    (
        "{jwtRules: [{issuer: a, jwks: 'x'}]}",
        &["IST0106 jwtRules[0].jwks"],
    ),
    (
        "{jwtRules: [{issuer: a, jwks: '{\"keys\": []}', jwksUri: 'https://a'}]}",
        &["IST0106 jwtRules[0].jwks"],
    ),
    (
        "{jwtRules: [{issuer: a, audiences: ['']}]}",
        &["IST0106 jwtRules[0].audiences[0]"],
    ),
    (
        "{jwtRules: [{issuer: a, fromHeaders: [{name: 'x a'}]}]}",
        &["IST0106 jwtRules[0].fromHeaders[0].name"],
    ),
    (
        "{jwtRules: [{issuer: a, fromParams: ['']}]}",
        &["IST0106 jwtRules[0].fromParams[0]"],
    ),
    (
        "{jwtRules: [{issuer: a, outputPayloadToHeader: 'x a'}]}",
        &["IST0106 jwtRules[0].outputPayloadToHeader"],
    ),
    (
        "{jwtRules: [{issuer: a, outputClaimToHeaders: [{header: x-a}]}]}",
        &["IST0106 jwtRules[0].outputClaimToHeaders[0].claim"],
    ),
    (
        "{jwtRules: [{issuer: a, timeout: 0s}]}",
        &["IST0106 jwtRules[0].timeout"],
    ),
];

#[test]
fn telemetry() {
    table(
        "telemetry.istio.io/v1",
        "Telemetry",
        &[
            ("{}", &[]),
            (
                "{tracing: [{providers: [{name: a}], randomSamplingPercentage: 10}]}",
                &[],
            ),
            (
                "{tracing: [{providers: [{name: a}, {name: b}]}]}",
                &["IST0106 tracing[0].providers"],
            ),
            (
                "{tracing: [{randomSamplingPercentage: 101}]}",
                &["IST0106 tracing[0].randomSamplingPercentage"],
            ),
            ("{tracing: [{customTags: {a: {literal: {value: b}}}}]}", &[]),
            (
                "{tracing: [{customTags: {a: {}}}]}",
                &["IST0106 tracing[0].customTags.a"],
            ),
            (
                "{tracing: [{customTags: {a: {header: {name: ''}}}}]}",
                &["IST0106 tracing[0].customTags.a.header.name"],
            ),
            (
                "{metrics: [{overrides: [{tagOverrides: {a: {value: b}}}]}]}",
                &[],
            ),
            (
                "{metrics: [{overrides: [{tagOverrides: {a: {}}}]}]}",
                &["IST0106 metrics[0].overrides[0].tagOverrides.a"],
            ),
            (
                "{metrics: [{overrides: [{tagOverrides: {a: {operation: REMOVE, value: b}}}]}]}",
                &["IST0106 metrics[0].overrides[0].tagOverrides.a.value"],
            ),
            (
                "{accessLogging: [{filter: {expression: ''}}]}",
                &["IST0106 accessLogging[0].filter.expression"],
            ),
        ],
    );
}
