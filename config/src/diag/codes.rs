//! The table of codes: one row is a code, its level, its message template and its page.
//!
//! `IST…` codes, their levels and their templates are Istio's
//! (`pkg/config/analysis/msg/messages.gen.go`), so that what people find on the web about a code
//! applies. `SP…` codes are ours.

use super::{Code, Level};

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeInfo {
    /// The code.
    pub code: Code,
    /// Level unless a finding says otherwise.
    pub level: Level,
    /// Istio's message name, or ours, in CamelCase.
    pub title: &'static str,
    /// Shape of the message; `%` marks stand for what varies.
    pub template: &'static str,
    /// The page that `sallyctl explain-code` shows.
    pub page: &'static str,
}

/// Writes a constant per code and the table, from one list of rows.
macro_rules! codes {
    ($($code:ident $level:ident $title:ident $template:literal $page:expr;)*) => {
        $(#[doc = concat!(stringify!($title), ": ", $template, ".")]
        pub const $code: Code = Code(stringify!($code));)*

        /// Every code, by its name.
        pub const CODES: &[CodeInfo] = &[$(CodeInfo {
            code: $code,
            level: Level::$level,
            title: stringify!($title),
            template: $template,
            page: $page,
        }),*];
    };
}

codes! {
    IST0002 Warning Deprecated "Deprecated: %s"
        "A field or value still works but has a successor.";
    IST0101 Error ReferencedResourceNotFound "Referenced %s not found: %q"
        "An object names another one (a gateway, a host, a subset, a secret) that does not exist.";
    IST0106 Error SchemaValidationError "Schema validation error: %v"
        "The object is well formed but breaks a rule of its kind.";
    IST0107 Warning MisplacedAnnotation "Misplaced annotation: %s can only be applied to %s"
        "The annotation has no effect on an object of this kind.";
    IST0109 Error ConflictingMeshGatewayVirtualServiceHosts "The VirtualServices %s associated with mesh gateway define the same host %s which can lead to undefined behavior"
        "Only one VirtualService a host may apply to sidecars; merge them.";
    IST0112 Error VirtualServiceDestinationPortSelectorRequired "This VirtualService routes to a service %q that exposes multiple ports %v. Specifying a port in the destination is required"
        "Name the port of a destination whose service has more than one.";
    IST0118 Info PortNameIsNotUnderNamingConvention "Port name %s (port: %d, targetPort: %s) doesn't follow the naming convention of Istio port"
        "Port names begin with their protocol, like http-web.";
    IST0127 Warning NoMatchingWorkloadsFound "No matching workloads for this resource with the following labels: %s"
        "The selector matches nothing that is known.";
    IST0128 Warning NoServerCertificateVerificationDestinationLevel "DestinationRule %s in namespace %s has TLS mode set to %s but no caCertificates are set to validate server identity for host: %s"
        "Set caCertificates, or the server's identity is checked against the system's roots only.";
    IST0129 Warning NoServerCertificateVerificationPortLevel "DestinationRule %s in namespace %s has TLS mode set to %s but no caCertificates are set to validate server identity for host: %s at port %s"
        "Set caCertificates on the port's tls settings.";
    IST0130 Warning VirtualServiceUnreachableRule "VirtualService rule %v not used (%s)"
        "An earlier rule takes everything that this one matches.";
    IST0131 Info VirtualServiceIneffectiveMatch "VirtualService rule %v match %v is not used (duplicate/overlapping match in rule %v)"
        "An earlier match takes everything that this one matches.";
    IST0132 Warning VirtualServiceHostNotFoundInGateway "one or more host %v defined in VirtualService %s not found in Gateway %s"
        "The gateway has no server for the host, so the route is never reached there.";
    IST0133 Warning SchemaWarning "Schema validation warning: %v"
        "The object is accepted but says something without effect.";
    IST0134 Warning ServiceEntryAddressesRequired "ServiceEntry addresses are required for this protocol"
        "TCP has no host name: without addresses, all such entries share a port.";
    IST0135 Info DeprecatedAnnotation "Annotation %q has been deprecated%s and may not work in future Istio versions"
        "Write what replaced the annotation.";
    IST0138 Warning GatewayDuplicateCertificate "Duplicate certificate in multiple gateways %v may cause 404s if clients re-use HTTP2 connections"
        "Browsers reuse a connection for every host of its certificate; put the hosts in one Gateway.";
    IST0140 Warning IngressRouteRulesNotAffected "Subset in virtual service %s has no effect on ingress gateway %s requests"
        "The subset's VirtualService does not apply to the gateway.";
    IST0145 Error ConflictingGateways "Conflict with gateways %s (workload selector %s, port %s, hosts %v)"
        "Two Gateways serve the same host on the same port of the same workloads.";
    IST0149 Error JwtClaimBasedRoutingWithoutRequestAuthN "The virtual service uses the JWT claim based routing (key: %s) but found no request authentication for the gateway (%s) pod (%s)"
        "Claims are known only after a RequestAuthentication has checked the token.";
    IST0161 Error InvalidGatewayCredential "The credential referenced by the Gateway %s in namespace %s is invalid, which can cause the traffic not to work as expected"
        "The secret exists but its certificate or key cannot be used.";
    IST0173 Error DestinationRuleSubsetNotSelectPods "The Subset %s defined in the DestinationRule does not select any pods. Which may lead to 503 UH (NoHealthyUpstream)"
        "No endpoint of the host carries the labels of the subset.";
    IST0174 Warning UnknownDestinationRuleHost "The host %s defined in the DestinationRule does not match any services in the mesh"
        "No Service or ServiceEntry has this host; the rule applies to nothing.";

    SP0001 Error YamlSyntax "the file is not YAML: %s"
        "The rest of the file cannot be read. Objects that it defined before keep their last good version.";
    SP0002 Error UnknownField "unknown field %s"
        "The kind has no such field; the help line names the nearest one.";
    SP0003 Error WrongValue "expected %s, found %s"
        "The value is not of the field's type, or not one of its values.";
    SP0004 Error UnknownKind "unknown kind %s of apiVersion %s"
        "Neither Istio's nor one of the Kubernetes kinds that are read here.";
    SP0005 Error DuplicateObject "%s is defined twice"
        "The first definition counts.";
    SP0006 Error DuplicateKey "key %s is given twice"
        "YAML forbids it, and readers disagree about which one wins.";
    SP0007 Error NotAnObject "the document is not an object: %s"
        "A document needs apiVersion, kind and metadata.name.";
    SP0008 Error TooMuch "the file exceeds a limit: %s"
        "Depth, size and alias expansion of a file are bounded.";
    SP0009 Error OneOf "only one of %s may be set"
        "The fields exclude each other.";
    SP0010 Warning UnknownFieldIgnored "unknown field %s is ignored"
        "Istio reads this part leniently and drops the field without a word.";
    SP0011 Info KindIgnored "kind %s is not read here"
        "The object is valid Kubernetes but means nothing to this program.";
}

/// The row of a code; none for a code that is not in the table.
#[must_use]
pub fn info(code: Code) -> Option<&'static CodeInfo> {
    find(code.0)
}

/// The row of a code given by name, in any letter case.
#[must_use]
pub fn find(name: &str) -> Option<&'static CodeInfo> {
    CODES.iter().find(|i| i.code.0.eq_ignore_ascii_case(name))
}
