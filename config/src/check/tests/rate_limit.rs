//! Limits that would count something else than they seem to.

use super::{findings, table};

#[test]
fn rate_limits() {
    table(
        "sallyport.io/v1alpha1",
        "RateLimit",
        &[
            ("{limits: [{tokens: 1, interval: 1s}]}", &[]),
            (
                "{limits: [{per: [{client: {}}, {header: X-Key}, {claim: a.b}], tokens: 1, interval: 1h, burst: 2, enforce: false, maxKeys: 10}]}",
                &[],
            ),
            ("{limits: []}", &["IST0133 spec"]),
            (
                "{limits: [{}]}",
                &["IST0106 limits[0]", "IST0106 limits[0]"],
            ),
            (
                "{limits: [{tokens: 1, interval: 25h}]}",
                &["IST0106 limits[0].interval"],
            ),
            (
                "{limits: [{tokens: 1, interval: 10us}]}",
                &["IST0106 limits[0].interval"],
            ),
            (
                "{limits: [{tokens: 1, interval: 1s, maxKeys: 2000000}]}",
                &["IST0106 limits[0].maxKeys"],
            ),
            (
                "{limits: [{tokens: 1, interval: 1s, hosts: ['a b']}]}",
                &["IST0106 limits[0].hosts[0]"],
            ),
            (
                "{limits: [{tokens: 1, interval: 1s, per: [{}, {header: 'a b'}, {claim: a..b}]}]}",
                &[
                    "IST0106 limits[0].per[0]",
                    "IST0106 limits[0].per[1].header",
                    "IST0106 limits[0].per[2].claim",
                ],
            ),
            (
                "{limits: [{tokens: 1, interval: 1s, per: [{host: {}, client: {}}]}]}",
                &["SP0009 limits[0].per[0]"],
            ),
            (
                "{limits: [{name: a, tokens: 1, interval: 1s}, {name: a, tokens: 1, interval: 1s}]}",
                &["IST0106 limits[1].name"],
            ),
            (
                "{limits: [{tokens: 1, interval: 1s, routes: [a]}]}",
                &["IST0106 limits[0].routes"],
            ),
            (
                "{targetRefs: [{group: networking.istio.io, kind: VirtualService, name: a}], limits: [{tokens: 1, interval: 1s, routes: [a]}]}",
                &[],
            ),
            (
                "{targetRefs: [{group: x, kind: VirtualService, name: a}, {kind: Service, name: b}], limits: [{tokens: 1, interval: 1s}]}",
                &["IST0106 targetRefs[0].group", "IST0106 targetRefs[1].kind"],
            ),
            ("{limit: []}", &["SP0002 limit"]),
        ],
    );
}

#[test]
fn our_own_group_has_no_other_kinds() {
    let of = |kind: &str| {
        format!("apiVersion: sallyport.io/v1alpha1\nkind: {kind}\nmetadata: {{name: a}}\n")
    };
    assert_eq!(findings(&of("RateLimits")), ["SP0004 kind"]);
    let version = of("RateLimit").replace("v1alpha1", "v2");
    assert_eq!(findings(&version), ["SP0004 apiVersion"]);
}

/// Patches of an EnvoyFilter.
fn patches(patches: &[&str]) -> Vec<String> {
    let list: String = patches
        .iter()
        .map(|patch| format!("    - {patch}\n"))
        .collect();
    findings(&format!(
        "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {{name: a}}\nspec:\n  configPatches:\n{list}"
    ))
}

/// The filter with this configuration.
fn filter(config: &str) -> String {
    let ty = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
    format!(
        "{{applyTo: HTTP_FILTER, match: {{context: GATEWAY, listener: {{filterChain: {{filter: {{name: envoy.filters.network.http_connection_manager}}}}}}}}, patch: {{operation: INSERT_BEFORE, value: {{name: envoy.filters.http.local_ratelimit, typed_config: {{'@type': {ty}, stat_prefix: a, {config}}}}}}}}}"
    )
}

