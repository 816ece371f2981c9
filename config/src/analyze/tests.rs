//! Objects that fit together are left alone, and each way not to fit is found once.

use super::analyze;
use crate::parse;

/// Objects by `Kind namespace/name spec`, one a line, and `CODE Kind ns/name path` of every
/// finding.
fn case(objects: &str, expected: &[&str]) {
    let text: Vec<String> = objects
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .map(document)
        .collect();
    let parsed = parse(&[("in.yaml".to_owned(), text.join("---\n"))]);
    assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
    let found: Vec<String> = analyze(&parsed.set)
        .iter()
        .map(|d| {
            format!(
                "{} {} {}",
                d.code,
                d.resource.as_ref().unwrap(),
                d.path.strip_prefix("spec.").unwrap_or(&d.path)
            )
        })
        .collect();
    assert_eq!(found, expected, "{objects}");
}

fn document(line: &str) -> String {
    let mut words = line.splitn(3, ' ');
    let (kind, name) = (words.next().unwrap(), words.next().unwrap());
    let (namespace, name) = name.split_once('/').unwrap();
    let rest = words.next().unwrap();
    let (api, field) = match kind {
        "Service" | "Pod" | "Secret" => ("v1", "spec"),
        "AuthorizationPolicy" | "PeerAuthentication" | "RequestAuthentication" => {
            ("security.istio.io/v1", "spec")
        }
        "RateLimit" => ("sallyport.io/v1alpha1", "spec"),
        "IstioOperator" => ("install.istio.io/v1alpha1", "spec"),
        _ => ("networking.istio.io/v1", "spec"),
    };
    let (labels, rest) = rest
        .strip_prefix('@')
        .and_then(|r| r.split_once(' '))
        .unwrap_or(("", rest));
    let labels = if labels.is_empty() {
        String::new()
    } else {
        format!(
            ", labels: {{{}}}",
            labels.replace('=', ": ").replace(',', ", ")
        )
    };
    let field = if kind == "Secret" {
        "stringData"
    } else {
        field
    };
    format!(
        "apiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}{labels}}}\n{field}: {rest}\n"
    )
}

const SHOP: &str = "Service default/shop {ports: [{name: http, port: 80}]}";
const PUBLIC: &str = "Gateway default/public {selector: {istio: x}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}]}";
const ROUTE: &str = "VirtualService default/shop {hosts: [shop.example.com], gateways: [public], http: [{route: [{destination: {host: shop}}]}]}";

#[test]
fn what_fits_is_left_alone() {
    case(&[SHOP, PUBLIC, ROUTE].join("\n"), &[]);
    case("", &[]);
}

#[test]
fn gateways_that_do_not_exist() {
    let route = |gateway: &str| ROUTE.replace("[public]", &format!("[{gateway}]"));
    let with = |gateway: &str| [SHOP, PUBLIC, route(gateway).as_str()].join("\n");
    case(
        &with("publik"),
        &["IST0101 VirtualService default/shop gateways[0]"],
    );
    case(
        &with("other/public"),
        &["IST0101 VirtualService default/shop gateways[0]"],
    );
    case(&with("default/public"), &[]);
    case(&with("mesh"), &[]);
}

#[test]
fn hosts_that_the_gateway_lacks() {
    let hosts = |list: &str| [SHOP, &PUBLIC.replace("[shop.example.com]", list), ROUTE].join("\n");
    case(&hosts("['*']"), &[]);
    case(&hosts("['*.example.com']"), &[]);
    case(&hosts("['default/shop.example.com']"), &[]);
    case(&hosts("['./shop.example.com']"), &[]);
    case(&hosts("[SHOP.example.com]"), &[]);
    case(
        &hosts("['other/shop.example.com', shop.example.org]")
            .replace("shop.example.org", "'*.org'"),
        &[
            "SP0301 Gateway default/public servers[0].hosts[0]",
            "SP0301 Gateway default/public servers[0].hosts[1]",
            "IST0132 VirtualService default/shop hosts[0]",
        ],
    );
}

#[test]
fn hosts_of_a_gateway_that_lead_nowhere() {
    let more = PUBLIC.replace("[shop.example.com]", "[shop.example.com, app.example.com]");
    case(
        &[SHOP, &more, ROUTE].join("\n"),
        &["SP0301 Gateway default/public servers[0].hosts[1]"],
    );
    let redirect = more.replace("hosts:", "tls: {httpsRedirect: true}, hosts:");
    case(&[SHOP, &redirect, ROUTE].join("\n"), &[]);
    // a Gateway that nobody names may be in use from elsewhere
    case(&more, &[]);
}

