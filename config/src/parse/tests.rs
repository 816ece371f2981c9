//! Files to objects: names, kinds, and every error at once.

use std::time::Duration;

use super::{Parsed, parse, rfc3339};
use crate::api::Bytes;
use crate::diag::Level;
use crate::resource::{Key, Kind};

/// Parses one file.
fn one(text: &str) -> Parsed {
    parse(&[("in.yaml".to_owned(), text.to_owned())])
}

/// Findings as `code line:column path: message (help)`.
fn found(parsed: &Parsed) -> Vec<String> {
    let line = |d: &crate::Diagnostic| {
        let at = d
            .span
            .map(|s| format!(" {}:{}", s.line, s.column))
            .unwrap_or_default();
        let help = d
            .help
            .as_ref()
            .map(|h| format!(" ({h})"))
            .unwrap_or_default();
        format!("{}{at} {}: {}{help}", d.code, d.path, d.message)
    };
    parsed.diagnostics.iter().map(line).collect()
}

fn key(kind: Kind, namespace: &str, name: &str) -> Key {
    Key {
        kind,
        namespace: namespace.into(),
        name: name.into(),
    }
}

/// A VirtualService with this spec, whose first line is line 5.
fn virtual_service(spec: &str) -> String {
    let spec: String = spec.lines().map(|l| format!("  {l}\n")).collect();
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a}}\nspec:\n{spec}"
    )
}

#[test]
fn every_error_of_an_object_is_found_with_place_path_and_help() {
    let cases: &[(&str, &[&str])] = &[
        (
            "hosts: [a]\nhttp:\n- match:\n  - uri: {prefx: /}\n  ruote: []\n  timeout: 30\n  redirect: {port: x}\n",
            &[
                "SP0002 8:13 spec.http[0].match[0].uri.prefx: unknown field `prefx` (did you mean `prefix`?)",
                "SP0002 9:5 spec.http[0].ruote: unknown field `ruote` (did you mean `route`?)",
                "SP0003 10:14 spec.http[0].timeout: `30` is not a duration: it has no unit (write it like 30s, 250ms or 1h30m)",
                "SP0003 11:22 spec.http[0].redirect.port: expected a whole number, found a string `x`",
            ],
        ),
        (
            "hosts: a\n",
            &["SP0003 5:10 spec.hosts: expected a list, found a string `a`"],
        ),
        (
            "hosts: [1]\n",
            &["SP0003 5:11 spec.hosts[0]: expected a string, found a number `1` (quote it: \"1\")"],
        ),
        (
            "http: [{match: [{headers: {x-a.b: {exact: true}}}]}]\n",
            &[
                "SP0003 5:45 spec.http[0].match[0].headers.x-a.b.exact: expected a string, found a boolean `true` (quote it: \"true\")",
            ],
        ),
        (
            "http: [{corsPolicy: {unmatchedPreflights: FORWRD}}]\n",
            &[
                "SP0003 5:45 spec.http[0].corsPolicy.unmatchedPreflights: unknown value `FORWRD` \
               (the values are UNSPECIFIED, FORWARD, IGNORE; did you mean `FORWARD`?)",
            ],
        ),
        (
            "http: [{match: [{uri: {exact: a, prefix: b}}]}]\n",
            &["SP0009 5:25 spec.http[0].match[0].uri: only one of `exact`, `prefix` may be set"],
        ),
        (
            "export_to: []\nexportTo: []\n",
            &["SP0006 6:13 spec.exportTo: field `exportTo` is given twice, under two of its names"],
        ),
        (
            "hosts: [a]\nhosts: [b]\n",
            &["SP0006 6:3 : key `hosts` is given twice"],
        ),
        (
            "http: [null]\n",
            &["SP0003 5:10 spec.http[0]: expected a mapping, found null"],
        ),
        (
            "http: [{route: [{weight: 99999999999}]}]\n",
            &[
                "SP0003 5:28 spec.http[0].route[0].weight: 99999999999 is out of range, -2147483648 to 2147483647",
            ],
        ),
    ];
    for (spec, want) in cases {
        let parsed = one(&virtual_service(spec));
        assert_eq!(found(&parsed), *want, "{spec}");
        assert!(
            parsed.set.is_empty(),
            "an object with errors is left out: {spec}"
        );
        assert_eq!(
            parsed.rejected[0].key,
            Some(key(Kind::VirtualService, "default", "a"))
        );
        assert_eq!(
            parsed.diagnostics.iter().next().unwrap().resource,
            parsed.rejected[0].key
        );
    }
}

