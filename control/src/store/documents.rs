//! The user's objects as resources for our gateways, which compile them themselves.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use sallyport_config::document::{Published, apart};
use sallyport_config::resource::{Key, ResourceSet};
use sallyport_wire::document::Document;

use crate::resources::{Resource, Resources, TypeUrl};

/// All documents of a configuration, each encoded once.
pub(crate) struct Documents(Vec<Entry>);

struct Entry {
    objects: Vec<Key>,
    ty: TypeUrl,
    resource: Arc<Resource>,
}

// there are keys in it
impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} documents", self.0.len())
    }
}

impl Documents {
    /// Encodes them. Every Secret is a resource of its own.
    pub(super) fn new(published: Vec<Published>, set: &ResourceSet) -> Self {
        let entry = |one: Published| {
            let ty = match one.is_secret() {
                true => TypeUrl::SecretDocument,
                false => TypeUrl::Document,
            };
            let message = Document {
                file: one.document.file.to_string(),
                line: one.document.line,
                ordinal: one.document.ordinal,
                text: one.document.text.to_string(),
            };
            Entry {
                resource: Arc::new(Resource::plain(one.name(), &message)),
                objects: one.objects,
                ty,
            }
        };
        Self(apart(published, set).into_iter().map(entry).collect())
    }

    /// Those in which something is visible.
    pub(crate) fn of(&self, visible: &BTreeSet<Key>) -> Resources {
        let mut resources = Resources::default();
        for entry in &self.0 {
            if entry.objects.iter().any(|key| visible.contains(key)) {
                resources.insert_shared(entry.ty, Arc::clone(&entry.resource));
            }
        }
        resources
    }
}
