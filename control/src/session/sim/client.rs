//! A client as Envoy is one: it refuses resources one by one, keeps what it had, subscribes to the
//! endpoints of its clusters and the routes of its listeners, and warms every cluster that changed.

use std::collections::{BTreeMap, BTreeSet};

use super::mesh::BAD;
use crate::resources::{Resources, TypeUrl};
use crate::session::{Ask, Protocol, Request, Response, Sent};

#[derive(Debug, Clone, Default)]
struct State {
    /// What it uses: version and content.
    has: BTreeMap<String, (String, String)>,
    /// What it was sent on this stream, refused or not.
    seen: BTreeMap<String, String>,
    names: BTreeSet<String>,
    nonce: String,
    /// No response came on this stream.
    first: bool,
    /// No request was sent on this stream.
    silent: bool,
    /// Names given up on this stream, and asked for again: what was under way may come twice.
    gone: BTreeSet<String>,
    again: BTreeSet<String>,
}

/// The client.
pub(super) struct Client {
    pub(super) protocol: Protocol,
    types: BTreeMap<TypeUrl, State>,
    warming: BTreeSet<String>,
    /// Its clusters may be fewer than its routes name.
    shaken: bool,
}

impl Client {
    pub(super) fn new(protocol: Protocol) -> Self {
        let mut types: BTreeMap<TypeUrl, State> = BTreeMap::new();
        for ty in TypeUrl::ALL {
            types.insert(ty, State::default());
        }
        let secrets = types.get_mut(&TypeUrl::Secret).unwrap();
        secrets.names = ["default", "ghost"].map(str::to_owned).into();
        Self {
            protocol,
            types,
            warming: BTreeSet::new(),
            shaken: false,
        }
    }

    fn state(&mut self, ty: TypeUrl) -> &mut State {
        self.types.get_mut(&ty).unwrap()
    }

    /// Opens a stream: the requests that it begins with.
    pub(super) fn connect(&mut self) -> Vec<Request> {
        let mut requests = Vec::new();
        self.shaken = self.protocol == Protocol::StateOfTheWorld;
        for (ty, state) in &mut self.types {
            (state.first, state.silent) = (true, true);
            state.gone.clear();
            state.again.clear();
            state.seen = state
                .has
                .iter()
                .map(|(name, (version, _))| (name.clone(), version.clone()))
                .collect();
            if self.protocol == Protocol::StateOfTheWorld {
                state.seen.clear();
            }
            if ty.is_root() || !state.names.is_empty() {
                let names = state.names.clone();
                requests.push(request(self.protocol, *ty, state, &names, &BTreeSet::new()));
            }
        }
        requests
    }

    /// Applies a response: what it answers, and whether it refused something.
    pub(super) fn take(&mut self, response: &Response) -> Result<(Vec<Request>, bool), String> {
        let ty = response.ty;
        self.check_need(response)?;
        let mut refused = None;
        let replaces = ty.is_root() && self.protocol == Protocol::StateOfTheWorld;
        if replaces {
            let stay = |name: &str| response.resources.iter().any(|s| &*s.resource.name == name);
            self.state(ty).has.retain(|name, _| stay(name));
            self.state(ty).seen.clear();
        }
        for sent in &response.resources {
            if !self.apply(ty, sent) {
                refused = Some(format!("{} is bad", sent.resource.name));
            }
        }
        for name in &response.removed {
            self.state(ty).has.remove(&**name);
            self.state(ty).seen.remove(&**name);
        }
        let names: BTreeSet<String> = self.types[&TypeUrl::Cluster].has.keys().cloned().collect();
        self.warming.retain(|name| names.contains(name));
        let mut requests = vec![self.answer(response, refused.clone())];
        requests.extend(self.subscribe(TypeUrl::Endpoints, names));
        let routes = self.types[&TypeUrl::Listener].has.values();
        let routes = routes.map(|(_, body)| body.split(';').next().unwrap().to_owned());
        let routes = routes.collect();
        requests.extend(self.subscribe(TypeUrl::Route, routes));
        Ok((requests, refused.is_some()))
    }

    /// Uses a resource, unless it is bad; what is not asked for is left alone.
    fn apply(&mut self, ty: TypeUrl, sent: &Sent) -> bool {
        let name = sent.resource.name.to_string();
        let body = String::from_utf8(sent.resource.body.to_vec()).unwrap();
        let state = self.state(ty);
        if !ty.is_root() && !state.names.contains(&name) {
            return true;
        }
        state.seen.insert(name.clone(), sent.version.clone());
        if body.ends_with(BAD) {
            return false;
        }
        let new = (sent.version.clone(), body);
        let old = state.has.insert(name.clone(), new.clone());
        match ty {
            TypeUrl::Cluster if old != Some(new) => {
                self.warming.insert(name);
            }
            TypeUrl::Endpoints => {
                self.warming.remove(&name);
            }
            _ => {}
        }
        true
    }