#[test]
fn protobuf_json_is_read_leniently() {
    let spec = "hosts: [a]\nexport_to: ['.']\nhttp:\n- timeout: 1h30m\n  retries: {attempts: '3', per_try_timeout: 100ms}\n  \
                mirror_percent: 5\n  mirror: null\n  match:\n  - uri: {}\n    port: '80'\n    ignoreUriCase: true\n  \
                directResponse: {status: 2e2, body: {bytes: aGk=}}\n  fault: {delay: {percentage: {value: 50}}}\n";
    let parsed = one(&virtual_service(spec));
    assert_eq!(found(&parsed), Vec::<String>::new());
    let (resource, vs) = parsed.set.virtual_services().next().unwrap();
    let http = &vs.http[0];
    assert_eq!(vs.export_to, ["."]);
    assert_eq!(http.timeout, Some(Duration::from_secs(5400)));
    let retries = http.retries.as_ref().unwrap();
    assert_eq!(
        (retries.attempts, retries.per_try_timeout),
        (3, Some(Duration::from_millis(100)))
    );
    assert_eq!((http.mirror_percent, &http.mirror), (Some(5), &None));
    assert_eq!(
        http.match_[0].uri,
        Some(crate::api::shared::StringMatch::default()),
        "presence"
    );
    assert_eq!(
        (http.match_[0].port, http.match_[0].ignore_uri_case),
        (80, true)
    );
    let direct = http.direct_response.as_ref().unwrap();
    assert_eq!(
        (direct.status, direct.body.as_ref().unwrap().bytes.clone()),
        (200, Some(Bytes(b"hi".to_vec())))
    );
    assert_eq!(
        http.fault
            .as_ref()
            .unwrap()
            .delay
            .as_ref()
            .unwrap()
            .percentage
            .as_ref()
            .unwrap()
            .value,
        50.0
    );
    let line = |path| resource.span_at(path).line;
    assert_eq!(line("spec.http[0].timeout"), 8);
    assert_eq!(
        line("spec.http[0].retries.perTryTimeout"),
        9,
        "found under its other name"
    );
    assert_eq!(line("spec.http[0].match[0].port"), 14);
    assert_eq!(
        line("spec.http[0].match[7].port"),
        13,
        "the nearest ancestor"
    );
    assert!(resource.has("spec.http[0].mirror") && !resource.has("spec.http[1]"));
}

#[test]
fn documents_that_are_no_objects_say_why() {
    let cases: &[(&str, &[&str])] = &[
        (
            "- a\n",
            &["SP0007 1:1 : the document is a list, not an object"],
        ),
        (
            "kind: Gateway\n",
            &[
                "SP0007 1:1 : the document has no apiVersion (a document begins with apiVersion and kind)",
            ],
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: VirtualServce\n",
            &[
                "SP0004 2:7 kind: `networking.istio.io` has no kind `VirtualServce` (did you mean `VirtualService`?)",
            ],
        ),
        (
            "apiVersion: network.istio.io/v1\nkind: VirtualService\n",
            &[
                "SP0004 1:13 apiVersion: unknown API group `network.istio.io` (did you mean `networking.istio.io`?)",
            ],
        ),
        (
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\n",
            &["SP0011 2:7 kind: kind `Ingress` of `networking.k8s.io` is not read here"],
        ),
        (
            "apiVersion: networking.istio.io/v2\nkind: VirtualService\n",
            &[
                "SP0004 1:13 apiVersion: VirtualService has no version `v2` \
               (write networking.istio.io/v1 or networking.istio.io/v1beta1 or networking.istio.io/v1alpha3)",
            ],
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: PeerAuthentication\n",
            &[
                "SP0004 2:7 kind: `networking.istio.io` has no kind `PeerAuthentication` \
               (PeerAuthentication is of `security.istio.io`)",
            ],
        ),
        (
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: a}\n",
            &["SP0011 2:7 kind: kind `Gateway` of `gateway.networking.k8s.io` is not read here"],
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {}\n",
            &[
                "SP0007 3:1 : this Service has no metadata.name (every object is known by kind, namespace and name)",
            ],
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: a}\nhosts: []\n",
            &["SP0002 4:1 hosts: unknown field `hosts` (fields of the object belong under `spec`)"],
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, creationTimestamp: yesterday}\n",
            &[
                "SP0003 3:40 metadata.creationTimestamp: `yesterday` is not a timestamp like 2025-01-31T12:00:00Z",
            ],
        ),
    ];
    for (text, want) in cases {
        assert_eq!(found(&one(text)), *want, "{text}");
    }
}

