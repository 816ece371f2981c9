//! What the gateway would do with some files: parse, judge, compile.

use std::path::PathBuf;
use std::sync::Arc;

use sallyport_config::compile::compile;
use sallyport_config::diag::Level;
use sallyport_config::ir::Snapshot;
use sallyport_config::view::View;
use sallyport_config::world::World;
use sallyport_config::{check, parse};

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
    let mut parsed = parse(&input::read(paths)?);
    for finding in &check::check(&parsed.set) {
        if let Some(key) = finding
            .resource
            .as_ref()
            .filter(|_| finding.level == Level::Error)
        {
            parsed.set.remove(key);
        }
    }
    let world = World::build(&parsed.set, &parsed.sources, &view.domain_suffix);
    Ok(Arc::new(compile(&world, &view).snapshot))
}
