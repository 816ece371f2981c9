//! Mesh configuration, installation files, annotations, and filters for Envoy.

use super::{NETWORKING, findings, table};

#[test]
fn installations() {
    table(
        "install.istio.io/v1alpha1",
        "IstioOperator",
        &[
            ("{profile: default}", &[]),
            ("{profile: production}", &["SP0106 profile"]),
            (
                "{values: {global: {remotePilotAddress: istiod.istio-system.svc}}}",
                &["SP0109 values.global.remotePilotAddress"],
            ),
            ("{values: {global: {remotePilotAddress: 10.0.0.1}}}", &[]),
            (
                "{components: {pilot: {k8s: {env: [{name: PILOT_PUSH_THROTTLE, value: '1'}]}}}}",
                &[],
            ),
            (
                "{components: {pilot: {k8s: {env: [{name: PILOT_PUSH_TROTTLE, value: '1'}]}}}}",
                &["SP0108 components.pilot.k8s.env[0].name"],
            ),
            (
                "{components: {pilot: {k8s: {env: [{name: MY_OWN, value: '1'}]}}}}",
                &[],
            ),
            (
                "{components: {pilot: {k8s: {replicaCount: 2}}}}",
                &["SP0111 components.pilot.k8s"],
            ),
            (
                "{meshConfig: {outboundTrafficPolicy: {mode: ALLOW_ANY}}}",
                &[],
            ),
            (
                "{meshConfig: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}}",
                &["SP0307 meshConfig.outboundTrafficPolicy.mode"],
            ),
            (
                "{meshConfig: {enableTracing: true}}",
                &["SP0112 meshConfig.enableTracing"],
            ),
            (
                "{meshConfig: {enableTracing: true, defaultProviders: {tracing: [z]}}}",
                &[],
            ),
            (
                "{meshConfig: {connectTimeout: 0s}}",
                &["IST0106 meshConfig.connectTimeout"],
            ),
            (
                "{meshConfig: {tlsDefaults: {minProtocolVersion: TLSV1_0}}}",
                &["SP0113 meshConfig.tlsDefaults.minProtocolVersion"],
            ),
            (
                "{meshConfig: {meshMTLS: {ecdhCurves: [P-256]}}}",
                &["IST0106 meshConfig.meshMTLS.ecdhCurves"],
            ),
        ],
    );
}

#[test]
fn filters_for_envoy_name_the_native_field() {
    table(
        "networking.istio.io/v1alpha3",
        "EnvoyFilter",
        &[
            (
                "{configPatches: [{applyTo: LISTENER_FILTER, match: {context: GATEWAY}, patch: {operation: INSERT_FIRST, value: {name: envoy.filters.listener.proxy_protocol}}}]}",
                &["SP0101 configPatches[0]"],
            ),
            (
                "{configPatches: [{applyTo: NETWORK_FILTER, patch: {operation: MERGE, value: {typed_config: {normalize_path: true}}}}]}",
                &["SP0101 configPatches[0]"],
            ),
            (
                "{configPatches: [{applyTo: HTTP_FILTER, match: {context: GATEWAY}, patch: {operation: ADD, value: {name: envoy.filters.http.local_ratelimit}}}]}",
                &[
                    "SP0102 configPatches[0].patch.operation",
                    "SP0102 configPatches[0].patch.value.typed_config",
                ],
            ),
            (
                "{configPatches: [{applyTo: HTTP_FILTER, match: {context: SIDECAR_INBOUND}, patch: {operation: ADD, value: {name: envoy.filters.http.lua}}}]}",
                &["SP0102 configPatches[0]"],
            ),
            ("{configPatches: []}", &["SP0102 spec"]),
        ],
    );
}

#[test]
fn annotations() {
    let cases: [(&str, &[&str]); 4] = [
        (
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, annotations: {sidecar.istio.io/proxyCPU: 100m}}\n",
            &["IST0107 metadata.annotations.sidecar.istio.io/proxyCPU"],
        ),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, annotations: {other: x}}\n",
            &[],
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {sidecar.istio.io/inject: 'true'}}\n",
            &["IST0135 metadata.annotations.sidecar.istio.io/inject"],
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {sidecar.istio.io/inject: 'true'}}\n",
            &[],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(findings(text), expected, "{text}");
    }
}

#[test]
fn proxies() {
    table(
        "networking.istio.io/v1beta1",
        "ProxyConfig",
        &[
            ("{concurrency: 2}", &[]),
            ("{concurrency: -2}", &["IST0106 concurrency"]),
            ("{image: {imageType: huge}}", &["IST0133 image.imageType"]),
        ],
    );
    table(
        NETWORKING,
        "Gateway",
        &[("{selector: 7}", &["SP0003 selector"])],
    );
}
