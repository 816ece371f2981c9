//! Resources that come, go and change. Listeners name routes and routes name clusters, only ones
//! that exist; some content is such that every client refuses it.

use std::sync::Arc;

use super::Random;
use crate::resources::{Layer, Pool, Resource, Resources, TypeUrl, Version};

/// Services of the mesh.
const SERVICES: usize = 6;
/// What content that is refused ends with.
pub(super) const BAD: &str = "!bad";

#[derive(Debug, Clone, Copy, Default)]
struct Service {
    exists: bool,
    cluster: u64,
    endpoints: u64,
    listener: u64,
    bad: bool,
    /// Which cluster its route names, counted among those that exist.
    points: u64,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Mesh {
    services: [Service; SERVICES],
    clock: u64,
    layer: Option<Arc<Layer>>,
}

impl Mesh {
    pub(super) fn new(random: &mut Random) -> Self {
        let mut mesh = Self {
            services: [Service::default(); SERVICES],
            clock: 0,
            layer: None,
        };
        for _ in 0..4 {
            mesh.change(random);
        }
        mesh
    }

    /// Changes one thing, or a few at once.
    pub(super) fn change(&mut self, random: &mut Random) {
        for _ in 0..=random.below(3) {
            self.clock += 1;
            let Self {
                services, clock, ..
            } = self;
            let index = random.below(SERVICES as u64);
            let service = &mut services[usize::try_from(index).unwrap()];
            match random.below(6) {
                0 | 1 => service.exists = !service.exists,
                // back to what it was a moment ago, too
                2 => service.cluster = random.below(3),
                3 => service.endpoints = *clock,
                4 => {
                    service.listener = *clock;
                    service.bad = random.once_in(4);
                }
                _ => service.points = random.below(9),
            }
        }
    }

    /// Nothing is refused from now on.
    pub(super) fn heal(&mut self) {
        for service in &mut self.services {
            service.bad = false;
        }
    }

    /// The same for a client that shares all but its listeners with others, or with nobody.
    pub(super) fn target(&mut self, random: &mut Random) -> Arc<Resources> {
        if random.once_in(8) {
            // it was away for one state, or moved
            self.layer = None;
        }
        let all = self.resources();
        if random.once_in(16) {
            return Arc::new(all);
        }
        let (mut own, mut shared) = (Resources::default(), Resources::default());
        for ty in TypeUrl::ALL {
            let part = match ty {
                TypeUrl::Listener => &mut own,
                _ => &mut shared,
            };
            all.of_type(ty)
                .for_each(|r| part.insert_shared(ty, Arc::clone(r)));
        }
        let layer = shared.into_layer(self.layer.as_ref(), &Pool::default());
        self.layer = Some(Arc::clone(&layer));
        Arc::new(own.over(layer))
    }

    pub(super) fn resources(&self) -> Resources {
        let mut all = Resources::default();
        let mut add = |ty, name: String, body: String| {
            let body = bytes::Bytes::from(body.into_bytes());
            let version = Version::of(&body);
            let name = name.into();
            all.insert(
                ty,
                Resource {
                    name,
                    version,
                    body,
                },
            );
        };
        let there = || (0..SERVICES).filter(|i| self.services[*i].exists);
        for index in there() {
            let service = &self.services[index];
            let pick = usize::try_from(service.points).unwrap() % there().count();
            let cluster = there().nth(pick).unwrap();
            let bad = if service.bad { BAD } else { "" };
            let name = format!("c{index}");
            add(
                TypeUrl::Cluster,
                name.clone(),
                format!("{}", service.cluster),
            );
            add(TypeUrl::Endpoints, name, format!("{}", service.endpoints));
            let listener = format!("r{index};{}{bad}", service.listener);
            add(TypeUrl::Listener, format!("l{index}"), listener);
            add(TypeUrl::Route, format!("r{index}"), format!("c{cluster};"));
        }
        add(
            TypeUrl::Secret,
            "default".to_owned(),
            format!("{}", self.clock / 4),
        );
        all
    }
}
