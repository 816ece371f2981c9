//! `sallyctl token create`: what a host shows to join the mesh, made where the CA's files are.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};

use super::{Outcome, Trouble, say};
use crate::identity::Identity;
use crate::token::{TTL_DEFAULT, TTL_MAX, TokenKey};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Print a token with which one workload gets its first certificate
    #[command(
        after_help = "Run it where the control process keeps its CA. Give the token to the host over a safe way:\n  sallyctl token create -n shop --service-account web --ca-dir DIR > web.token\n  sallyport-control agent --token web.token --namespace shop --service-account web ..."
    )]
    Create(CreateArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// Namespace of the workload
    #[arg(short, long, value_name = "NAME")]
    namespace: String,
    /// Service account of the workload
    #[arg(long, value_name = "NAME")]
    service_account: String,
    /// Directory of the CA
    #[arg(
        long,
        env = "SALLYPORT_CA_DIR",
        value_name = "DIR",
        default_value = "/var/lib/sallyport/ca"
    )]
    ca_dir: PathBuf,
    /// Trust domain of the mesh
    #[arg(
        long,
        env = "SALLYPORT_TRUST_DOMAIN",
        value_name = "NAME",
        default_value = "cluster.local"
    )]
    trust_domain: String,
    /// How long it is good; at most 24h
    #[arg(long, value_name = "TIME", value_parser = crate::server::args::duration)]
    ttl: Option<Duration>,
}

/// Runs the command.
pub(super) fn run(command: &TokenCommand, out: &mut Vec<u8>) -> Result<Outcome, Trouble> {
    let TokenCommand::Create(args) = command;
    let ttl = args.ttl.unwrap_or(TTL_DEFAULT);
    if ttl > TTL_MAX || ttl.is_zero() {
        return Err(Trouble::new("--ttl is more than 0 and at most 24h"));
    }
    let identity = Identity::new(&args.trust_domain, &args.namespace, &args.service_account);
    let identity = identity.map_err(|error| Trouble::new(error.to_string()))?;
    let key = TokenKey::open(&args.ca_dir);
    let key = key.map_err(|error| Trouble::new(format!("cannot make a token: {error}")))?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    let token = key.create(&identity, now, ttl);
    let token = token.map_err(|error| Trouble::new(error.to_string()))?;
    say(out, &format!("{token}\n"));
    Ok(Outcome::Clean)
}
