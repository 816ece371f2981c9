//! Envoy's bootstrap: who it is, where its configuration and its secrets come from.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::args::Options;
use crate::identity::Identity;
use crate::proxy::metadata;
use crate::{lower, private};

/// Type of the options that make an upstream speak HTTP/2.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// Name of the cluster of the control process: Istio's.
const XDS_CLUSTER: &str = "xds-grpc";

/// Writes the bootstrap and returns its place. `identity` is the one that was certified.
pub(super) fn write(
    options: &Options,
    run_dir: &Path,
    socket: &Path,
    identity: &Identity,
) -> Result<PathBuf, String> {
    let path = run_dir.join("envoy.json");
    let text = format!("{:#}\n", bootstrap(options, socket, identity)?);
    let written = private::write(&path, text.as_bytes());
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(path)
}

/// Where Envoy says at which port its administration is.
pub(super) fn admin_file(run_dir: &Path) -> PathBuf {
    run_dir.join("admin-address")
}

fn bootstrap(options: &Options, socket: &Path, identity: &Identity) -> Result<Value, String> {
    let ads = json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"});
    Ok(json!({
        "node": node(options),
        "admin": {
            "address": address(&options.admin.ip().to_string(), options.admin.port()),
        },
        "dynamic_resources": {
            "cds_config": ads,
            "lds_config": ads,
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER}}],
            },
        },
        "static_resources": {
            "clusters": [control(options, identity)?, secrets(socket)],
        },
        // what Istio's agents set: RE2 programs of the size that Istio allows, and paths with a
        // fragment are cut, as they are before policies look at them
        "layered_runtime": {"layers": [{
            "name": "agent",
            "static_layer": {
                "re2.max_program_size.error_level": 32768,
                "envoy.reloadable_features.http_reject_path_with_fragment": false,
            },
        }]},
    }))
}

/// Who the proxy is.
pub(super) fn node(options: &Options) -> Value {
    let (name, namespace) = (options.name(), &options.namespace);
    let address = options.main_address();
    let kind = if options.gateway { "router" } else { "sidecar" };
    let list = |items: Vec<String>| items.join(",");
    let ports = options.app_port.iter();
    let mut parts = options.locality.splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default();
    let mut node = json!({
        "id": format!("{kind}~{address}~{name}.{namespace}~{namespace}.svc.cluster.local"),
        "cluster": format!("{}.{namespace}", options.service_account),
        "locality": {"region": part(), "zone": part(), "sub_zone": part()},
        "metadata": {
            "NAME": name,
            "NAMESPACE": namespace,
            "SERVICE_ACCOUNT": options.service_account,
            "LABELS": options.labels(),
            "INSTANCE_IPS": list(options.address.iter().map(ToString::to_string).collect()),
            "CLUSTER_ID": options.cluster,
            "NETWORK": options.network,
            "INTERCEPTION_MODE": if options.redirect { "REDIRECT" } else { "NONE" },
            metadata::APP_PORTS: list(ports.map(|p| format!("{}={}", p.inbound, p.app)).collect()),
            metadata::OUTBOUND_ADDRESS: options.outbound_address.to_string(),
        },
    });
    let metadata = node.get_mut("metadata").and_then(Value::as_object_mut);
    if let (Some(group), Some(metadata)) = (&options.workload_group, metadata) {
        metadata.insert("AUTO_REGISTER_GROUP".to_owned(), json!(group));
    }
    node
}

/// The cluster of the control process: Envoy shows its own certificate there, and takes nothing but
/// the control process of this mesh for it.
fn control(options: &Options, identity: &Identity) -> Result<Value, String> {
    let uri: http::Uri = options
        .control
        .parse()
        .map_err(|e| format!("--control: {e}"))?;
    let host = uri.host().ok_or("--control names no host")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if uri.scheme_str() != Some("https") {
        return Err("--control is https://HOST:15012: certificates are not given elsewhere".into());
    }
    let port = uri.port_u16().unwrap_or(15012);
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    let server = format!(
        "spiffe://{}/ns/istio-system/sa/istiod",
        identity.trust_domain
    );
    let secret = |name: &str| {
        json!({"name": name, "sds_config": {
            "resource_api_version": "V3",
            "initial_fetch_timeout": "0s",
            "api_config_source": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {"cluster_name": lower::SDS_CLUSTER}}],
            },
        }})
    };
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": if is_address { "" } else { host },
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificate_sds_secret_configs": [secret(lower::OWN)],
            "combined_validation_context": {
                "default_validation_context": {"match_typed_subject_alt_names": [
                    {"san_type": "URI", "matcher": {"exact": server}},
                ]},
                "validation_context_sds_secret_config": secret(lower::ROOTS),
            },
        },
    });
    Ok(json!({
        "name": XDS_CLUSTER,
        "type": if is_address { "STATIC" } else { "STRICT_DNS" },
        "connect_timeout": "5s",
        "load_assignment": endpoints(XDS_CLUSTER, &address(host, port)),
        "typed_extension_protocol_options": {HTTP_OPTIONS: http2(true)},
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
    }))
}

/// The cluster of the agent's socket.
fn secrets(socket: &Path) -> Value {
    let pipe = json!({"pipe": {"path": socket.display().to_string()}});
    json!({
        "name": lower::SDS_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": endpoints(lower::SDS_CLUSTER, &pipe),
        "typed_extension_protocol_options": {HTTP_OPTIONS: http2(false)},
    })
}

fn http2(pings: bool) -> Value {
    let ping = json!({"interval": "30s", "timeout": "20s"});
    let options = if pings {
        json!({"connection_keepalive": ping})
    } else {
        json!({})
    };
    json!({
        "@type": format!("type.googleapis.com/{HTTP_OPTIONS}"),
        "explicit_http_config": {"http2_protocol_options": options},
    })
}

fn endpoints(name: &str, address: &Value) -> Value {
    json!({
        "cluster_name": name,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
    })
}

fn address(host: &str, port: u16) -> Value {
    json!({"socket_address": {"address": host, "port_value": port}})
}