#[test]
fn servers_that_claim_the_same_host() {
    let secure = "Gateway default/NAME {selector: {istio: x}, servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [HOST], tls: {mode: SIMPLE, credentialName: NAME}}]}";
    let two = |a: &str, b: &str| {
        let one = secure.replace("NAME", "a").replace("HOST", a);
        [one, secure.replace("NAME", "b").replace("HOST", b)].join("\n")
    };
    case(
        &two("shop.example.com", "shop.example.com"),
        &["IST0145 Gateway default/b servers[0].hosts[0]"],
    );
    case(
        &two("'*/shop.example.com'", "Shop.example.com"),
        &["IST0145 Gateway default/b servers[0].hosts[0]"],
    );
    case(&two("'*.example.com'", "shop.example.com"), &[]);
    case(
        &two("shop.example.com", "shop.example.com").replacen("443", "8443", 1),
        &[],
    );
    case(
        &two("shop.example.com", "shop.example.com").replacen("istio: x", "istio: y", 1),
        &[],
    );
    case(
        &two("a.example.com", "b.example.com").replace("credentialName: b", "credentialName: a"),
        &["IST0138 Gateway default/b servers[0].tls"],
    );
}

#[test]
fn hosts_that_two_virtual_services_define_for_sidecars() {
    let rule = "VirtualService NS/NAME {hosts: [HOST], http: [{route: [{destination: {host: shop.default.svc.cluster.local}}]}]}";
    let two = |(ns_a, host_a): (&str, &str), (ns_b, host_b): (&str, &str)| {
        let a = rule
            .replace("NS", ns_a)
            .replace("NAME", "a")
            .replace("HOST", host_a);
        let b = rule
            .replace("NS", ns_b)
            .replace("NAME", "b")
            .replace("HOST", host_b);
        [SHOP.to_owned(), a, b].join("\n")
    };
    case(
        &two(
            ("default", "shop"),
            ("default", "shop.default.svc.cluster.local"),
        ),
        &["IST0109 VirtualService default/b hosts[0]"],
    );
    case(
        &two(
            ("default", "shop.default.svc.cluster.local"),
            ("other", "shop.default.svc.cluster.local"),
        ),
        &["IST0109 VirtualService other/b hosts[0]"],
    );
    case(&two(("default", "shop"), ("other", "shop")), &[]);
    let private = two(("default", "a.b"), ("other", "a.b")).replacen(
        "hosts: [a.b]",
        "exportTo: ['.'], hosts: [a.b]",
        1,
    );
    case(&private, &[]);
}

#[test]
fn destinations_that_do_not_exist() {
    let to = |destination: &str| {
        [
            SHOP.to_owned(),
            PUBLIC.to_owned(),
            ROUTE.replace("{host: shop}", destination),
        ]
        .join("\n")
    };
    case(
        &to("{host: shop.default.svc.cluster.local, port: {number: 80}}"),
        &[],
    );
    case(
        &to("{host: shopp}"),
        &["IST0101 VirtualService default/shop http[0].route[0].destination.host"],
    );
    case(
        &to("{host: shop.default}"),
        &["IST0101 VirtualService default/shop http[0].route[0].destination.host"],
    );
    case(
        &to("{host: api.example.org}"),
        &["IST0101 VirtualService default/shop http[0].route[0].destination.host"],
    );
    case(
        &to("{host: shop, port: {number: 81}}"),
        &["IST0101 VirtualService default/shop http[0].route[0].destination.port.number"],
    );
    case(
        &to("{host: shop, subset: v1}"),
        &["IST0101 VirtualService default/shop http[0].route[0].destination.subset"],
    );
    // of this namespace nothing is known: said, not judged
    case(
        &to("{host: shop.elsewhere.svc.cluster.local}"),
        &["IST0101 VirtualService default/shop http[0].route[0].destination.host"],
    );
    let wild = "ServiceEntry default/wild {hosts: ['*.example.org'], ports: [{number: 443, name: tls, protocol: TLS}], resolution: NONE}";
    case(
        &[to("{host: api.example.org}").as_str(), wild].join("\n"),
        &[],
    );
}