    /// Refuses to be sent what it has.
    fn check_need(&mut self, response: &Response) -> Result<(), String> {
        let ty = response.ty;
        let first = std::mem::replace(&mut self.state(ty).first, false);
        let Self { types, warming, .. } = self;
        let state = types.get_mut(&ty).unwrap();
        let mut seen = |sent: &&Sent| {
            let name = &*sent.resource.name;
            let warms = ty == TypeUrl::Endpoints && warming.contains(name);
            let same = state.seen.get(name) == Some(&sent.version);
            same && !warms && !state.again.remove(name)
        };
        let had: Vec<&Sent> = response.resources.iter().filter(&mut seen).collect();
        if self.protocol == Protocol::StateOfTheWorld && ty.is_root() {
            let same = had.len() == response.resources.len() && had.len() == state.seen.len();
            return match same && !first {
                true => Err(format!("{ty} was sent again without a change")),
                false => Ok(()),
            };
        }
        let Some(sent) = had.first() else {
            return Ok(());
        };
        Err(format!("{ty} {} was sent again", sent.resource.name))
    }

    fn answer(&mut self, response: &Response, refused: Option<String>) -> Request {
        let protocol = self.protocol;
        let state = self.state(response.ty);
        state.nonce.clone_from(&response.nonce);
        let ask = match protocol {
            Protocol::StateOfTheWorld => Ask::Names(state.names.iter().cloned().collect()),
            Protocol::Delta => Ask::Change {
                subscribe: Vec::new(),
                unsubscribe: Vec::new(),
                initial: Vec::new(),
            },
        };
        Request {
            ty: response.ty,
            nonce: response.nonce.clone(),
            refused,
            ask,
        }
    }

    fn subscribe(&mut self, ty: TypeUrl, names: BTreeSet<String>) -> Option<Request> {
        let protocol = self.protocol;
        let state = self.state(ty);
        let added: BTreeSet<_> = names.difference(&state.names).cloned().collect();
        let gone: BTreeSet<_> = state.names.difference(&names).cloned().collect();
        if added.is_empty() && gone.is_empty() {
            return None;
        }
        state.has.retain(|name, _| names.contains(name));
        state.seen.retain(|name, _| names.contains(name));
        state.again.extend(added.intersection(&state.gone).cloned());
        state.gone.extend(gone.iter().cloned());
        state.names = names;
        Some(request(protocol, ty, state, &added, &gone))
    }

    /// It has what it is to have, and waits for nothing.
    pub(super) fn converged(&self, target: &Resources) -> Result<(), String> {
        for (ty, state) in &self.types {
            let wanted = target
                .of_type(*ty)
                .filter(|resource| ty.is_root() || state.names.contains(&*resource.name));
            let wanted: BTreeMap<String, String> = wanted
                .map(|r| (r.name.to_string(), target.version(*ty, r).to_string()))
                .collect();
            let has = state.has.iter().map(|(n, (v, _))| (n.clone(), v.clone()));
            let has: BTreeMap<String, String> = has.collect();
            if has != wanted {
                return Err(format!("{ty}: has {has:?}, is to have {wanted:?}"));
            }
        }
        match self.warming.first() {
            Some(name) => Err(format!("{name} is still warming")),
            None => Ok(()),
        }
    }

    /// Every route in use has its cluster. A state-of-the-world client that comes back is told
    /// what there is before it says what it uses; until that fits it promises nothing.
    pub(super) fn intact(&mut self) -> Result<(), String> {
        let clusters = &self.types[&TypeUrl::Cluster];
        let routes = self.types[&TypeUrl::Route].has.iter();
        let mut named = routes.map(|(name, (_, body))| (name, body.split(';').next().unwrap()));
        let lost = named.find(|(_, cluster)| !clusters.has.contains_key(*cluster));
        let told = !clusters.first;
        match lost {
            Some(_) if self.shaken => Ok(()),
            Some((route, cluster)) => Err(format!("{route} lost {cluster}")),
            None => {
                self.shaken &= !told;
                Ok(())
            }
        }
    }
}

fn request(
    protocol: Protocol,
    ty: TypeUrl,
    state: &mut State,
    added: &BTreeSet<String>,
    gone: &BTreeSet<String>,
) -> Request {
    let list = |names: &BTreeSet<String>| names.iter().cloned().collect();
    let versions = state
        .has
        .clone()
        .into_iter()
        .map(|(name, (v, _))| (name, v));
    let (nonce, ask) = match protocol {
        Protocol::StateOfTheWorld => (state.nonce.clone(), Ask::Names(list(&state.names))),
        Protocol::Delta => {
            let initial = if state.first {
                versions.collect()
            } else {
                Vec::new()
            };
            let ask = Ask::Change {
                subscribe: list(added),
                unsubscribe: list(gone),
                initial,
            };
            (String::new(), ask)
        }
    };
    Request {
        ty,
        nonce,
        refused: None,
        ask,
    }
}
