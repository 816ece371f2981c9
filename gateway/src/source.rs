//! From files to a snapshot: read, parse, check, keep the last good state of what is broken, index,
//! compile.
//!
//! Broken input is reported, never fatal: an object with errors keeps its last good state, all else
//! goes on. Only what would leave nothing at all to serve is refused as a whole.

mod bundles;
pub(crate) mod certificates;
pub(crate) mod files;
mod findings;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use sallyport_config::api::kube;
use sallyport_config::diag::{Level, codes};
use sallyport_config::document::{self, Document, Published};
use sallyport_config::ir::{Origin, Snapshot};
use sallyport_config::memory::Memory;
use sallyport_config::message::{Bytes, SecretText};
use sallyport_config::resource::{Key, Kind, Meta, Resource, ResourceSet, Spec};
use sallyport_config::retain::LastGood;
use sallyport_config::source::{SourceMap, Span};
use sallyport_config::view::View;
use sallyport_config::yaml::{Node, Value};
use sallyport_config::{Diagnostic, Diagnostics, pipeline};
use sallyport_identity::Held;

use crate::args::Options;
use crate::log;
use crate::state::State;
use certificates::{Credential, KeyPairs, STAPLE};
use files::{Files, Texts};

pub(crate) use findings::{Findings, Problem, problem_json};

/// Suffix of Kubernetes' service names.
const DOMAIN_SUFFIX: &str = "cluster.local";
/// What to do about a certificate that cannot be used.
const UNUSABLE_HELP: &str = "give a PEM chain and the PEM key of its first certificate; until then \
    handshakes use the last good pair, or fail if there was none";

/// Refused objects that a control process is told about.
const REFUSALS_MAX: usize = 5;

/// What one run over the files gave.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// What to serve; `None` when it was refused as a whole and the last good one stays.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    /// What is wrong.
    pub(crate) findings: Arc<Findings>,
    /// Why it cannot be used as it is: an object was refused, or there is nothing to serve.
    pub(crate) refused: Option<String>,
    /// Directories in which a change of the input would show.
    pub(crate) directories: BTreeSet<PathBuf>,
    /// When reading began.
    pub(crate) begun: Instant,
}

/// The way from files to a snapshot, with the memory of what was good last. Not to be printed: it
/// holds the texts of Secrets.
pub(crate) struct Pipeline {
    origin: From,
    credentials: Option<PathBuf>,
    view: View,
    key_pairs: KeyPairs,
    last_good: LastGood,
    state: Option<State>,
    memory: Option<(Input, Arc<Built>)>,
    documents: Memory,
}

/// Where texts come from.
enum From {
    /// The user's files.
    Files(Vec<PathBuf>, Files),
    /// A control process.
    Control(Vec<Document>),
}

impl From {
    fn read(&mut self) -> Texts {
        match self {
            Self::Files(paths, files) => files.read(paths),
            Self::Control(documents) => Texts {
                files: document::files(&*documents),
                ..Texts::default()
            },
        }
    }
}

/// What is compiled.
#[derive(PartialEq, Eq)]
struct Input {
    files: Vec<(String, String)>,
    credentials: Vec<Credential>,
}

impl Pipeline {
    /// Prepares to read; remembers what was good before a restart. A state directory that cannot
    /// be used costs that memory only.
    pub(crate) fn new(options: &Options) -> Self {
        let usable = |directory: &PathBuf| {
            let mut state = State::open(directory)?;
            let last_good = state.load().unwrap_or_else(|error| {
                log::warn("state", error);
                LastGood::default()
            });
            Ok((state, last_good))
        };
        let opened = options.state_dir.as_ref().map(usable).transpose();
        let opened = opened.unwrap_or_else(|error: std::io::Error| {
            log::warn("state", format_args!("--state-dir cannot be used: {error}"));
            None
        });
        let (state, last_good) = opened.unzip();
        let last_good = last_good.unwrap_or_default();
        let origin = match &options.control {
            Some(_) => {
                let known = last_good.documents().into_iter();
                From::Control(known.map(|one| one.document).collect())
            }
            None => From::Files(options.config.clone(), Files::default()),
        };
        Self {
            origin,
            credentials: options.credentials.clone(),
            view: view(options),
            key_pairs: KeyPairs::new(options.identity.clone()),
            last_good,
            state,
            memory: None,
            documents: Memory::default(),
        }
    }

    /// Directories in which the user's changes show, known before anything is read.
    pub(crate) fn directories(&self) -> BTreeSet<PathBuf> {
        let mut directories = BTreeSet::new();
        let paths = match &self.origin {
            From::Files(paths, _) => paths.as_slice(),
            From::Control(_) => &[],
        };
        for path in paths.iter().chain(&self.credentials) {
            files::watch_path(&mut directories, path);
        }
        directories
    }

