//! The mesh as files: services, their workloads, and the changes that are made to them.

use super::wire::{ENDPOINTS, ROUTES};
use crate::args::Control;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// First port of the services.
pub(super) const FIRST_PORT: usize = 9_000;

/// A directory of files; it goes with the value.
pub(super) struct Mesh {
    directory: PathBuf,
    args: Control,
}

/// A change of one file.
pub(super) struct Change {
    /// Type of the resource that it changes for everybody who sees it.
    pub(super) ty: &'static str,
    /// Its name.
    pub(super) name: String,
    /// How many streams have it.
    pub(super) seen_by: usize,
    file: PathBuf,
    text: String,
}

impl Change {
    /// Makes it: whole, as an editor does.
    pub(super) fn write(&self) -> Result<(), Box<dyn Error>> {
        let new = self.file.with_extension("new");
        fs::write(&new, &self.text)?;
        fs::rename(&new, &self.file)?;
        Ok(())
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        // what is left of it is in a temporary directory
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Mesh {
    pub(super) fn new(args: &Control) -> Result<Self, Box<dyn Error>> {
        let name = format!("sallyport-bench-control-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(directory.join("mesh"))?;
        let mesh = Self {
            directory,
            args: args.clone(),
        };
        for index in 0..args.services {
            fs::write(mesh.file("service", index), mesh.service(index, 0))?;
        }
        fs::write(mesh.file("rule", 0), mesh.virtual_service(0))?;
        if args.scoped {
            for index in 0..args.namespaces {
                let text = format!(
                    "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: default, \
                     namespace: ns{index}}}\nspec: {{egress: [{{hosts: ['./*']}}]}}\n"
                );
                fs::write(mesh.file("scope", index), text)?;
            }
        }
        Ok(mesh)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    fn file(&self, what: &str, index: usize) -> PathBuf {
        self.directory.join(format!("mesh/{what}-{index}.yaml"))
    }

    fn host(&self, index: usize) -> String {
        format!(
            "s{index}.ns{}.svc.cluster.local",
            index % self.args.namespaces
        )
    }

    fn port(&self, index: usize) -> usize {
        FIRST_PORT + (index / self.args.namespaces) % self.args.ports
    }

    /// A service with two workloads; `change` moves one of them.
    fn service(&self, index: usize, change: usize) -> String {
        let (host, port) = (self.host(index), self.port(index));
        let (high, low) = (index / 250, index % 250);
        let mut text = format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: s{index}, \
             namespace: ns{}}}\nspec:\n  hosts: [{host}]\n  location: MESH_INTERNAL\n  resolution: \
             STATIC\n  ports: [{{number: {port}, name: http, protocol: HTTP}}]\n  endpoints:\n",
            index % self.args.namespaces
        );
        for (block, last) in [(1, 1), (2, 1 + change % 250)] {
            // writing to a String cannot fail
            let _ = writeln!(
                text,
                "  - {{address: 10.{block}{high}.{low}.{last}, ports: {{http: 8080}}, labels: {{app: \
                 s{index}, security.istio.io/tlsMode: istio}}, serviceAccount: s{index}}}"
            );
        }
        text
    }

    fn virtual_service(&self, change: usize) -> String {
        let host = self.host(0);
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: s0, \
             namespace: ns0}}\nspec:\n  hosts: [{host}]\n  http:\n  - timeout: {}s\n    route: \
             [{{destination: {{host: {host}}}}}]\n",
            change + 1
        )
    }

    /// Streams that see service 0.
    fn seen_by(&self) -> usize {
        let streams = 0..self.args.streams;
        let same = |index: &usize| {
            let service = index % self.args.services;
            service.is_multiple_of(self.args.namespaces)
        };
        match self.args.scoped {
            true => streams.filter(same).count(),
            false => self.args.streams,
        }
    }

    /// Another endpoint of a service.
    pub(super) fn endpoint(&self, change: usize) -> Result<Change, Box<dyn Error>> {
        Ok(Change {
            ty: ENDPOINTS,
            name: format!("outbound|{}||{}", self.port(0), self.host(0)),
            seen_by: self.seen_by(),
            file: self.file("service", 0),
            text: self.service(0, change + 1),
        })
    }

    /// Another timeout of a rule.
    pub(super) fn rule(&self, change: usize) -> Result<Change, Box<dyn Error>> {
        Ok(Change {
            ty: ROUTES,
            name: self.port(0).to_string(),
            seen_by: self.seen_by(),
            file: self.file("rule", 0),
            text: self.virtual_service(change + 1),
        })
    }

    /// A comment in a file.
    pub(super) fn comment(&self) -> Result<(), Box<dyn Error>> {
        let file = self.file("scope-comment", 0);
        fs::write(file, "# nothing\n")?;
        let text = fs::read_to_string(self.file("rule", 0))?;
        fs::write(self.file("rule", 0), format!("# the same\n{text}"))?;
        Ok(())
    }
}
