//! What a rule does, compiled: everything that would otherwise be computed per request.

use super::matching::Conditions;
use super::pattern::Patterns;
use crate::cors::CorsRule;
use crate::plan::Edit;
use crate::rewrite::PathRule;
use sallyport_config::ir::{
    Action, Cluster, ClusterId, ClusterRef, Forward, HeaderEdits, Ppm, Route,
};

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) conditions: Conditions,
    /// Response edits of the rule itself.
    pub(crate) response: Box<[Edit]>,
    pub(crate) cors: Option<CorsRule>,
    /// Path of a rewrite or a redirect.
    pub(crate) path: Option<PathRule>,
    /// Destinations; empty unless the rule forwards.
    pub(crate) targets: Box<[TargetRule]>,
    /// Clusters that exist and get a copy.
    pub(crate) mirrors: Box<[(ClusterId, Ppm)]>,
    /// Rate limits that are asked about it.
    pub(crate) limits: Box<[usize]>,
}

/// One destination.
#[derive(Debug)]
pub(crate) struct TargetRule {
    /// End of its share: the sum of weights up to and including this one.
    until: u64,
    /// Request edits: its own, then the rule's.
    pub(crate) request: [Box<[Edit]>; 2],
    /// Response edits of its own.
    pub(crate) response: Box<[Edit]>,
}

impl Rule {
    pub(super) fn new(route: &Route, clusters: &[Cluster], patterns: &mut Patterns) -> Self {
        let (path, targets, mirrors) = match &route.action {
            Action::Forward(forward) => (
                forward.rewrite.path.as_ref(),
                targets(forward, &route.headers.request),
                mirrors(forward, clusters),
            ),
            Action::Redirect(redirect) => (redirect.path.as_ref(), Box::default(), Box::default()),
            Action::Direct(_) | Action::Fail { .. } => (None, Box::default(), Box::default()),
        };
        Self {
            conditions: Conditions::new(&route.matcher, patterns),
            response: Edit::response(&route.headers.response),
            cors: route
                .cors
                .as_ref()
                .map(|cors| CorsRule::new(cors, patterns)),
            path: path.map(|path| PathRule::new(path, patterns)),
            targets,
            mirrors,
            limits: Box::default(),
        }
    }

    /// The destination on which a die falls, and its position. One destination has no weight.
    pub(crate) fn target(&self, die: u64) -> Option<(usize, &TargetRule)> {
        let at = match &*self.targets {
            [] => return None,
            [_] => 0,
            several => {
                let die = die.checked_rem(several.last()?.until)?;
                several.partition_point(|target| target.until <= die)
            }
        };
        self.targets.get(at).map(|target| (at, target))
    }
}

fn targets(forward: &Forward, rule: &HeaderEdits) -> Box<[TargetRule]> {
    let mut until = 0;
    let targets = forward.targets.iter().map(|target| {
        until += u64::from(target.weight);
        let own = &target.headers;
        TargetRule {
            until,
            request: [
                Edit::request(&own.request, &HeaderEdits::default()),
                Edit::request(rule, &own.request),
            ],
            response: Edit::response(&own.response),
        }
    });
    targets.collect()
}

fn mirrors(forward: &Forward, clusters: &[Cluster]) -> Box<[(ClusterId, Ppm)]> {
    let known = |reference: &ClusterRef| match reference {
        ClusterRef::Known(id) => Some(*id).filter(|id| exists(*id, clusters)),
        ClusterRef::Missing(_) => None,
    };
    let mirrors = forward.mirrors.iter();
    mirrors
        .filter_map(|mirror| known(&mirror.cluster).map(|id| (id, mirror.share)))
        .collect()
}

fn exists(id: ClusterId, clusters: &[Cluster]) -> bool {
    usize::try_from(id.0).is_ok_and(|index| index < clusters.len())
}