#[test]
fn a_bad_document_disables_only_itself() {
    let good = |name: &str| format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n");
    let text = [
        good("a"),
        "x: [\n".to_owned(),
        virtual_service("hots: []\n"),
        good("b"),
    ]
    .join("---\n");
    let parsed = one(&text);
    let names: Vec<_> = parsed.set.iter().map(|r| r.meta.name.to_string()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(
        parsed.diagnostics.count(Level::Error),
        2,
        "{:?}",
        found(&parsed)
    );
    let rejected: Vec<_> = parsed
        .rejected
        .iter()
        .map(|r| (r.syntax, r.key.is_some()))
        .collect();
    assert_eq!(rejected, [(true, false), (false, true)]);
}

#[test]
fn the_first_of_two_definitions_counts_by_file_name() {
    let text = |host: &str| virtual_service(&format!("hosts: [{host}]\n"));
    let parsed = parse(&[
        ("b.yaml".to_owned(), text("late")),
        ("a.yaml".to_owned(), text("early")),
    ]);
    assert_eq!(
        parsed.set.virtual_services().next().unwrap().1.hosts,
        ["early"]
    );
    assert_eq!(
        found(&parsed),
        ["SP0005 3:18 metadata.name: VirtualService default/a is defined twice"]
    );
    assert_eq!(
        parsed
            .sources
            .name(parsed.diagnostics.iter().next().unwrap().span.unwrap().file),
        "b.yaml"
    );
}

#[test]
fn lists_are_flattened() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: n}\n\
                - apiVersion: v1\n  kind: ServiceList\n  items:\n  - {apiVersion: v1, kind: Service, metadata: {name: s, namespace: n}}\n";
    let keys: Vec<_> = one(text).set.iter().map(|r| r.key().to_string()).collect();
    assert_eq!(keys, ["Service n/s", "Namespace n"]);
}

#[test]
fn objects_of_a_kind_come_by_age_then_by_text() {
    let gateway = |name: &str, created: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}, creationTimestamp: {created}}}\n---\n"
        )
    };
    let text = gateway("young", "2025-01-02T00:00:00Z")
        + &gateway("z", "null")
        + &gateway("y", "null")
        + &gateway("old", "'2025-01-01T23:00:00+00:30'");
    let names: Vec<_> = one(&text)
        .set
        .gateways()
        .map(|(r, _)| r.meta.name.to_string())
        .collect();
    assert_eq!(names, ["z", "y", "old", "young"]);
}

#[test]
fn timestamps_are_rfc_3339() {
    let cases = [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("2025-01-31T12:00:00Z", Some(1_738_324_800)),
        ("2024-02-29T23:59:59.123456Z", Some(1_709_251_199)),
        ("2025-01-31T12:00:00+01:00", Some(1_738_321_200)),
        ("2025-01-31", None),
        ("2025-13-31T12:00:00Z", None),
        ("2025-01-31T12:00:00", None),
        ("2025-01-31T12:00:00Zzz", None),
    ];
    for (text, want) in cases {
        assert_eq!(rfc3339(text), want, "{text}");
    }
}

#[test]
fn the_mesh_configuration_is_found_in_its_config_map() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    \
                accessLogFile: /dev/stdout\n\n    defaultConfig:\n      runAsUser: 1337\n    connectTimeout: 5s\n";
    let parsed = one(text);
    assert_eq!(
        found(&parsed),
        ["SP0010 9:7 mesh.defaultConfig.runAsUser: unknown field `runAsUser` is ignored"]
    );
    let (resource, mesh) = parsed.set.mesh_configs().next().unwrap();
    assert_eq!(
        (mesh.access_log_file.as_str(), mesh.connect_timeout),
        ("/dev/stdout", Some(Duration::from_secs(5)))
    );
    let span = resource.span_at("mesh.connectTimeout");
    assert_eq!(
        (span.line, span.column, parsed.sources.text(span)),
        (10, 21, "5s")
    );
    assert_eq!(parsed.set.config_maps().count(), 1);
    let quoted =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\ndata: {mesh: \"foo: 1\"}\n";
    assert_eq!(
        found(&one(quoted)),
        ["SP0010 4:14 mesh.foo: unknown field `foo` is ignored"]
    );
    let broken =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\ndata:\n  mesh: |\n    a: [\n";
    let broken = one(broken);
    assert_eq!(
        broken.rejected[0].key,
        Some(key(Kind::MeshConfig, "default", "istio"))
    );
    assert!(
        found(&broken)[0].starts_with("SP0001 "),
        "{:?}",
        found(&broken)
    );
}

#[test]
fn secrets_stay_secret() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntype: kubernetes.io/tls\ndata: {tls.key: aHVudGVyMg==}\n\
                stringData: {password: hunter2}\n";
    let parsed = one(text);
    let (resource, secret) = parsed.set.secrets().next().unwrap();
    assert_eq!(secret.data.get("tls.key").unwrap().0, b"hunter2");
    let shown = format!("{resource:?} {parsed:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("aHVudGVyMg"),
        "{shown}"
    );
    let bad = one("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {tls.key: hunter2!}\n");
    assert_eq!(
        found(&bad),
        ["SP0003 4:17 data.tls.key: expected base64 text"]
    );
}

