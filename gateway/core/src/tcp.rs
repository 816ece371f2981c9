//! Connections that carry bytes: where they go, and what is said of those that go nowhere.

use crate::admit::Admitted;
use crate::failure::{Failure, FailureKind};
use crate::flags::Flags;
use crate::tables::Tables;
use sallyport_config::ir::{Cluster, ClusterId, TcpService, TcpTarget};

/// Endpoints that are tried before a connection is given up. Envoy tries one unless told
/// otherwise; nothing has been sent yet, so trying another harms nobody.
pub const CONNECT_TRIES_MAX: u32 = 3;

/// The cluster that a connection goes to. `die` decides by weight.
///
/// # Errors
/// The cluster that was meant does not exist.
pub fn choose<'t>(
    tables: &'t Tables,
    service: &TcpService,
    _: &Admitted,
    die: u64,
) -> Result<(ClusterId, &'t Cluster), Failure> {
    let weights = service.targets.iter().map(|(_, weight)| u64::from(*weight));
    let mut left = die.checked_rem(weights.sum()).unwrap_or_default();
    let hit = service.targets.iter().find(|(_, weight)| {
        let hit = left < u64::from(*weight);
        left = left.saturating_sub(u64::from(*weight));
        hit
    });
    let cluster = match hit {
        Some((TcpTarget::Cluster(id), _)) => tables.cluster(*id).map(|cluster| (*id, cluster)),
        _ => None,
    };
    cluster.ok_or_else(|| FailureKind::MissingCluster.into())
}

/// The flags of a connection that could not be made: those of a request that fails so, and Envoy's
/// for the last try where there were any.
#[must_use]
pub fn refusal_flags(failure: &Failure) -> Flags {
    match failure.kind {
        FailureKind::ConnectRefused
        | FailureKind::ConnectTimeout
        | FailureKind::ConnectTls
        | FailureKind::ConnectLocal => failure.kind.flags().with(Flags::URX),
        kind => kind.flags(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_the_flags_of_requests() {
        for (kind, flags) in [
            (FailureKind::MissingCluster, "NC"),
            (FailureKind::NoHealthyUpstream, "UH"),
            (FailureKind::ConnectRefused, "URX,UF"),
            (FailureKind::ConnectTimeout, "URX,UF"),
            (FailureKind::UnservedUpstream, "UF"),
            (FailureKind::ClientGone, "DC"),
        ] {
            assert_eq!(refusal_flags(&kind.into()).to_string(), flags, "{kind:?}");
        }
    }
}
