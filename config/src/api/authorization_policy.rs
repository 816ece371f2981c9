//! `AuthorizationPolicy` (`security/v1beta1/authorization_policy.proto`).

use super::shared::{PolicyTargetReference, WorkloadSelector};
use crate::message::{enumeration, message};

message! {
    /// Who may do what.
    pub struct AuthorizationPolicy [Honoured] {
        selector: Option<WorkloadSelector>,
        target_ref: Option<PolicyTargetReference>,
        target_refs: Vec<PolicyTargetReference>,
        rules: Vec<Rule>,
        action: Action,
        provider: Option<ExtensionProvider> => Honoured,
    }

    /// The provider of a CUSTOM policy.
    pub struct ExtensionProvider [Honoured] {
        name: String,
    }

    /// Holds when its three parts hold.
    pub struct Rule [Honoured] {
        from: Vec<RuleFrom>,
        to: Vec<RuleTo>,
        when: Vec<Condition>,
    }

    /// One source of a rule.
    pub struct RuleFrom [Honoured] {
        source: Option<Source>,
    }

    /// One operation of a rule.
    pub struct RuleTo [Honoured] {
        operation: Option<Operation>,
    }

    /// Who asks.
    pub struct Source [Honoured] {
        principals: Vec<String>,
        not_principals: Vec<String>,
        request_principals: Vec<String>,
        not_request_principals: Vec<String>,
        namespaces: Vec<String>,
        not_namespaces: Vec<String>,
        service_accounts: Vec<String>,
        not_service_accounts: Vec<String>,
        ip_blocks: Vec<String>,
        not_ip_blocks: Vec<String>,
        remote_ip_blocks: Vec<String>,
        not_remote_ip_blocks: Vec<String>,
        trust_domains: Vec<String>,
        not_trust_domains: Vec<String>,
    }

    /// What is asked.
    pub struct Operation [Honoured] {
        hosts: Vec<String>,
        not_hosts: Vec<String>,
        ports: Vec<String>,
        not_ports: Vec<String>,
        methods: Vec<String>,
        not_methods: Vec<String>,
        paths: Vec<String>,
        not_paths: Vec<String>,
    }

    /// A condition on an attribute.
    pub struct Condition [Honoured] {
        key: String => Partly("not `experimental.envoy.filters`"),
        values: Vec<String>,
        not_values: Vec<String>,
    }
}

enumeration! {
    /// What a policy does.
    pub enum Action {
        Allow = "ALLOW",
        Deny = "DENY",
        Audit = "AUDIT",
        Custom = "CUSTOM",
    }
}