#[test]
fn subsets_and_ports() {
    let subset =
        "DestinationRule default/shop {host: shop, subsets: [{name: v1, labels: {v: '1'}}]}";
    let to = |destination: &str| {
        [
            SHOP.to_owned(),
            PUBLIC.to_owned(),
            ROUTE.replace("{host: shop}", destination),
            subset.to_owned(),
        ]
        .join("\n")
    };
    case(&to("{host: shop, subset: v1}"), &[]);
    case(
        &to("{host: shop, subset: v2}"),
        &["IST0101 VirtualService default/shop http[0].route[0].destination.subset"],
    );
    let two = SHOP.replace("port: 80}", "port: 80}, {name: http-b, port: 81}");
    case(
        &[two.as_str(), PUBLIC, ROUTE].join("\n"),
        &["IST0112 VirtualService default/shop http[0].route[0].destination"],
    );
}

#[test]
fn subsets_without_workloads() {
    let service = "Service default/shop {selector: {app: shop}, ports: [{name: http, port: 80}]}";
    let rule = "DestinationRule default/shop {host: shop, subsets: [{name: v1, labels: {v: one}}, {name: v2, labels: {v: two}}]}";
    case(&[service, rule].join("\n"), &[]);
    let pod = "Pod default/one @app=shop,v=one {}";
    case(
        &[service, rule, pod].join("\n"),
        &["IST0173 DestinationRule default/shop subsets[1].labels"],
    );
    case(
        &[service, rule, "Pod default/one @app=shop {}"].join("\n"),
        &[
            "IST0173 DestinationRule default/shop subsets[0].labels",
            "IST0173 DestinationRule default/shop subsets[1].labels",
        ],
    );
    case(
        &[service, rule, "Pod default/one @app=other {}"].join("\n"),
        &[],
    );
}

#[test]
fn splits_that_a_gateway_does_not_see() {
    let rule = "DestinationRule default/shop {host: shop, subsets: [{name: v1, labels: {v: one}}]}";
    let split = "VirtualService default/split {hosts: [shop], http: [{route: [{destination: {host: shop, subset: v1}}]}]}";
    case(
        &[SHOP, PUBLIC, ROUTE, rule, split].join("\n"),
        &["IST0140 VirtualService default/split http[0].route[0].destination.subset"],
    );
    let both = split.replace("hosts:", "gateways: [mesh], hosts:");
    let through = ROUTE.replace("{host: shop}", "{host: shop, subset: v1}");
    case(&[SHOP, PUBLIC, &through, rule, &both].join("\n"), &[]);
}

#[test]
fn destination_rules() {
    let rule = |host: &str, tls: &str| {
        format!("DestinationRule default/rule {{host: {host}, trafficPolicy: {{tls: {tls}}}}}")
    };
    let ca = "{mode: SIMPLE, caCertificates: /ca}";
    case(&[SHOP, &rule("shop", ca)].join("\n"), &[]);
    case(
        &[SHOP, &rule("shop", "{mode: SIMPLE}")].join("\n"),
        &["IST0128 DestinationRule default/rule trafficPolicy.tls.mode"],
    );
    case(
        &[SHOP, &rule("shop", "{mode: SIMPLE, credentialName: c}")].join("\n"),
        &[],
    );
    case(
        &[SHOP, &rule("shop", "{mode: ISTIO_MUTUAL}")].join("\n"),
        &[],
    );
    case(
        &[SHOP, &rule("shopp", ca)].join("\n"),
        &["IST0174 DestinationRule default/rule host"],
    );
    case(
        &[SHOP, &rule("shop.default", ca)].join("\n"),
        &["IST0174 DestinationRule default/rule host"],
    );
    case(
        &[SHOP, &rule("api.example.org", ca)].join("\n"),
        &["IST0174 DestinationRule default/rule host"],
    );
    case(&rule("shop", ca), &[]);
    case(&[SHOP, &rule("'*.example.org'", ca)].join("\n"), &[]);
}

