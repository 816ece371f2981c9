//! The Kubernetes kinds, as far as they are read. Their other fields are none of our business and
//! pass without a word.

use super::shared::WorkloadSelector;
use crate::message::{Bytes, IntOrString, Map, SecretText, message};

message! {
    /// A service; labels are in the object's meta.
    pub struct Service [Honoured] {
        spec: Option<ServiceSpec>,
        status: Option<ServiceStatus>,
    }

    /// What a service is.
    pub struct ServiceSpec [Honoured] {
        type_: String,
        cluster_ip as "clusterIP": String,
        cluster_ips as "clusterIPs": Vec<String>,
        external_name: String => Later("DNS"),
        external_ips as "externalIPs": Vec<String>,
        selector: Map<String>,
        ports: Vec<ServicePort>,
        session_affinity: String => NoEffect("Istio ignores it"),
        publish_not_ready_addresses: bool,
        traffic_distribution: String,
    }

    /// A port of a service.
    pub struct ServicePort [Honoured] {
        name: String,
        port: u32,
        target_port: Option<IntOrString>,
        protocol: String,
        app_protocol: String,
        node_port: u32,
    }

    /// Addresses of a service from outside.
    pub struct ServiceStatus [Honoured] {
        load_balancer: Option<LoadBalancerStatus>,
    }

    /// Addresses of the load balancer.
    pub struct LoadBalancerStatus [Honoured] {
        ingress: Vec<LoadBalancerIngress>,
    }

    /// One address of the load balancer.
    pub struct LoadBalancerIngress [Honoured] {
        ip: String,
        hostname: String,
    }

    /// Some endpoints of a service, named by the label `kubernetes.io/service-name`.
    pub struct EndpointSlice [Honoured] {
        address_type: String,
        endpoints: Vec<Endpoint>,
        ports: Vec<EndpointPort>,
    }

    /// One endpoint with all its addresses.
    pub struct Endpoint [Honoured] {
        addresses: Vec<String>,
        conditions: Option<EndpointConditions>,
        hostname: String,
        target_ref: Option<ObjectReference>,
        node_name: String,
        zone: String,
    }

    /// State of an endpoint.
    pub struct EndpointConditions [Honoured] {
        ready: Option<bool>,
        serving: Option<bool>,
        terminating: Option<bool>,
    }

    /// A port of endpoints.
    pub struct EndpointPort [Honoured] {
        name: String,
        port: u32,
        protocol: String,
        app_protocol: String,
    }

    /// The object behind an endpoint.
    pub struct ObjectReference [Honoured] {
        kind: String,
        name: String,
        namespace: String,
    }

    /// The endpoints of the Service of the same name.
    pub struct Endpoints [Honoured] {
        subsets: Vec<EndpointSubset>,
    }

    /// Addresses that share ports.
    pub struct EndpointSubset [Honoured] {
        addresses: Vec<EndpointAddress>,
        not_ready_addresses: Vec<EndpointAddress>,
        ports: Vec<EndpointPort>,
    }

    /// One address.
    pub struct EndpointAddress [Honoured] {
        ip: String,
        hostname: String,
        node_name: String,
        target_ref: Option<ObjectReference>,
    }

    /// Certificates and keys; never shown.
    pub struct Secret [Honoured] {
        type_: String,
        data: Map<Bytes>,
        string_data: Map<SecretText>,
    }

    /// Texts.
    pub struct ConfigMap [Honoured] {
        data: Map<String>,
        binary_data: Map<Bytes>,
    }

    /// A namespace; its labels and annotations are in the object's meta.
    pub struct Namespace [Honoured] {
    }

    /// A pod; its labels are in the object's meta.
    pub struct Pod [Honoured] {
        spec: Option<PodSpec>,
        status: Option<PodStatus>,
    }

    /// What a pod is.
    pub struct PodSpec [Honoured] {
        service_account_name: String,
        node_name: String,
        host_network: bool,
        containers: Vec<Container>,
    }

    /// A container.
    pub struct Container [Honoured] {
        name: String,
        image: String,
        ports: Vec<ContainerPort>,
    }

    /// A port of a container.
    pub struct ContainerPort [Honoured] {
        name: String,
        container_port: u32,
        protocol: String,
    }

    /// Where a pod is.
    pub struct PodStatus [Honoured] {
        phase: String,
        pod_ip as "podIP": String,
        pod_ips as "podIPs": Vec<PodIp>,
        conditions: Vec<PodCondition>,
    }

    /// One address of a pod.
    pub struct PodIp [Honoured] {
        ip: String,
    }

    /// One condition of a pod.
    pub struct PodCondition [Honoured] {
        type_: String,
        status: String,
    }

    /// Pods by template.
    pub struct Deployment [Honoured] {
        spec: Option<DeploymentSpec>,
    }

    /// What a deployment is.
    pub struct DeploymentSpec [Honoured] {
        selector: Option<WorkloadSelector>,
        template: Option<PodTemplate>,
    }

    /// What its pods look like.
    pub struct PodTemplate [Honoured] {
        metadata: Option<TemplateMeta>,
        spec: Option<PodSpec>,
    }

    /// Labels and annotations of the pods.
    pub struct TemplateMeta [Honoured] {
        labels: Map<String>,
        annotations: Map<String>,
    }
}
