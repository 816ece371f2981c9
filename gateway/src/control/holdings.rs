//! What a control process gave, as the delta protocol of xDS counts it: names and versions by type.
//! A gateway that comes back says what it has, and is told only what is new and what is gone.

use std::collections::BTreeMap;

use prost::Message as _;
use sallyport_config::document::{Document, Published};
use sallyport_wire::document::{DOCUMENT, Document as Wire, SECRET_DOCUMENT};
use sallyport_wire::envoy::envoy::config::core::v3::Node;
use sallyport_wire::envoy::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use sallyport_wire::envoy::google::rpc;

/// The types, in the order in which they are asked for.
pub(super) const TYPES: [&str; 2] = [SECRET_DOCUMENT, DOCUMENT];
/// Objects that are taken; a mesh with more is somebody's mistake.
const DOCUMENTS_MAX: usize = 200_000;
/// gRPC's code for what cannot be used.
const INVALID_ARGUMENT: i32 = 3;

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// By type, then by name: version and content.
    types: BTreeMap<&'static str, BTreeMap<String, (String, Document)>>,
    /// All objects that are no secrets are there: those alone would be no configuration.
    complete: bool,
}

impl Holdings {
    /// What was kept over a restart. Its versions are not known, so all of it is sent again.
    pub(super) fn new(known: Vec<Published>) -> Self {
        let mut holdings = Self {
            complete: !known.is_empty(),
            ..Self::default()
        };
        for one in known {
            let ty = match one.is_secret() {
                true => SECRET_DOCUMENT,
                false => DOCUMENT,
            };
            let entry = (String::new(), one.document.clone());
            holdings
                .types
                .entry(ty)
                .or_default()
                .insert(one.name(), entry);
        }
        holdings
    }

    /// The first request of a type on a stream.
    pub(super) fn ask(&self, ty: &str, node: Option<Node>) -> DeltaDiscoveryRequest {
        let known = self.types.get(ty).into_iter().flatten();
        DeltaDiscoveryRequest {
            node,
            type_url: ty.to_owned(),
            initial_resource_versions: known
                .map(|(name, (version, _))| (name.clone(), version.clone()))
                .collect(),
            ..DeltaDiscoveryRequest::default()
        }
    }

    /// Takes a response in; whether there is a configuration now.
    ///
    /// # Errors
    /// What of it cannot be read. All else was taken.
    pub(super) fn take(&mut self, response: DeltaDiscoveryResponse) -> Result<bool, String> {
        let ty = TYPES.into_iter().find(|ty| *ty == response.type_url);
        let ty = ty.ok_or_else(|| format!("{:?} was not asked for", response.type_url))?;
        let count = self.documents().count();
        let held = self.types.entry(ty).or_default();
        for name in &response.removed_resources {
            held.remove(name);
        }
        if count + response.resources.len() > DOCUMENTS_MAX + response.removed_resources.len() {
            return Err(format!("more than {DOCUMENTS_MAX} objects"));
        }
        let mut unread = Vec::new();
        for resource in response.resources {
            let body = resource.resource.unwrap_or_default().value;
            match Wire::decode(&*body) {
                Ok(wire) => {
                    let document = Document {
                        file: wire.file.into(),
                        ordinal: wire.ordinal,
                        line: wire.line,
                        text: wire.text.into(),
                    };
                    held.insert(resource.name, (resource.version, document));
                }
                Err(error) => unread.push(format!("{}: {error}", resource.name)),
            }
        }
        self.complete |= ty == DOCUMENT;
        match unread.is_empty() {
            true => Ok(self.complete),
            false => Err(unread.join("; ")),
        }
    }

    /// All documents.
    pub(super) fn documents(&self) -> impl Iterator<Item = &Document> {
        let types = self.types.values().flat_map(BTreeMap::values);
        types.map(|(_, document)| document)
    }
}

/// The answer to a response.
pub(super) fn answer(ty: String, nonce: String, refused: Option<String>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: ty,
        response_nonce: nonce,
        error_detail: refused.map(|message| rpc::Status {
            code: INVALID_ARGUMENT,
            message,
            details: Vec::new(),
        }),
        ..DeltaDiscoveryRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_wire::envoy::envoy::service::discovery::v3::Resource;
    use sallyport_wire::envoy::google::protobuf::Any;

    fn response(ty: &str, named: &[(&str, &[u8])], removed: &[&str]) -> DeltaDiscoveryResponse {
        let resource = |(name, value): &(&str, &[u8])| Resource {
            name: (*name).to_owned(),
            version: format!("v-{name}"),
            resource: Some(Any {
                type_url: ty.to_owned(),
                value: value.to_vec(),
            }),
            ..Resource::default()
        };
        DeltaDiscoveryResponse {
            type_url: ty.to_owned(),
            resources: named.iter().map(resource).collect(),
            removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
            ..DeltaDiscoveryResponse::default()
        }
    }

    fn body(text: &str) -> Vec<u8> {
        let wire = Wire {
            file: "a.yaml".to_owned(),
            line: 1,
            ordinal: 0,
            text: text.to_owned(),
        };
        wire.encode_to_vec()
    }

    #[test]
    fn secrets_alone_are_no_configuration() {
        let mut holdings = Holdings::default();
        let (a, b) = (body("a"), body("b"));
        assert_eq!(
            holdings.take(response(SECRET_DOCUMENT, &[("a", &a)], &[])),
            Ok(false)
        );
        assert_eq!(
            holdings.take(response(DOCUMENT, &[("b", &b)], &[])),
            Ok(true)
        );
        assert_eq!(holdings.documents().count(), 2);
        let versions = holdings.ask(DOCUMENT, None).initial_resource_versions;
        assert_eq!(versions["b"], "v-b");
        assert_eq!(holdings.take(response(DOCUMENT, &[], &["b"])), Ok(true));
        assert_eq!(holdings.documents().count(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_all_else_is_taken() {
        let mut holdings = Holdings::default();
        let good = body("good");
        let mixed = response(DOCUMENT, &[("bad", b"\xff\xff"), ("good", &good)], &[]);
        let refused = holdings.take(mixed).unwrap_err();
        assert!(refused.starts_with("bad: "), "{refused}");
        assert_eq!(holdings.documents().count(), 1);
        assert!(holdings.take(response("other", &[], &[])).is_err());
        let nack = answer(DOCUMENT.to_owned(), "7".to_owned(), Some(refused));
        assert_eq!(nack.error_detail.unwrap().code, INVALID_ARGUMENT);
        assert_eq!(nack.response_nonce, "7");
    }
}