#[test]
fn claims_and_tokens() {
    let claim = ROUTE.replace(
        "[{route",
        "[{match: [{headers: {'@request.auth.claims.a': {exact: b}}}], route",
    );
    let with = |more: &str| [SHOP, PUBLIC, claim.as_str(), more].join("\n");
    case(
        &with(""),
        &["IST0149 VirtualService default/shop http[0].match[0].headers"],
    );
    case(
        &with(
            "RequestAuthentication default/jwt {selector: {matchLabels: {istio: x}}, jwtRules: [{issuer: a}]}",
        ),
        &[],
    );
    case(
        &with(
            "RequestAuthentication default/jwt {selector: {matchLabels: {istio: y}}, jwtRules: [{issuer: a}]}",
        ),
        &["IST0149 VirtualService default/shop http[0].match[0].headers"],
    );

    let policy = "AuthorizationPolicy default/jwt {selector: {matchLabels: {app: a}}, rules: [{from: [{source: {requestPrincipals: ['*']}}]}]}";
    case(
        policy,
        &["SP0305 AuthorizationPolicy default/jwt rules[0].from[0].source.requestPrincipals"],
    );
    for (authentication, silent) in [
        (
            "RequestAuthentication default/a {jwtRules: [{issuer: a}]}",
            true,
        ),
        (
            "RequestAuthentication istio-system/a {jwtRules: [{issuer: a}]}",
            true,
        ),
        (
            "RequestAuthentication default/a {selector: {matchLabels: {app: a}}, jwtRules: [{issuer: a}]}",
            true,
        ),
        (
            "RequestAuthentication default/a {selector: {matchLabels: {app: b}}, jwtRules: [{issuer: a}]}",
            false,
        ),
        (
            "RequestAuthentication other/a {jwtRules: [{issuer: a}]}",
            false,
        ),
    ] {
        let expected: &[&str] = if silent {
            &[]
        } else {
            &["SP0305 AuthorizationPolicy default/jwt rules[0].from[0].source.requestPrincipals"]
        };
        case(&[policy, authentication].join("\n"), expected);
    }
}

#[test]
fn policies() {
    let policy = "AuthorizationPolicy default/a {selector: {matchLabels: {app: a}}, rules: [{}]}";
    case(policy, &[]);
    case(&[policy, "Pod default/p @app=a {}"].join("\n"), &[]);
    case(
        &[policy, "Pod default/p @app=b {}"].join("\n"),
        &["IST0127 AuthorizationPolicy default/a selector.matchLabels"],
    );
    case(&[policy, "Pod other/p @app=b {}"].join("\n"), &[]);

    let strict = "PeerAuthentication istio-system/NAME {mtls: {mode: STRICT}}";
    let two = [strict.replace("NAME", "a"), strict.replace("NAME", "b")].join("\n");
    case(
        &two,
        &["SP0304 PeerAuthentication istio-system/b metadata.name"],
    );
    case(&two.replacen("istio-system", "default", 1), &[]);
    case(
        &two.replacen("{mtls", "{selector: {matchLabels: {a: b}}, mtls", 1),
        &[],
    );

    let custom = "AuthorizationPolicy default/c {action: CUSTOM, provider: {name: p}, rules: [{}]}";
    case(custom, &[]);
    case(
        &[
            custom,
            "IstioOperator default/mesh {meshConfig: {rootNamespace: istio-system}}",
        ]
        .join("\n"),
        &["IST0101 AuthorizationPolicy default/c provider.name"],
    );
}

#[test]
fn ports_of_workloads_and_services() {
    let service = "Service default/shop {selector: {app: shop}, ports: [{name: http, port: 80, targetPort: TARGET}]}";
    let policy = "PeerAuthentication default/a {selector: {matchLabels: {app: shop}}, portLevelMtls: {80: {mode: DISABLE}}}";
    case(
        &[&service.replace("TARGET", "8080"), policy].join("\n"),
        &["SP0308 PeerAuthentication default/a portLevelMtls.80"],
    );
    case(&[&service.replace("TARGET", "80"), policy].join("\n"), &[]);
    case(&[&service.replace("TARGET", "web"), policy].join("\n"), &[]);
    case(policy, &[]);

    for (port, silent) in [
        ("{name: http, port: 80}", true),
        ("{name: grpc-web, port: 80}", true),
        ("{name: HTTP-shop, port: 80}", true),
        ("{name: shop, port: 80, appProtocol: http}", true),
        ("{name: dns, port: 53, protocol: UDP}", true),
        ("{name: httpshop, port: 80}", false),
        ("{name: shop, port: 80}", false),
    ] {
        let expected: &[&str] = if silent {
            &[]
        } else {
            &["IST0118 Service default/s ports[0].name"]
        };
        case(&format!("Service default/s {{ports: [{port}]}}"), expected);
        case(&format!("Service kube-system/s {{ports: [{port}]}}"), &[]);
    }
}

