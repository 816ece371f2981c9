//! `IstioOperator` (`operator/pkg/apis/types.go`): a file format of `istioctl install`. Its mesh
//! configuration and a few global values are used; the rest describes Kubernetes objects.

use super::mesh_config::MeshConfig;
use crate::message::message;
use crate::yaml::Node;

message! {
    /// An installation.
    pub struct IstioOperator [NoEffect("describes Kubernetes objects")] {
        profile: String,
        install_package_path: String,
        hub: String,
        tag: Option<Node>,
        namespace: String,
        revision: String,
        compatibility_version: String,
        mesh_config: Option<MeshConfig> => Honoured,
        components: Option<Node>,
        values: Option<Values> => Honoured,
        unvalidated_values: Option<Node>,
    }

    /// Helm values, of which `global` is read.
    pub struct Values [Honoured] unknown Ignore {
        global: Option<GlobalValues>,
    }

    /// Values of the whole mesh.
    pub struct GlobalValues [Later("several clusters")] unknown Ignore {
        mesh_id as "meshID": String,
        multi_cluster: Option<MultiCluster>,
        network: String,
        remote_pilot_address: String,
        trust_domain: String,
        istio_namespace: String,
    }

    /// Name of the cluster.
    pub struct MultiCluster [Later("several clusters")] unknown Ignore {
        cluster_name: String,
        enabled: Option<bool>,
    }
}
