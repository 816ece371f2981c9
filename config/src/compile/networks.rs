//! Endpoints of other networks: reached through that network's gateways, which pass handshakes of the
//! mesh on by server name.
//!
//! Istio `pilot/pkg/xds/endpoints/ep_filters.go` (`EndpointsByNetworkFilter`). Only what speaks mutual
//! TLS can be reached in that way; cleartext has no name that a gateway could go by.

use super::draft::Draft;
use crate::api::Map;
use crate::view::View;
use crate::world::{Instance, NETWORK, Place};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whether an endpoint is in the network of the view, or nothing says that it is in another.
pub(super) fn is_here(view: &View, endpoint: &Instance) -> bool {
    view.network.is_empty() || endpoint.network.is_empty() || *endpoint.network == *view.network
}

/// The endpoints as the view reaches them: those of other networks give way to gateways, which share
/// their weight. `mutual` says which of them are spoken to in mutual TLS.
pub(super) fn seen<'i>(
    draft: &Draft<'_>,
    endpoints: Vec<&'i Instance>,
    mutual: impl Fn(&Instance) -> bool,
) -> Vec<Cow<'i, Instance>> {
    let gateways = |endpoint: &Instance| match is_here(draft.view, endpoint) {
        true => &[],
        false => draft.world.gateways_of_network(&endpoint.network),
    };
    // weights are multiplied, so that each network's can be divided among its gateways
    let counts = endpoints.iter().map(|e| gateways(e).len().max(1));
    let scale = counts.fold(1, least_common_multiple);
    let scale = u32::try_from(scale).unwrap_or(1);
    let mut seen = Vec::new();
    let mut hidden: BTreeMap<(Arc<str>, Arc<str>), u32> = BTreeMap::new();
    for endpoint in endpoints {
        if gateways(endpoint).is_empty() {
            let mut endpoint = Cow::Borrowed(endpoint);
            if scale > 1 {
                endpoint.to_mut().weight = endpoint.weight.saturating_mul(scale);
            }
            seen.push(endpoint);
        } else if mutual(endpoint) {
            let place = (
                Arc::clone(&endpoint.network),
                Arc::clone(&endpoint.locality),
            );
            let sum = hidden.entry(place).or_default();
            *sum = sum.saturating_add(endpoint.weight.saturating_mul(scale));
        }
    }
    for ((network, locality), weight) in hidden {
        let all = draft.world.gateways_of_network(&network);
        let count = u32::try_from(all.len()).unwrap_or(u32::MAX).max(1);
        let each = all.iter().map(|place| {
            let weight = (weight / count).max(1);
            Cow::Owned(gateway(place, &network, &locality, weight))
        });
        seen.extend(each);
    }
    seen
}

fn gateway(place: &Place, network: &Arc<str>, locality: &Arc<str>, weight: u32) -> Instance {
    let mut labels = Map::default();
    labels.insert(NETWORK.to_owned(), network.to_string());
    Instance {
        place: place.clone(),
        labels: Arc::new(labels),
        weight,
        locality: Arc::clone(locality),
        network: Arc::clone(network),
        workload: Arc::from("unknown"),
        service_account: Arc::from(""),
        mtls: true,
    }
}

fn least_common_multiple(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y > 0 {
        (x, y) = (y, x.checked_rem(y).unwrap_or(0));
    }
    a.checked_div(x).unwrap_or(1).saturating_mul(b)
}
