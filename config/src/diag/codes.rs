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
    ($($code:ident $level:ident $title:ident $template:literal;)*) => {
        $(#[doc = concat!(stringify!($title), ": ", $template, ".")]
        pub const $code: Code = Code(stringify!($code));)*

        /// Every code, by its name.
        pub const CODES: &[CodeInfo] = &[$(CodeInfo {
            code: $code,
            level: Level::$level,
            title: stringify!($title),
            template: $template,
            page: include_str!(concat!("codes/", stringify!($code), ".md")),
        }),*];
    };
}

codes! {
    IST0002 Warning Deprecated "Deprecated: %s";
    IST0101 Error ReferencedResourceNotFound "Referenced %s not found: %q";
    IST0106 Error SchemaValidationError "Schema validation error: %v";
    IST0107 Warning MisplacedAnnotation "Misplaced annotation: %s can only be applied to %s";
    IST0109 Error ConflictingMeshGatewayVirtualServiceHosts "The VirtualServices %s associated with mesh gateway define the same host %s which can lead to undefined behavior";
    IST0112 Error VirtualServiceDestinationPortSelectorRequired "This VirtualService routes to a service %q that exposes multiple ports %v. Specifying a port in the destination is required";
    IST0118 Info PortNameIsNotUnderNamingConvention "Port name %s (port: %d, targetPort: %s) doesn't follow the naming convention of Istio port";
    IST0127 Warning NoMatchingWorkloadsFound "No matching workloads for this resource with the following labels: %s";
    IST0128 Warning NoServerCertificateVerificationDestinationLevel "DestinationRule %s in namespace %s has TLS mode set to %s but no caCertificates are set to validate server identity for host: %s";
    IST0129 Warning NoServerCertificateVerificationPortLevel "DestinationRule %s in namespace %s has TLS mode set to %s but no caCertificates are set to validate server identity for host: %s at port %s";
    IST0130 Warning VirtualServiceUnreachableRule "VirtualService rule %v not used (%s)";
    IST0131 Info VirtualServiceIneffectiveMatch "VirtualService rule %v match %v is not used (duplicate/overlapping match in rule %v)";
    IST0132 Warning VirtualServiceHostNotFoundInGateway "one or more host %v defined in VirtualService %s not found in Gateway %s";
    IST0133 Warning SchemaWarning "Schema validation warning: %v";
    IST0134 Warning ServiceEntryAddressesRequired "ServiceEntry addresses are required for this protocol";
    IST0135 Info DeprecatedAnnotation "Annotation %q has been deprecated%s and may not work in future Istio versions";
    IST0138 Warning GatewayDuplicateCertificate "Duplicate certificate in multiple gateways %v may cause 404s if clients re-use HTTP2 connections";
    IST0140 Warning IngressRouteRulesNotAffected "Subset in virtual service %s has no effect on ingress gateway %s requests";
    IST0145 Error ConflictingGateways "Conflict with gateways %s (workload selector %s, port %s, hosts %v)";
    IST0149 Error JwtClaimBasedRoutingWithoutRequestAuthN "The virtual service uses the JWT claim based routing (key: %s) but found no request authentication for the gateway (%s) pod (%s)";
    IST0161 Error InvalidGatewayCredential "The credential referenced by the Gateway %s in namespace %s is invalid, which can cause the traffic not to work as expected";
    IST0173 Error DestinationRuleSubsetNotSelectPods "The Subset %s defined in the DestinationRule does not select any pods. Which may lead to 503 UH (NoHealthyUpstream)";
    IST0174 Warning UnknownDestinationRuleHost "The host %s defined in the DestinationRule does not match any services in the mesh";

    SP0001 Error YamlSyntax "the file is not YAML: %s";
    SP0002 Error UnknownField "unknown field %s";
    SP0003 Error WrongValue "expected %s, found %s";
    SP0004 Error UnknownKind "unknown kind %s of apiVersion %s";
    SP0005 Error DuplicateObject "%s is defined twice";
    SP0006 Error DuplicateKey "key %s is given twice";
    SP0007 Error NotAnObject "the document is not an object: %s";
    SP0008 Error TooMuch "the file exceeds a limit: %s";
    SP0009 Error OneOf "only one of %s may be set";
    SP0010 Warning UnknownFieldIgnored "unknown field %s is ignored";
    SP0011 Info KindIgnored "kind %s is not read here";
    SP0101 Error EnvoyFilterHasNativeField "the patch is not applied; %s is a setting of its own here";
    SP0102 Error EnvoyFilterNotOffered "the patch is not applied; %s is not offered by this gateway";
    SP0103 Warning PortlessEgressMerged "%d egress listeners have no port; they are read as one list of hosts";
    SP0104 Warning DistributeAndFailover "distribute and failover exclude each other: failover is ignored";
    SP0105 Warning ConsecutiveErrors "consecutiveErrors no longer exists in Istio; it is read as consecutive5xxErrors: %d";
    SP0106 Warning UnknownProfile "there is no profile %s; it is read as default";
    SP0107 Warning PodSecurityInProxyConfig "%s is not a field of ProxyConfig and hardens nothing";
    SP0108 Warning UnknownEnvironment "%s is not known and has no effect";
    SP0109 Warning RemotePilotIsItself "%s is resolved in the remote cluster and so leads back to it";
    SP0110 Info DnsAutoAllocate "ISTIO_META_DNS_AUTO_ALLOCATE was superseded";
    SP0111 Info NotAppliedHere "%s of %s are not applied from here";
    SP0112 Info TracingAlone "enableTracing is true by default, and alone exports nothing";
    SP0113 Warning TlsNotOffered "%s is not offered here";

    SP0201 Warning ShortConnectTimeout "a connect timeout of %s fails on the first lost packet";
    SP0202 Warning ConnectionsNotReused "connections are closed after %d requests, which costs a handshake each time";
    SP0203 Warning TriesExceedTimeout "%d tries of %s take up to %s, but the timeout of the route ends them after %s";
    SP0204 Info Retriable4xx "retriable-4xx means status 409 only";
    SP0205 Info RetryRemoteLocalities "retryRemoteLocalities lets retries leave the locality";
    SP0206 Info RetryNotIdempotent "%s repeats requests that may have been executed, also POST";
    SP0207 Warning GatewayErrorsNotReached "%d gateway errors are never reached";
    SP0208 Info FullEjection "every endpoint may be ejected, and then each request is answered 503";
    SP0209 Info PanicThreshold "with less than %d per cent of the endpoints healthy, load goes to all of them";
    SP0210 Warning FaultWithoutPercentage "the fault has no percentage and so hits no request";
    SP0211 Info BarePath "%s itself does not begin with %s: it takes another rule";

    SP0301 Warning HostWithoutVirtualService "no VirtualService serves host %s of the Gateway: requests are answered 404";
    SP0302 Info DestinationRuleUnused "no route leads to %s";
    SP0303 Warning SubsetReplacesHash "the subset's load balancer replaces the consistent hash of the rule";
    SP0304 Warning SeveralPeerAuthentications "several PeerAuthentications apply to %s; the oldest counts";
    SP0305 Warning NobodyVerifiesTokens "the policy asks for a verified token, but no RequestAuthentication applies to its workloads";
    SP0306 Info DirectPeerAddress "%s is the address of the direct peer";
    SP0307 Info RegistryOnly "REGISTRY_ONLY is not a firewall, and gateways ignore it";
    SP0308 Warning PortLevelMtlsUnknownPort "no Service of the workload has target port %d";
    SP0309 Warning NoWayToKeys "the issuer %s is no URL that could say where its keys are: its tokens are refused";

    SP0401 Warning ServedLater "%s is not served yet";
    SP0402 Error RuleBroken "the rule is broken and answers 500: %s";
    SP0403 Error ServerNotServed "the server is not served: %s";
    SP0404 Error NobodyToAsk "nobody can be asked, so what the rules match is answered 403: %s";
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

#[cfg(test)]
mod tests;
