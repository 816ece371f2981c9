//! What the gateway would do with some files: parse, judge, compile.

use std::path::PathBuf;
use std::sync::Arc;

use sallyport_config::ir::Snapshot;
use sallyport_config::retain::LastGood;
use sallyport_config::{View, pipeline};

use super::args::Identity;
use super::{Trouble, input};

/// The snapshot of a gateway that reads these files. Objects with errors are left out, as the
/// gateway leaves them out.
pub(super) fn snapshot(paths: &[PathBuf], identity: &Identity) -> Result<Arc<Snapshot>, Trouble> {
    let mut view = View {
        namespace: identity.namespace.clone(),
        ..View::default()
    };
    view.labels.clear();
    for label in identity.labels.iter().filter(|l| !l.is_empty()) {
        let (key, value) = label.split_once('=').ok_or_else(|| {
            Trouble::new(format!(
                "--labels: `{label}` is not like istio=ingressgateway"
            ))
        })?;
        view.labels
            .insert(key.trim().to_owned(), value.trim().to_owned());
    }
    let built = pipeline::build(&input::read(paths)?, &view, &mut LastGood::default());
    Ok(Arc::new(built.snapshot))
}