    /// What is good, as a control process names it.
    pub(crate) fn documents(&self) -> Vec<Published> {
        self.last_good.documents()
    }

    /// Takes what a control process sent in place of what it sent before.
    pub(crate) fn receive(&mut self, documents: Vec<Document>) {
        self.origin = From::Control(documents);
    }

    /// Takes the workload's certificate in place of the one before.
    pub(crate) fn identify(&mut self, held: &Held) {
        self.key_pairs.identify(held);
    }

    /// Reads everything and compiles it.
    pub(crate) fn load(&mut self) -> Loaded {
        let begun = Instant::now();
        let mut problems = Vec::new();
        let texts = self.origin.read();
        problems.extend(texts.problems);
        let mut directories = texts.directories;
        let credentials = match &self.credentials {
            Some(directory) => {
                let found = self.key_pairs.read_directory(directory);
                problems.extend(found.problems);
                directories.extend(found.directories);
                found.credentials
            }
            None => Vec::new(),
        };
        let input = Input {
            files: texts.files,
            credentials,
        };
        let Some(built) = self.built(input) else {
            let message = "reading the configuration failed: this is a defect of the gateway";
            problems.push(Problem::of(Level::Error, "configuration", message));
            let findings = Findings {
                problems,
                ..Findings::default()
            };
            return refused(findings, directories, begun);
        };
        let mut findings = Findings {
            diagnostics: built.diagnostics.clone(),
            sources: built.sources.clone(),
            problems,
            retained: built.retained.clone(),
        };
        if built.set_is_empty {
            let (level, message) = if !self.last_good.is_empty() {
                let message = "nothing is left to serve; what was served stays";
                (Level::Error, message)
            } else {
                match self.origin {
                    From::Files(..) => (Level::Error, "there is nothing to serve"),
                    // which is how every first start begins
                    From::Control(_) => {
                        (Level::Warning, "nothing came from the control process yet")
                    }
                }
            };
            let problem = Problem::of(level, "configuration", message);
            findings.problems.push(problem);
            return refused(findings, directories, begun);
        }
        let mut snapshot = built.snapshot.clone();
        let found = self.key_pairs.read_into(&mut snapshot);
        findings.problems.extend(found.problems);
        directories.extend(found.directories);
        let unusable = found.unusable.into_iter();
        let unusable = unusable.filter_map(|(index, why)| built.unusable(index, &why));
        let mut diagnostics = std::mem::take(&mut findings.diagnostics);
        diagnostics.extend(Diagnostics::from_iter(unusable));
        findings.diagnostics = diagnostics.sorted();
        self.last_good = built.last_good.clone();
        Loaded {
            snapshot: Some(Arc::new(snapshot)),
            findings: Arc::new(findings),
            refused: built.refused.clone(),
            directories,
            begun,
        }
    }

    /// What the input compiles to. The same input again is not compiled again: a directory may hold
    /// other files that change all the time. `None`: the compiler has a defect, which must not end
    /// a gateway that serves.
    fn built(&mut self, input: Input) -> Option<Arc<Built>> {
        if let Some((last, built)) = &self.memory
            && *last == input
        {
            return Some(Arc::clone(built));
        }
        // which is lost with a defect
        let mut documents = std::mem::take(&mut self.documents);
        let build = || self.build(&input.files, input.credentials.clone(), &mut documents);
        let built = Arc::new(catch_unwind(AssertUnwindSafe(build)).ok()?);
        self.documents = documents;
        self.memory = Some((input, Arc::clone(&built)));
        Some(built)
    }

    /// Puts what is good on disk, once it is served.
    pub(crate) fn save(&mut self) {
        if let Some(state) = &mut self.state
            && let Err(error) = state.save(&self.last_good)
        {
            log::warn(
                "state",
                format_args!("cannot keep the last good configuration: {error}"),
            );
        }
    }

    fn build(
        &self,
        files: &[(String, String)],
        credentials: Vec<Credential>,
        documents: &mut Memory,
    ) -> Built {
        let mut last_good = self.last_good.clone();
        let mut accepted = pipeline::accept_new(files, &mut last_good, documents);
        let set_is_empty = accepted.set.is_empty();
        let refused = refusal(&accepted.diagnostics);
        for credential in credentials {
            let (set, sources) = (&mut accepted.set, &mut accepted.sources);
            add_secret(set, sources, &self.view.namespace, credential);
        }
        let compiled = pipeline::finish(accepted, &self.view);
        let certificates = compiled.snapshot.certificates.iter();
        Built {
            certificates: certificates
                .map(|certificate| asked_for(&certificate.origin, &compiled.set))
                .collect(),
            snapshot: compiled.snapshot,
            diagnostics: compiled.diagnostics,
            sources: compiled.sources,
            retained: compiled
                .retained
                .into_iter()
                .map(|retained| retained.key.to_string())
                .collect(),
            last_good,
            set_is_empty,
            refused,
        }
    }
}

