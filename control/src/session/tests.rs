//! The protocol's corners, one at a time.

use std::sync::Arc;

use super::*;
use crate::resources::Version;

fn world(list: &[(TypeUrl, &str, &str)]) -> Arc<Resources> {
    let mut all = Resources::default();
    for (ty, name, body) in list {
        let body = bytes::Bytes::copy_from_slice(body.as_bytes());
        let version = Version::of(&body);
        let name = Arc::from(*name);
        all.insert(
            *ty,
            Resource {
                name,
                version,
                body,
            },
        );
    }
    Arc::new(all)
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn sotw(ty: TypeUrl, nonce: &str, list: &[&str]) -> Request {
    Request {
        ty,
        nonce: nonce.to_owned(),
        refused: None,
        ask: Ask::Names(names(list)),
    }
}

fn delta(ty: TypeUrl, nonce: &str, subscribe: &[&str], unsubscribe: &[&str]) -> Request {
    Request {
        ty,
        nonce: nonce.to_owned(),
        refused: None,
        ask: Ask::Change {
            subscribe: names(subscribe),
            unsubscribe: names(unsubscribe),
            initial: Vec::new(),
        },
    }
}

fn session(protocol: Protocol, list: &[(TypeUrl, &str, &str)]) -> Session {
    let mut session = Session::new(protocol, world(list));
    session.grown();
    session
}

/// Names in the next response.
fn poll(session: &mut Session) -> Option<(TypeUrl, Vec<String>, Vec<String>)> {
    let response = session.poll()?;
    let resources = response.resources.iter();
    let resources = resources.map(|sent| sent.resource.name.to_string());
    let removed = response.removed.iter().map(|name| name.to_string());
    Some((response.ty, resources.collect(), removed.collect()))
}

use TypeUrl::{Cluster, Endpoints, Listener, Route};

#[test]
fn state_of_the_world_says_everything_once() {
    let mut s = session(
        Protocol::StateOfTheWorld,
        &[(Cluster, "a", "1"), (Cluster, "b", "1")],
    );
    s.receive(sotw(Cluster, "", &[])).unwrap();
    assert_eq!(poll(&mut s), Some((Cluster, names(&["a", "b"]), vec![])));
    assert_eq!(poll(&mut s), None);
    s.receive(sotw(Cluster, "1", &[])).unwrap();
    assert_eq!(poll(&mut s), None, "an ACK gets no answer");
    // the same again is no change; one that changed says them all
    s.update(world(&[(Cluster, "a", "1"), (Cluster, "b", "1")]));
    assert_eq!(poll(&mut s), None);
    s.update(world(&[(Cluster, "a", "1"), (Cluster, "b", "2")]));
    assert_eq!(poll(&mut s), Some((Cluster, names(&["a", "b"]), vec![])));
}

#[test]
fn a_stale_answer_is_no_answer() {
    let mut s = session(
        Protocol::StateOfTheWorld,
        &[(Route, "a", "1"), (Route, "b", "1")],
    );
    s.receive(sotw(Route, "", &["a"])).unwrap();
    assert_eq!(poll(&mut s), Some((Route, names(&["a"]), vec![])));
    s.receive(sotw(Route, "1", &["a", "b"])).unwrap();
    assert_eq!(poll(&mut s), Some((Route, names(&["b"]), vec![])));
    s.receive(sotw(Route, "1", &["a"])).unwrap();
    s.update(world(&[(Route, "a", "1"), (Route, "b", "2")]));
    assert_eq!(poll(&mut s), None, "the second response is not answered");
    s.receive(sotw(Route, "2", &["a", "b"])).unwrap();
    assert_eq!(poll(&mut s), Some((Route, names(&["b"]), vec![])));
}

#[test]
fn an_empty_list_after_names_asks_for_nothing() {
    let mut s = session(
        Protocol::StateOfTheWorld,
        &[(Cluster, "a", "1"), (Cluster, "b", "1")],
    );
    s.receive(sotw(Cluster, "", &["a"])).unwrap();
    assert_eq!(poll(&mut s), Some((Cluster, names(&["a"]), vec![])));
    s.receive(sotw(Cluster, "1", &[])).unwrap();
    s.update(world(&[(Cluster, "a", "2")]));
    assert_eq!(poll(&mut s), None);
}

#[test]
fn a_refusal_is_kept_and_not_answered() {
    for protocol in [Protocol::StateOfTheWorld, Protocol::Delta] {
        let mut s = session(protocol, &[(Cluster, "a", "1")]);
        let ask = |nonce| match protocol {
            Protocol::StateOfTheWorld => sotw(Cluster, nonce, &[]),
            Protocol::Delta => delta(Cluster, nonce, &[], &[]),
        };
        s.receive(ask("")).unwrap();
        assert!(s.poll().is_some());
        let mut nack = ask("1");
        nack.refused = Some("no such filter".repeat(1_000));
        s.receive(nack).unwrap();
        assert_eq!(poll(&mut s), None, "the same again would be refused again");
        let status = s.status().next().unwrap();
        assert!(status.error.unwrap().starts_with("no such filter"));
        assert_eq!((status.refusals, status.sent, status.accepted), (1, 1, 0));
        s.update(world(&[(Cluster, "a", "2")]));
        assert!(s.poll().is_some());
        s.receive(ask("2")).unwrap();
        let status = s.status().next().unwrap();
        assert_eq!((status.error, status.accepted), (None, 2));
    }
}

#[test]
fn delta_says_what_changed_and_what_is_not_there() {
    let mut s = session(
        Protocol::Delta,
        &[(Endpoints, "a", "1"), (Endpoints, "b", "1")],
    );
    s.receive(delta(Endpoints, "", &["a", "ghost"], &[]))
        .unwrap();
    assert_eq!(
        poll(&mut s),
        Some((Endpoints, names(&["a"]), names(&["ghost"])))
    );
    s.receive(delta(Endpoints, "1", &[], &[])).unwrap();
    s.update(world(&[(Endpoints, "a", "1"), (Endpoints, "ghost", "1")]));
    assert_eq!(poll(&mut s), Some((Endpoints, names(&["ghost"]), vec![])));
    s.receive(delta(Endpoints, "2", &["a"], &[])).unwrap();
    assert_eq!(
        poll(&mut s),
        Some((Endpoints, names(&["a"]), vec![])),
        "it asked again"
    );
}

#[test]
fn delta_wildcards_may_be_taken_back() {
    let mut s = session(Protocol::Delta, &[(Cluster, "a", "1"), (Cluster, "b", "1")]);
    s.receive(delta(Cluster, "", &["*", "a"], &[])).unwrap();
    assert_eq!(poll(&mut s), Some((Cluster, names(&["a", "b"]), vec![])));
    s.receive(delta(Cluster, "1", &[], &["*"])).unwrap();
    s.update(world(&[(Cluster, "a", "2"), (Cluster, "b", "2")]));
    assert_eq!(poll(&mut s), Some((Cluster, names(&["a"]), vec![])));
}

#[test]
fn a_client_that_comes_back_is_sent_the_difference() {
    let old = world(&[
        (Cluster, "a", "1"),
        (Cluster, "b", "1"),
        (Cluster, "c", "1"),
    ]);
    let versions = old.of_type(Cluster);
    let versions = versions.map(|r| (r.name.to_string(), old.version(Cluster, r).to_string()));
    let mut s = Session::new(
        Protocol::Delta,
        world(&[(Cluster, "a", "1"), (Cluster, "b", "2")]),
    );
    let mut request = delta(Cluster, "", &[], &[]);
    request.ask = Ask::Change {
        subscribe: Vec::new(),
        unsubscribe: Vec::new(),
        initial: versions.collect(),
    };
    s.receive(request).unwrap();
    assert_eq!(poll(&mut s), Some((Cluster, names(&["b"]), vec![])));
    s.receive(delta(Cluster, "1", &[], &[])).unwrap();
    assert_eq!(poll(&mut s), None, "its routes may still use what is gone");
    s.grown();
    assert_eq!(poll(&mut s), Some((Cluster, vec![], names(&["c"]))));
}

#[test]
fn endpoints_follow_a_cluster_that_changed() {
    let mut s = session(
        Protocol::Delta,
        &[(Cluster, "a", "1"), (Endpoints, "a", "1")],
    );
    s.receive(delta(Cluster, "", &[], &[])).unwrap();
    assert_eq!(poll(&mut s).unwrap().0, Cluster);
    s.receive(delta(Endpoints, "", &["a"], &[])).unwrap();
    assert_eq!(poll(&mut s).unwrap().0, Endpoints);
    s.receive(delta(Cluster, "1", &[], &[])).unwrap();
    s.receive(delta(Endpoints, "2", &[], &[])).unwrap();
    s.update(world(&[(Cluster, "a", "2"), (Endpoints, "a", "1")]));
    assert_eq!(poll(&mut s).unwrap().0, Cluster);
    assert_eq!(poll(&mut s), Some((Endpoints, names(&["a"]), vec![])));
}

#[test]
fn endpoints_follow_a_cluster_that_changed_and_changed_back() {
    let one = world(&[(Cluster, "a", "1"), (Endpoints, "a", "1")]);
    let mut s = Session::new(Protocol::Delta, Arc::clone(&one));
    s.grown();
    s.receive(delta(Cluster, "", &[], &[])).unwrap();
    assert_eq!(poll(&mut s).unwrap().0, Cluster);
    s.receive(delta(Cluster, "1", &[], &[])).unwrap();
    s.receive(delta(Endpoints, "", &["a"], &[])).unwrap();
    assert_eq!(poll(&mut s).unwrap().0, Endpoints);
    // the client is slow with these endpoints, and warms the cluster twice in the meantime
    s.update(world(&[(Cluster, "a", "2"), (Endpoints, "a", "1")]));
    assert_eq!(poll(&mut s).unwrap().0, Cluster);
    s.receive(delta(Cluster, "3", &[], &[])).unwrap();
    s.update(one);
    assert_eq!(poll(&mut s).unwrap().0, Cluster);
    s.receive(delta(Cluster, "4", &[], &[])).unwrap();
    assert_eq!(poll(&mut s), None, "its endpoints are under way");
    s.receive(delta(Endpoints, "2", &[], &[])).unwrap();
    assert_eq!(poll(&mut s), Some((Endpoints, names(&["a"]), vec![])));
}

#[test]
fn what_is_gone_waits_for_what_uses_it() {
    let mut s = session(
        Protocol::Delta,
        &[(Cluster, "old", "1"), (Listener, "l", "old")],
    );
    s.receive(delta(Cluster, "", &[], &[])).unwrap();
    s.receive(delta(Listener, "", &[], &[])).unwrap();
    assert_eq!(poll(&mut s).unwrap().0, Cluster);
    assert_eq!(poll(&mut s).unwrap().0, Listener);
    s.receive(delta(Cluster, "1", &[], &[])).unwrap();
    s.receive(delta(Listener, "2", &[], &[])).unwrap();
    s.update(world(&[(Cluster, "new", "1"), (Listener, "l", "new")]));
    assert_eq!(poll(&mut s), Some((Cluster, names(&["new"]), vec![])));
    s.receive(delta(Cluster, "3", &[], &[])).unwrap();
    assert_eq!(poll(&mut s), Some((Listener, names(&["l"]), vec![])));
    let mut nack = delta(Listener, "4", &[], &[]);
    nack.refused = Some("no".to_owned());
    s.receive(nack).unwrap();
    assert_eq!(
        poll(&mut s),
        None,
        "the old listener serves on, with its cluster"
    );
    s.update(world(&[(Cluster, "new", "1"), (Listener, "l", "newer")]));
    assert_eq!(poll(&mut s).unwrap().0, Listener);
    s.receive(delta(Listener, "5", &[], &[])).unwrap();
    assert_eq!(poll(&mut s), Some((Cluster, vec![], names(&["old"]))));
}

#[test]
fn a_large_difference_comes_in_parts() {
    let body = "x".repeat(700_000);
    let mut s = session(
        Protocol::Delta,
        &[
            (Cluster, "a", &body),
            (Cluster, "b", &body),
            (Listener, "l", "1"),
        ],
    );
    s.receive(delta(Cluster, "", &[], &[])).unwrap();
    s.receive(delta(Listener, "", &[], &[])).unwrap();
    assert_eq!(poll(&mut s).unwrap().1, ["a"]);
    assert_eq!(poll(&mut s), None, "the listener waits for all clusters");
    s.receive(delta(Cluster, "1", &[], &[])).unwrap();
    assert_eq!(poll(&mut s).unwrap().1, ["b"]);
    assert_eq!(poll(&mut s).unwrap().1, ["l"]);
}

#[test]
fn a_million_names_end_the_stream() {
    for protocol in [Protocol::StateOfTheWorld, Protocol::Delta] {
        let mut s = session(protocol, &[]);
        let many: Vec<String> = (0..1_000_000).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let request = match protocol {
            Protocol::StateOfTheWorld => sotw(Endpoints, "", &many),
            Protocol::Delta => delta(Endpoints, "", &many, &[]),
        };
        assert!(s.receive(request).is_err());
        let long = "x".repeat(5_000_000);
        assert!(s.receive(delta(Route, "", &[&long], &[])).is_err());
    }
}