const ALL: &str = "filter_enabled: {default_value: {numerator: 100}}, filter_enforced: {default_value: {numerator: 100}}";
const BUCKET: &str = "token_bucket: {max_tokens: 4, tokens_per_fill: 4, fill_interval: 60s}";

#[test]
fn the_documented_filter_is_understood() {
    assert!(patches(&[&filter(&format!("{BUCKET}, {ALL}"))]).is_empty());
    assert!(
        patches(&[&filter("")]).is_empty(),
        "hosts and routes say it"
    );
}

#[test]
fn what_is_not_understood_of_a_limit_is_said() {
    let at = "configPatches[0].patch.value.typed_config";
    for (config, want) in [
        (BUCKET.to_owned(), vec![format!("IST0133 {at}")]),
        (
            format!("{BUCKET}, {ALL}, descriptors: []"),
            vec![format!("SP0102 {at}.descriptors")],
        ),
        (
            format!("{ALL}, token_bucket: {{max_tokens: 0, fill_interval: 1s}}"),
            vec![format!("SP0102 {at}")],
        ),
        (
            format!(
                "{BUCKET}, {ALL}, local_rate_limit_per_downstream_connection: true, enable_x_ratelimit_headers: DRAFT_VERSION_03"
            ),
            vec![format!("SP0102 {at}"), format!("SP0102 {at}")],
        ),
        (
            format!(
                "{BUCKET}, {ALL}, response_headers_to_add: [{{header: {{key: x, value: '%REQ(a)%'}}}}]"
            ),
            vec![format!("SP0102 {at}.response_headers_to_add")],
        ),
    ] {
        assert_eq!(patches(&[&filter(&config)]), want, "{config}");
    }
    let elsewhere =
        filter(&format!("{BUCKET}, {ALL}")).replace("listener: {", "listener: {name: x, ");
    assert_eq!(
        patches(&[&elsewhere]),
        ["SP0102 configPatches[0].match.listener.name"]
    );
}

#[test]
fn what_is_understood_is_applied_beside_what_is_not() {
    let lua = "{applyTo: HTTP_FILTER, match: {context: GATEWAY}, patch: {operation: INSERT_BEFORE, value: {name: envoy.filters.http.lua}}}";
    let text = |all: &[&str]| {
        let list: String = all.iter().map(|patch| format!("    - {patch}\n")).collect();
        format!(
            "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {{name: a}}\nspec:\n  configPatches:\n{list}"
        )
    };
    let level = |all: &[&str]| {
        let parsed = crate::parse(&[("in.yaml".to_owned(), text(all))]);
        let found = crate::check::check(&parsed.set);
        let one = found.iter().next().unwrap();
        (one.code.0, one.level)
    };
    let good = filter(&format!("{BUCKET}, {ALL}"));
    assert_eq!(level(&[lua]), ("SP0102", crate::diag::Level::Error));
    assert_eq!(
        level(&[lua, &good]),
        ("SP0102", crate::diag::Level::Warning)
    );
}

#[test]
fn a_host_does_not_replace_the_bucket_of_the_filter() {
    let host = format!(
        "{{applyTo: VIRTUAL_HOST, match: {{context: GATEWAY, routeConfiguration: {{vhost: {{name: 'a.example:80'}}}}}}, patch: {{operation: MERGE, value: {{typed_per_filter_config: {{envoy.filters.http.local_ratelimit: {{'@type': type.googleapis.com/udpa.type.v1.TypedStruct, type_url: x, value: {{{BUCKET}, {ALL}}}}}}}}}}}}}"
    );
    let own = filter(&format!("{BUCKET}, {ALL}"));
    assert!(patches(&[&filter(""), &host]).is_empty());
    assert_eq!(patches(&[&own, &host]), ["IST0133 configPatches[1]"]);
}
