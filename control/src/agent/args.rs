//! The command line of the agent.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sallyport_identity::Member;

use crate::proxy::AppPort;
use crate::server::args::duration;

/// Flags of `sallyport-control agent`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  sallyport-control agent --control https://10.0.0.1:15012 --root-cert root-cert.pem --token web.token \\\n    --namespace shop --service-account web --address 10.0.0.7 --app-port 8080=18080 -- envoy\n\nSignals: TERM and INT drain and end, HUP asks for a new certificate at once."
)]
pub(crate) struct Options {
    /// The control process, https://HOST:15012
    #[arg(long, value_name = "URL")]
    pub(super) control: String,
    /// Roots that the control process is verified with, at first
    #[arg(long, value_name = "FILE")]
    pub(super) root_cert: PathBuf,
    /// Join token (`sallyctl token create`); not needed while a kept certificate is good
    #[arg(long, value_name = "FILE")]
    pub(super) token: Option<PathBuf>,
    /// Namespace of the workload
    #[arg(long, value_name = "NAME")]
    pub(super) namespace: String,
    /// Service account of the workload
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(super) service_account: String,
    /// Name of the workload [default: service account and address]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Address of the workload, as its WorkloadEntry has it; may be repeated
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(super) address: Vec<IpAddr>,
    /// A port that is served: where Envoy listens, and where the application does on 127.0.0.1
    #[arg(long, value_name = "PORT[=APP]")]
    pub(super) app_port: Vec<AppPort>,
    /// Where the application finds other services
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(super) outbound_address: IpAddr,
    /// Envoy is an edge of the mesh: it serves the Gateways that its labels select
    #[arg(long, conflicts_with_all = ["app_port", "redirect"])]
    pub(super) gateway: bool,
    /// iptables rules of Istio redirect connections on this host
    #[arg(long)]
    pub(super) redirect: bool,
    /// WorkloadGroup to register with: the workload gets a WorkloadEntry while it is here
    #[arg(long, value_name = "NAME", conflicts_with = "gateway")]
    pub(super) workload_group: Option<String>,
    /// Run the commands of exec probes, which the control process chooses
    #[arg(long, requires = "workload_group")]
    pub(super) exec_probes: bool,
    /// Labels of the workload, separated by commas
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = label)]
    labels: Vec<(String, String)>,
    /// Name of the cluster
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(super) cluster: String,
    /// Name of the network
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(super) network: String,
    /// region/zone/subzone
    #[arg(long, value_name = "PLACE", default_value = "")]
    pub(super) locality: String,
    /// Keeps the key and the certificate for the next start
    #[arg(long, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,
    /// Bootstrap and socket; of its own for each agent [default: below the temporary directory]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Envoy's administration
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:15000")]
    pub(super) admin: SocketAddr,
    /// /healthz/ready
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:15021")]
    pub(super) status: SocketAddr,
    /// How long a certificate is to be good [default: what the control process gives]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) ttl: Option<Duration>,
    /// How long connections may go on after a stop
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(super) drain_time: Duration,
    /// Envoy, with arguments of its own
    #[arg(last = true, required = true, value_name = "ENVOY")]
    pub(super) envoy: Vec<OsString>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("give KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Options {
    /// Who joins.
    pub(super) fn member(&self) -> Member {
        Member {
            control: self.control.clone(),
            root_cert: self.root_cert.clone(),
            token: self.token.clone(),
            namespace: self.namespace.clone(),
            service_account: self.service_account.clone(),
            ttl: self.ttl,
            state_dir: self.state_dir.clone(),
        }
    }

    /// Name of the workload.
    pub(super) fn name(&self) -> String {
        let address = || self.main_address().to_string().replace([':', '.'], "-");
        let name = self.name.clone();
        name.unwrap_or_else(|| format!("{}-{}", self.service_account, address()))
    }

    /// The first address.
    pub(super) fn main_address(&self) -> IpAddr {
        let first = self.address.first().copied();
        first.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))
    }

    /// Labels of the workload.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        self.labels.iter().cloned().collect()
    }

    /// Makes the directory for what Envoy reads. Only its owner may look into it: over the socket
    /// in it Envoy is given its key.
    pub(super) fn make_run_dir(&self) -> Result<PathBuf, String> {
        let own = format!("sallyport-agent-{}", std::process::id());
        let default = || std::env::temp_dir().join(own);
        let directory = self.run_dir.clone().unwrap_or_else(default);
        let failed = |error| format!("cannot use {}: {error}", directory.display());
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(failed)?;
        let private = fs::Permissions::from_mode(0o700);
        // fails if it was made by somebody else
        fs::set_permissions(&directory, private).map_err(failed)?;
        fs::canonicalize(&directory).map_err(failed)
    }
}
