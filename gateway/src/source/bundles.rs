//! Authorities and revocation lists in files: the root of the workload's identity, and paths that
//! Gateways and DestinationRules name. One that cannot be used keeps its last good text.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use sallyport_config::ir::{Bundle, ListenerKind, Roots, Snapshot, UpstreamTls};

use super::Problem;
use super::certificates::{Found, Identity, NO_IDENTITY};
use super::files::{read_bounded, watch_path};

/// Member of an identity directory, as Istio's agent writes it.
const IDENTITY_ROOT: &str = "root-cert.pem";

/// The last good text of each file.
#[derive(Debug, Default)]
pub(super) struct Bundles {
    last: BTreeMap<String, Arc<[u8]>>,
}

impl Bundles {
    /// Puts the text of bundles into a snapshot in place of their paths.
    pub(super) fn read_into(
        &mut self,
        snapshot: &mut Snapshot,
        identity: &Identity,
        found: &mut Found,
    ) {
        let mut now = BTreeMap::new();
        let mut read = |bundle: &mut Bundle| {
            let path = match bundle {
                Bundle::Inline(_) | Bundle::Missing(_) => return,
                Bundle::File(path) => path.clone(),
                Bundle::Workload => match identity {
                    Identity::Directory(directory) => {
                        directory.join(IDENTITY_ROOT).display().to_string()
                    }
                    Identity::Held { roots, .. } => {
                        *bundle = Bundle::Inline(Arc::clone(roots));
                        return;
                    }
                    Identity::None => {
                        *bundle = Bundle::Missing(NO_IDENTITY.to_owned());
                        return;
                    }
                },
            };
            let text = now
                .entry(path)
                .or_insert_with_key(|path| self.text(path, found));
            *bundle = match text {
                Ok(text) => Bundle::Inline(Arc::clone(text)),
                Err(why) => Bundle::Missing(why.clone()),
            };
        };
        for listener in &mut snapshot.listeners {
            let ListenerKind::Tls(chains) = &mut listener.kind else {
                continue;
            };
            for tls in chains.iter_mut().filter_map(|chain| chain.tls.as_mut()) {
                tls.client_ca.iter_mut().for_each(&mut read);
                tls.client_crl.iter_mut().for_each(&mut read);
            }
        }
        for cluster in &mut snapshot.clusters {
            let (UpstreamTls::Always(tls) | UpstreamTls::ByEndpoint(tls)) = &mut cluster.tls else {
                continue;
            };
            let tls = Arc::make_mut(tls);
            if let Roots::Given(bundle) = &mut tls.roots {
                read(bundle);
            }
            tls.crl.iter_mut().for_each(&mut read);
        }
        let good = now.into_iter();
        self.last = good
            .filter_map(|(path, text)| Some((path, text.ok()?)))
            .collect();
    }

    /// The text of a file, or its last good one.
    fn text(&self, path: &str, found: &mut Found) -> Result<Arc<[u8]>, String> {
        let file = Path::new(path);
        watch_path(&mut found.directories, file);
        let error = match read_bounded(file).map_err(|error| error.to_string()) {
            Ok(text) => match usable(&text) {
                Ok(()) => return Ok(Arc::from(text.into_bytes())),
                Err(error) => error,
            },
            Err(error) => error,
        };
        match self.last.get(path) {
            Some(last) => {
                let message = format!("{error}; the last good text stays");
                found.problems.push(Problem::error(file, message));
                Ok(Arc::clone(last))
            }
            None => {
                found.problems.push(Problem::error(file, &error));
                Err(format!("{path}: {error}"))
            }
        }
    }
}

/// Whether all of a text can be read, and there is something in it.
fn usable(text: &str) -> Result<(), String> {
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        certificate.map_err(|error| format!("not PEM: {error}"))?;
        count += 1;
    }
    for list in CertificateRevocationListDer::pem_slice_iter(text.as_bytes()) {
        list.map_err(|error| format!("not PEM: {error}"))?;
        count += 1;
    }
    match count {
        0 => Err("there is neither a certificate nor a revocation list in the file".to_owned()),
        _ => Ok(()),
    }
}