/// One object per kind, with a field that must come out.
const ONE_PER_KIND: &[(&str, &str, &str)] = &[
    (
        "networking.istio.io/v1alpha3",
        "Gateway",
        "selector: {a: b}",
    ),
    (
        "networking.istio.io/v1beta1",
        "VirtualService",
        "hosts: [a]",
    ),
    ("networking.istio.io/v1", "DestinationRule", "host: a"),
    ("networking.istio.io/v1", "ServiceEntry", "hosts: [a]"),
    ("networking.istio.io/v1", "WorkloadEntry", "address: a"),
    (
        "networking.istio.io/v1",
        "WorkloadGroup",
        "template: {serviceAccount: a}",
    ),
    (
        "networking.istio.io/v1",
        "Sidecar",
        "egress: [{hosts: [a]}]",
    ),
    (
        "networking.istio.io/v1beta1",
        "ProxyConfig",
        "concurrency: 2",
    ),
    (
        "networking.istio.io/v1alpha3",
        "EnvoyFilter",
        "configPatches: [{applyTo: CLUSTER, patch: {operation: MERGE, value: {a: [1]}}}]",
    ),
    (
        "security.istio.io/v1",
        "PeerAuthentication",
        "portLevelMtls: {8080: {mode: DISABLE}}",
    ),
    (
        "security.istio.io/v1beta1",
        "RequestAuthentication",
        "jwtRules: [{issuer: a, jwks_uri: b}]",
    ),
    (
        "security.istio.io/v1",
        "AuthorizationPolicy",
        "rules: [{to: [{operation: {notPaths: [/]}}]}]",
    ),
    (
        "telemetry.istio.io/v1alpha1",
        "Telemetry",
        "tracing: [{randomSamplingPercentage: 10}]",
    ),
    (
        "install.istio.io/v1alpha1",
        "IstioOperator",
        "meshConfig: {rootNamespace: a}",
    ),
    ("v1", "Service", "ports: [{port: 80, targetPort: http}]"),
    ("v1", "Pod", "containers: [{name: a, env: []}]"),
    (
        "apps/v1",
        "Deployment",
        "template: {metadata: {labels: {a: b}}}",
    ),
];

#[test]
fn every_kind_is_read_in_every_version() {
    for (version, kind, spec) in ONE_PER_KIND {
        let text = format!(
            "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{{spec}}}\n"
        );
        let parsed = one(&text);
        assert_eq!(found(&parsed), Vec::<String>::new(), "{text}");
        let resource = parsed.set.iter().next().unwrap();
        assert_eq!(resource.spec.kind().as_str(), *kind);
        assert_ne!(
            resource.spec,
            crate::resource::Spec::empty(resource.spec.kind()),
            "{kind} is not empty"
        );
    }
    let rest = "{apiVersion: v1, kind: Endpoints, metadata: {name: a}, subsets: [{addresses: [{ip: 10.0.0.1}], ports: [{port: 80}]}]}\n---\n\
                {apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a}, endpoints: [{addresses: [10.0.0.1]}]}\n---\n\
                {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {k: v}}\n---\n\
                {apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {l: v}}}\n";
    let parsed = one(rest);
    assert_eq!(found(&parsed), Vec::<String>::new());
    assert_eq!(
        parsed.set.endpoints().next().unwrap().1.subsets[0].addresses[0].ip,
        "10.0.0.1"
    );
    assert_eq!(
        parsed.set.endpoint_slices().next().unwrap().1.endpoints[0].addresses,
        ["10.0.0.1"]
    );
    assert_eq!(
        parsed
            .set
            .namespaces()
            .next()
            .unwrap()
            .0
            .meta
            .labels
            .get("l")
            .unwrap(),
        "v"
    );
}

/// Every block of the operations guide; blocks are separated by `=====`.
#[test]
fn the_guide_parses() {
    for block in include_str!("tests/guide.yaml").split("=====\n") {
        let parsed = one(block);
        let surprises: Vec<_> = found(&parsed)
            .into_iter()
            .filter(|f| !f.starts_with("SP0010 "))
            .collect();
        assert_eq!(surprises, Vec::<String>::new(), "{block}");
        assert!(!parsed.set.is_empty(), "{block}");
    }
}

proptest::proptest! {
    /// Network input cannot panic; neither can a file.
    #[test]
    fn no_text_panics(text in "[a-z:\\- \\[\\]{}&*|>'\"\n\t#!%é]{0,120}") {
        let _ = one(&text);
        let _ = one(&virtual_service(&text));
    }
}