/// Which objects cannot be used as they are, and why, in a line.
fn refusal(diagnostics: &Diagnostics) -> Option<String> {
    let errors = diagnostics.iter().filter(|d| d.level == Level::Error);
    let one = |d: &Diagnostic| match &d.resource {
        Some(key) => format!("{key}: {}", d.message),
        None => d.message.clone(),
    };
    let said: Vec<String> = errors.take(REFUSALS_MAX).map(one).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// What compiling gave.
struct Built {
    snapshot: Snapshot,
    /// The field that asked for each certificate of the snapshot.
    certificates: Vec<Option<(Key, Span)>>,
    diagnostics: Diagnostics,
    sources: SourceMap,
    retained: Vec<String>,
    last_good: LastGood,
    set_is_empty: bool,
    refused: Option<String>,
}

impl Built {
    /// Says at its place that a certificate of the snapshot cannot be used.
    fn unusable(&self, index: usize, why: &str) -> Option<Diagnostic> {
        let certificate = self.snapshot.certificates.get(index)?;
        let message = format!("{} cannot be used: {why}", certificate.name);
        let finding = Diagnostic::new(codes::IST0161, message)
            .path(certificate.origin.path.as_str())
            .help(UNUSABLE_HELP);
        let place = self.certificates.get(index).cloned().flatten();
        Some(match place {
            Some((key, span)) => finding.on(&key).at(span),
            None => finding,
        })
    }
}

/// Where a certificate was asked for.
fn asked_for(origin: &Origin, set: &ResourceSet) -> Option<(Key, Span)> {
    let mut kinds = Kind::ALL.iter().copied();
    let key = Key {
        kind: kinds.find(|kind| kind.as_str() == origin.kind)?,
        namespace: Arc::clone(&origin.namespace),
        name: Arc::clone(&origin.name),
    };
    let span = set.get(&key)?.span_at(&origin.path);
    Some((key, span))
}

fn refused(findings: Findings, directories: BTreeSet<PathBuf>, begun: Instant) -> Loaded {
    Loaded {
        snapshot: None,
        refused: findings.problems.last().map(|p| p.message.clone()),
        findings: Arc::new(findings),
        directories,
        begun,
    }
}

/// Who this gateway is, to the compiler. Ports that the system is to choose keep their declared
/// number there.
fn view(options: &Options) -> View {
    let ports = options.port_map.iter().filter(|(_, to)| **to != 0);
    View {
        namespace: options.node.namespace.clone(),
        labels: options.node.labels.clone(),
        name: options.node.name.clone(),
        cluster: options.node.cluster.clone(),
        network: options.node.network.clone(),
        locality: options.node.locality.clone(),
        domain_suffix: DOMAIN_SUFFIX.to_owned(),
        port_map: ports.map(|(from, to)| (*from, *to)).collect(),
        http10: false,
    }
}

/// A directory of key files as the Secret that it stands for. A Secret object of the same name in
/// the configuration comes first.
fn add_secret(
    set: &mut ResourceSet,
    sources: &mut SourceMap,
    namespace: &str,
    credential: Credential,
) {
    let key = Key {
        kind: Kind::Secret,
        namespace: namespace.into(),
        name: credential.name.as_str().into(),
    };
    if set.get(&key).is_some() {
        return;
    }
    // Without the text, so that no diagnostic can show it.
    let file = sources.add(credential.directory.display().to_string(), "");
    let span = Span {
        file,
        ..Span::default()
    };
    let members = credential.members.into_iter();
    let staple = credential.staple.into_iter();
    let secret = kube::Secret {
        data: staple
            .map(|bytes| (STAPLE.to_owned(), Bytes(bytes)))
            .collect(),
        string_data: members
            .map(|(name, text)| (name, SecretText(text)))
            .collect(),
        ..kube::Secret::default()
    };
    let meta = Meta {
        name: key.name,
        namespace: key.namespace,
        labels: Default::default(),
        annotations: Default::default(),
        creation: None,
        order: u64::MAX,
    };
    let node = Node {
        value: Value::Null,
        span,
    };
    let spec = Spec::Secret(Arc::new(secret));
    set.insert(Resource::new(meta, spec, Arc::new(node), file));
}

#[cfg(test)]
mod tests;
