//! `EnvoyFilter` (`networking/v1alpha3/envoy_filter.proto`). There is no Envoy behind the gateway,
//! so patches are kept as written: rate limits are recognised ([`super::local_ratelimit`]), everything
//! else is refused with the native field's name.

use super::shared::{LabelSelector, PolicyTargetReference};
use crate::message::{enumeration, message};
use crate::yaml::Node;

message! {
    /// Patches of Envoy's own configuration.
    pub struct EnvoyFilter [Partly("patches of local_ratelimit; others are refused (SP0102)")] {
        workload_selector: Option<LabelSelector>,
        target_refs: Vec<PolicyTargetReference>,
        config_patches: Vec<EnvoyConfigObjectPatch>,
        priority: i32 => NoEffect("rate limits are asked in the order of their age"),
    }

    /// One patch.
    pub struct EnvoyConfigObjectPatch [Partly("patches of local_ratelimit; others are refused (SP0102)")] {
        apply_to: ApplyTo,
        match_: Option<EnvoyConfigObjectMatch>,
        patch: Option<Patch>,
    }

    /// What a patch applies to; details are kept as written.
    pub struct EnvoyConfigObjectMatch [Partly("patches of local_ratelimit; others are refused (SP0102)")] {
        context: PatchContext,
        proxy: Option<Node> => NoEffect("proxies of every version are meant"),
        listener: Option<Node>,
        route_configuration: Option<Node>,
        cluster: Option<Node>,
        waypoint: Option<Node>,
    }
    oneof [listener, route_configuration, cluster, waypoint]

    /// The change; its value is kept as written.
    pub struct Patch [Partly("patches of local_ratelimit; others are refused (SP0102)")] {
        operation: PatchOperation,
        value: Option<Node>,
        filter_class: FilterClass,
    }
}

enumeration! {
    /// Which part of Envoy's configuration.
    pub enum ApplyTo {
        Invalid = "INVALID",
        Listener = "LISTENER",
        FilterChain = "FILTER_CHAIN",
        NetworkFilter = "NETWORK_FILTER",
        HttpFilter = "HTTP_FILTER",
        RouteConfiguration = "ROUTE_CONFIGURATION",
        VirtualHost = "VIRTUAL_HOST",
        HttpRoute = "HTTP_ROUTE",
        Cluster = "CLUSTER",
        ExtensionConfig = "EXTENSION_CONFIG",
        Bootstrap = "BOOTSTRAP",
        ListenerFilter = "LISTENER_FILTER",
    }

    /// Which proxies.
    pub enum PatchContext {
        Any = "ANY",
        SidecarInbound = "SIDECAR_INBOUND",
        SidecarOutbound = "SIDECAR_OUTBOUND",
        Gateway = "GATEWAY",
        Waypoint = "WAYPOINT",
    }

    /// What the patch does.
    pub enum PatchOperation {
        Invalid = "INVALID",
        Merge = "MERGE",
        Add = "ADD",
        Remove = "REMOVE",
        InsertBefore = "INSERT_BEFORE",
        InsertAfter = "INSERT_AFTER",
        InsertFirst = "INSERT_FIRST",
        Replace = "REPLACE",
        MergeAndReplaceList = "MERGE_AND_REPLACE_LIST",
    }

    /// Where an added filter goes.
    pub enum FilterClass {
        Unspecified = "UNSPECIFIED",
        Authn = "AUTHN",
        Authz = "AUTHZ",
        Stats = "STATS",
    }
}
