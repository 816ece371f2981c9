//! `VirtualService`.

use super::{NETWORKING, Row, findings, table};

/// One HTTP rule with a destination beside what the row says; `CODE path` below `spec.http[0]`.
pub(super) fn rules(rows: &[Row]) {
    let mut wrong = Vec::new();
    for (rule, expected) in rows {
        let text = format!(
            "apiVersion: {NETWORKING}\nkind: VirtualService\nmetadata: {{name: a}}\nspec: {{hosts: [a.b], gateways: [g], http: [{{{rule}}}]}}\n"
        );
        let found: Vec<String> = findings(&text)
            .iter()
            .map(|f| f.replacen("http[0].", "", 1))
            .collect();
        if found != *expected {
            wrong.push(format!(
                "{rule}\n  expected {expected:?}\n  found    {found:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn as_a_whole() {
    table(NETWORKING, "VirtualService", AS_A_WHOLE);
}

const AS_A_WHOLE: &[Row] = &[
    (
        "{hosts: [a.b], http: [{route: [{destination: {host: a.b}}]}]}",
        &[],
    ),
    (
        "{hosts: ['*.a.b'], http: [{route: [{destination: {host: a}}]}]}",
        &[],
    ),
    (
        "{hosts: ['*'], gateways: [g], http: [{route: [{destination: {host: a}}]}]}",
        &[],
    ),
    (
        "{hosts: ['*'], http: [{route: [{destination: {host: a}}]}]}",
        &["IST0106 hosts[0]"],
    ),
    (
        "{hosts: ['*'], gateways: [g, mesh], http: [{route: [{destination: {host: a}}]}]}",
        &["IST0106 hosts[0]"],
    ),
    (
        "{hosts: ['10.0.0.1'], http: [{route: [{destination: {host: a}}]}]}",
        &[],
    ),
    (
        "{hosts: ['a.b:80'], http: [{route: [{destination: {host: a}}]}]}",
        &["IST0106 hosts[0]"],
    ),
    (
        "{hosts: ['a.*'], http: [{route: [{destination: {host: a}}]}]}",
        &["IST0106 hosts[0]"],
    ),
    (
        "{hosts: [a.b, A.B], http: [{route: [{destination: {host: a}}]}]}",
        &["IST0106 hosts[1]"],
    ),
    (
        "{hosts: ['*.b', a.b], http: [{route: [{destination: {host: a}}]}]}",
        &["IST0106 hosts[1]"],
    ),
    (
        "{hosts: ['*.a.b', '*.b'], http: [{route: [{destination: {host: a}}]}]}",
        &["IST0106 hosts[0]"],
    ),
    (
        "{hosts: ['*.b', b], http: [{route: [{destination: {host: a}}]}]}",
        &[],
    ),
    ("{hosts: [a.b]}", &["IST0106 spec"]),
    (
        "{hosts: [a.b], gateways: ['x/y/z'], http: [{route: [{destination: {host: a}}]}]}",
        &["IST0106 gateways[0]"],
    ),
    (
        "{hosts: [a.b], gateways: ['*/g'], http: [{route: [{destination: {host: a}}]}]}",
        &["IST0106 gateways[0]"],
    ),
    (
        "{hosts: [a.b], gateways: ['ns/g'], http: [{route: [{destination: {host: a}}]}]}",
        &[],
    ),
    (
        "{hosts: [a.b], exportTo: ['*', ns], http: [{route: [{destination: {host: a}}]}]}",
        &["IST0106 exportTo"],
    ),
    (
        "{hosts: [a.b], exportTo: ['.', ns], http: [{route: [{destination: {host: a}}]}]}",
        &[],
    ),
    (
        "{hosts: [a.b], exportTo: [ns, ns], http: [{route: [{destination: {host: a}}]}]}",
        &["IST0106 exportTo[1]"],
    ),
    (
        "{hosts: [a.b], exportTo: [a_b], http: [{route: [{destination: {host: a}}]}]}",
        &["IST0106 exportTo[0]"],
    ),
];

#[test]
fn delegates() {
    table(
        NETWORKING,
        "VirtualService",
        &[
            ("{http: [{route: [{destination: {host: a}}]}]}", &[]),
            (
                "{gateways: [g], http: [{route: [{destination: {host: a}}]}]}",
                &["IST0106 gateways"],
            ),
            (
                "{http: [{delegate: {name: x}}]}",
                &["IST0106 http[0].delegate"],
            ),
            (
                "{tcp: [{route: [{destination: {host: a}}]}]}",
                &["IST0106 spec"],
            ),
            (
                "{hosts: [a.b], gateways: [g], http: [{delegate: {name: x, namespace: y}}]}",
                &[],
            ),
            (
                "{hosts: [a.b], gateways: [g], http: [{delegate: {namespace: y}}]}",
                &["IST0106 http[0].delegate"],
            ),
            (
                "{hosts: [a.b], gateways: [g], http: [{delegate: {name: x}, route: [{destination: {host: a}}]}]}",
                &["IST0106 http[0].delegate"],
            ),
        ],
    );
}

#[test]
fn actions() {
    rules(ACTIONS);
}

const ACTIONS: &[Row] = &[
    ("name: nothing", &["IST0106 http[0]"]),
    (
        "route: [{destination: {host: a}}], redirect: {uri: /b}",
        &["IST0106 redirect"],
    ),
    (
        "directResponse: {status: 200}, redirect: {uri: /b}",
        &["IST0106 directResponse"],
    ),
    ("redirect: {uri: /b}", &[]),
    ("redirect: {}", &["IST0106 redirect"]),
    ("redirect: {uri: /b, redirectCode: 308}", &[]),
    (
        "redirect: {uri: /b, redirectCode: 304}",
        &["IST0133 redirect.redirectCode"],
    ),
    (
        "redirect: {uri: /b, redirectCode: 200}",
        &["IST0106 redirect.redirectCode"],
    ),
    ("redirect: {scheme: ftp}", &["IST0106 redirect.scheme"]),
    (
        "redirect: {authority: b, port: 70000}",
        &["IST0106 redirect.port"],
    ),
    (
        "redirect: {port: 80, derivePort: FROM_REQUEST_PORT}",
        &["SP0009 redirect"],
    ),
    (
        "redirect: {uri: /b}, rewrite: {uri: /c}",
        &["IST0106 rewrite"],
    ),
    (
        "redirect: {uri: /b}, fault: {abort: {httpStatus: 500, percentage: {value: 1}}}",
        &["IST0106 fault"],
    ),
    (
        "match: [{uri: {prefix: /a}}], redirect: {prefixRewrite: /b}",
        &[],
    ),
    (
        "match: [{uri: {exact: /a}}], redirect: {prefixRewrite: /b}",
        &["IST0106 redirect.prefixRewrite"],
    ),
    (
        "match: [{uri: {prefix: /a}}], redirect: {prefixRewrite: /b, uri: /c}",
        &["IST0106 redirect.prefixRewrite"],
    ),
    ("directResponse: {status: 200, body: {string: hello}}", &[]),
    ("directResponse: {}", &["IST0106 directResponse.status"]),
    (
        "directResponse: {status: 99}",
        &["IST0106 directResponse.status"],
    ),
    (
        "directResponse: {status: 600}",
        &["IST0106 directResponse.status"],
    ),
    (
        "directResponse: {status: 200, body: {}}",
        &["IST0106 directResponse.body"],
    ),
    (
        "directResponse: {status: 200, body: {string: a, bytes: YQ==}}",
        &["SP0009 directResponse.body"],
    ),
];

#[test]
fn destinations_and_weights() {
    rules(DESTINATIONS_AND_WEIGHTS);
}

const DESTINATIONS_AND_WEIGHTS: &[Row] = &[
    (
        "route: [{destination: {host: a, subset: v1, port: {number: 80}}, weight: 100}]",
        &[],
    ),
    ("route: [{destination: {host: a}, weight: 0}]", &[]),
    (
        "route: [{destination: {host: a}, weight: 90}, {destination: {host: b}, weight: 20}]",
        &[],
    ),
    (
        "route: [{destination: {host: a}}, {destination: {host: b}}]",
        &["IST0106 route"],
    ),
    (
        "route: [{destination: {host: a}, weight: -1}, {destination: {host: b}, weight: 2}]",
        &["IST0106 route[0].weight"],
    ),
    ("route: [{weight: 1}]", &["IST0106 route[0].destination"]),
    (
        "route: [{destination: {host: ''}}]",
        &["IST0106 route[0].destination"],
    ),
    (
        "route: [{destination: {host: '*'}}]",
        &["IST0106 route[0].destination.host"],
    ),
    (
        "route: [{destination: {host: 'a:80'}}]",
        &["IST0106 route[0].destination.host"],
    ),
    (
        "route: [{destination: {host: 'http://a'}}]",
        &["IST0106 route[0].destination.host"],
    ),
    (
        "route: [{destination: {host: a, subset: 'v.1'}}]",
        &["IST0106 route[0].destination.subset"],
    ),
    (
        "route: [{destination: {host: a, port: {number: 0}}}]",
        &["IST0106 route[0].destination.port.number"],
    ),
    (
        "route: [{destination: {host: a}}], mirror: {host: b}, mirrorPercentage: {value: 10}",
        &[],
    ),
    (
        "route: [{destination: {host: a}}], mirror: {host: b}, mirrorPercent: 10",
        &["IST0002 mirrorPercent"],
    ),
    (
        "route: [{destination: {host: a}}], mirrorPercentage: {value: 10}",
        &["IST0133 http[0]"],
    ),
    (
        "route: [{destination: {host: a}}], mirror: {host: b}, mirrors: [{destination: {host: c}}]",
        &["IST0106 mirrors"],
    ),
    (
        "route: [{destination: {host: a}}], mirrors: [{destination: {host: c}, percentage: {value: 101}}]",
        &["IST0106 mirrors[0].percentage.value"],
    ),
    (
        "route: [{destination: {host: a}}], mirrors: [{percentage: {value: 1}}]",
        &["IST0106 mirrors[0].destination"],
    ),
];

#[test]
fn matches() {
    rules(MATCHES);
    table(
        NETWORKING,
        "VirtualService",
        &[(
            "{hosts: [a.b], http: [{match: [{headers: {'@request.auth.claims.x': {exact: b}}}], route: [{destination: {host: a}}]}]}",
            &["IST0106 http[0].match[0]"],
        )],
    );
}

const MATCHES: &[Row] = &[
    (
        "match: [{uri: {exact: /a}}], route: [{destination: {host: a}}]",
        &[],
    ),
    (
        "match: [{uri: {prefix: ''}}], route: [{destination: {host: a}}]",
        &["IST0106 match[0].uri.prefix"],
    ),
    (
        "match: [{uri: {prefix: a}}], route: [{destination: {host: a}}]",
        &["IST0133 match[0].uri"],
    ),
    (
        "match: [{uri: {exact: '/a?b=c'}}], route: [{destination: {host: a}}]",
        &["IST0133 match[0].uri"],
    ),
    (
        "match: [{uri: {regex: '/a(b'}}], route: [{destination: {host: a}}]",
        &["IST0106 match[0].uri.regex"],
    ),
    (
        "match: [{uri: {regex: '/a/[0-9]+'}}], route: [{destination: {host: a}}]",
        &[],
    ),
    (
        "match: [{uri: {exact: /a, prefix: /b}}], route: [{destination: {host: a}}]",
        &["SP0009 match[0].uri"],
    ),
    (
        "match: [{headers: {x-a: {exact: b}}}], route: [{destination: {host: a}}]",
        &[],
    ),
    (
        "match: [{headers: {x-a: {}}}], route: [{destination: {host: a}}]",
        &[],
    ),
    (
        "match: [{headers: {x-a: {regex: '*'}}}], route: [{destination: {host: a}}]",
        &[],
    ),
    (
        "match: [{headers: {'x a': {exact: b}}}], route: [{destination: {host: a}}]",
        &["IST0106 match[0].headers.x a"],
    ),
    (
        "match: [{headers: {':method': {exact: GET}}}], route: [{destination: {host: a}}]",
        &[],
    ),
    (
        "match: [{headers: {method: {exact: GET}}}], route: [{destination: {host: a}}]",
        &["IST0133 match[0].headers.method"],
    ),
    (
        "match: [{headers: {'@request.auth.claims.group': {exact: b}}}], route: [{destination: {host: a}}]",
        &[],
    ),
    (
        "match: [{headers: {'@request.auth.claims[a.b][c]': {exact: b}}}], route: [{destination: {host: a}}]",
        &[],
    ),
    (
        "match: [{headers: {'@request.auth.claims': {exact: b}}}], route: [{destination: {host: a}}]",
        &["IST0106 match[0].headers.@request.auth.claims"],
    ),
    (
        "match: [{withoutHeaders: {x-a: {regex: 'a('}}}], route: [{destination: {host: a}}]",
        &["IST0106 match[0].withoutHeaders.x-a.regex"],
    ),
    (
        "match: [{queryParams: {q: {prefix: ''}}}], route: [{destination: {host: a}}]",
        &["IST0106 match[0].queryParams.q.prefix"],
    ),
    (
        "match: [{port: 70000}], route: [{destination: {host: a}}]",
        &["IST0106 match[0].port"],
    ),
    (
        "match: [{sourceLabels: {'a b': c}}], route: [{destination: {host: a}}]",
        &["IST0106 match[0].sourceLabels.a b"],
    ),
];

#[test]
fn tls_and_tcp() {
    table(
        NETWORKING,
        "VirtualService",
        &[
            (
                "{hosts: ['*.b'], tls: [{match: [{port: 443, sniHosts: [a.b]}], route: [{destination: {host: a}}]}]}",
                &[],
            ),
            (
                "{hosts: [a.b], tls: [{route: [{destination: {host: a}}]}]}",
                &["IST0106 tls[0]"],
            ),
            (
                "{hosts: [a.b], tls: [{match: [{port: 443}], route: [{destination: {host: a}}]}]}",
                &["IST0106 tls[0].match[0]"],
            ),
            (
                "{hosts: [a.b], tls: [{match: [{sniHosts: [c.b]}], route: [{destination: {host: a}}]}]}",
                &["IST0106 tls[0].match[0].sniHosts[0]"],
            ),
            (
                "{hosts: [a.b], tls: [{match: [{sniHosts: [a.b]}]}]}",
                &["IST0106 tls[0]"],
            ),
            (
                "{hosts: [a.b], tcp: [{route: [{destination: {host: a}}]}]}",
                &[],
            ),
            (
                "{hosts: [a.b], tcp: [{match: [{destinationSubnets: [10.0.0.0/33]}], route: [{destination: {host: a}}]}]}",
                &["IST0106 tcp[0].match[0].destinationSubnets[0]"],
            ),
            (
                "{hosts: [a.b], tcp: [{match: [{sourceSubnet: 10.0.0.0/8}], route: [{destination: {host: a}}]}]}",
                &["IST0133 tcp[0].match[0].sourceSubnet"],
            ),
        ],
    );
}

#[test]
fn rules_that_are_never_reached() {
    let to = "route: [{destination: {host: a}}]";
    let rows: [(String, &[&str]); 12] = [
        (
            format!("{{{to}}}, {{match: [{{uri: {{prefix: /a}}}}], {to}}}"),
            &["IST0130 http[1]"],
        ),
        (format!("{{{to}}}, {{{to}}}"), &["IST0130 http[1]"]),
        (
            format!("{{match: [{{uri: {{prefix: /}}}}], {to}}}, {{{to}}}"),
            &["IST0130 http[1]"],
        ),
        (
            format!("{{match: [{{uri: {{regex: '.*'}}}}], {to}}}, {{{to}}}"),
            &["IST0130 http[1]"],
        ),
        (
            format!("{{match: [{{uri: {{prefix: /}}, method: {{exact: GET}}}}], {to}}}, {{{to}}}"),
            &[],
        ),
        (
            format!(
                "{{match: [{{uri: {{prefix: /a}}}}], {to}}}, {{match: [{{uri: {{prefix: /ab}}}}], {to}}}"
            ),
            &["IST0130 http[1]"],
        ),
        (
            format!(
                "{{match: [{{uri: {{prefix: /ab}}}}], {to}}}, {{match: [{{uri: {{prefix: /a}}}}], {to}}}"
            ),
            &[],
        ),
        (
            format!(
                "{{match: [{{uri: {{exact: /a}}}}], {to}}}, {{match: [{{name: x, uri: {{exact: /a}}}}], {to}}}"
            ),
            &["IST0130 http[1]"],
        ),
        (
            format!(
                "{{match: [{{headers: {{a: {{exact: b}}}}}}], {to}}}, {{match: [{{headers: {{a: {{exact: b}}}}}}], {to}}}"
            ),
            &["IST0130 http[1]"],
        ),
        (
            format!(
                "{{match: [{{headers: {{a: {{exact: b}}}}}}], {to}}}, {{match: [{{headers: {{a: {{exact: c}}}}}}], {to}}}"
            ),
            &[],
        ),
        (
            format!(
                "{{match: [{{uri: {{exact: /a}}}}], {to}}}, {{match: [{{uri: {{exact: /a}}}}, {{uri: {{exact: /b}}}}], {to}}}"
            ),
            &["IST0131 http[1].match[0]"],
        ),
        (
            format!(
                "{{match: [{{uri: {{prefix: /a}}, port: 80}}], {to}}}, {{match: [{{uri: {{prefix: /ab}}}}], {to}}}"
            ),
            &[],
        ),
    ];
    for (list, expected) in rows {
        let text = format!(
            "apiVersion: {NETWORKING}\nkind: VirtualService\nmetadata: {{name: a}}\nspec: {{hosts: [a.b], gateways: [g], http: [{list}]}}\n"
        );
        let found: Vec<String> = findings(&text);
        assert_eq!(found, expected, "{list}");
    }
}