#[test]
fn entries_without_addresses() {
    let entry = "ServiceEntry default/e {hosts: [a.b], MOREports: [{number: 80, name: a, protocol: PROTOCOL}], resolution: DNS}";
    let with =
        |protocol: &str, more: &str| entry.replace("PROTOCOL", protocol).replace("MORE", more);
    case(
        &with("TCP", ""),
        &["IST0134 ServiceEntry default/e ports[0].protocol"],
    );
    case(
        &with("mongo", ""),
        &["IST0134 ServiceEntry default/e ports[0].protocol"],
    );
    case(&with("TCP", "addresses: [10.0.0.1], "), &[]);
    case(&with("TLS", ""), &[]);
    case(&with("HTTP", ""), &[]);
}

#[test]
fn secrets() {
    let gateway = "Gateway default/g {selector: {istio: x}, servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.b], tls: {mode: MODE, credentialName: c}}]}";
    let pem = |kind: &str| format!("\"-----BEGIN {kind}-----\\nAA==\\n-----END {kind}-----\\n\"");
    let secret = |fields: &str| format!("Secret default/c {{{fields}}}");
    let pair = format!(
        "tls.crt: {}, tls.key: {}",
        pem("CERTIFICATE"),
        pem("EC PRIVATE KEY")
    );
    let simple = gateway.replace("MODE", "SIMPLE");
    let mutual = gateway.replace("MODE", "MUTUAL");
    let with_ca = format!("{pair}, ca.crt: {}", pem("CERTIFICATE"));
    let invalid: &[&str] = &["IST0161 Gateway default/g servers[0].tls.credentialName"];
    // no Secret is among the input: they may come from elsewhere
    case(&simple, &[]);
    case(&[simple.as_str(), &secret(&pair)].join("\n"), &[]);
    case(
        &[
            simple.as_str(),
            &secret(&pair).replace("default/c", "default/d"),
        ]
        .join("\n"),
        &["IST0101 Gateway default/g servers[0].tls.credentialName"],
    );
    case(
        &[simple.as_str(), &secret("tls.crt: x, tls.key: y")].join("\n"),
        invalid,
    );
    case(
        &[
            simple.as_str(),
            &secret(&format!("tls.crt: {}", pem("CERTIFICATE"))),
        ]
        .join("\n"),
        invalid,
    );
    case(&[mutual.as_str(), &secret(&pair)].join("\n"), invalid);
    case(&[mutual.as_str(), &secret(&with_ca)].join("\n"), &[]);
    let beside =
        secret(&format!("cacert: {}", pem("CERTIFICATE"))).replace("default/c", "default/c-cacert");
    case(&[mutual.as_str(), &secret(&pair), &beside].join("\n"), &[]);
}

#[test]
fn second_places_are_shown() {
    let text = [
        SHOP,
        PUBLIC,
        &ROUTE.replace("shop.example.com", "www.example.com"),
    ]
    .map(document)
    .join("---\n");
    let parsed = parse(&[("in.yaml".to_owned(), text)]);
    let found = analyze(&parsed.set);
    let missing = found.iter().find(|d| d.code.0 == "IST0132").unwrap();
    let (span, label) = missing.labels.first().unwrap();
    assert_eq!(label, "the Gateway that lacks this host is here");
    assert_eq!(parsed.sources.text(*span), "[shop.example.com]");
}

#[test]
fn limits_of_nothing_are_found() {
    let service = "VirtualService default/web {hosts: [a.b], http: [{name: slow, match: [{name: one}], directResponse: {status: 200}}]}";
    let limit = |to: &str, route: &str| {
        format!(
            "{service}\nRateLimit default/l {{targetRefs: [{{group: networking.istio.io, kind: VirtualService, name: {to}}}], limits: [{{routes: [{route}], tokens: 1, interval: 1s}}]}}"
        )
    };
    case(&limit("web", "slow"), &[]);
    case(&limit("web", "slow.one"), &[]);
    case(
        &limit("web", "slaw"),
        &["IST0101 RateLimit default/l limits[0].routes[0]"],
    );
    case(
        &limit("wed", "slow"),
        &["IST0101 RateLimit default/l targetRefs[0].name"],
    );
}
