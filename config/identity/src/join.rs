//! How a workload becomes a member of a mesh: a key, a request, and the certificate for it, by join
//! token at first and by the certificate that there is from then on.

use std::path::PathBuf;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use sallyport_wire::istio_ca::{IstioCertificateRequest, create_certificate};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Request;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as TlsIdentity};

use crate::{Held, private};

/// A call must be answered within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// A connection is asked in this interval whether it lives.
const PING_EVERY: Duration = Duration::from_secs(30);
/// One that does not answer within this is given up.
const PING_WITHIN: Duration = Duration::from_secs(20);
/// First pause after a certificate could not be had; it doubles.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest pause.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Who joins, and where.
#[derive(Debug, Clone)]
pub struct Member {
    /// The control process, `https://HOST:15012`.
    pub control: String,
    /// Roots that it is verified with, at first.
    pub root_cert: PathBuf,
    /// Join token; not needed while a kept certificate is good.
    pub token: Option<PathBuf>,
    /// Namespace of the workload.
    pub namespace: String,
    /// Service account of the workload.
    pub service_account: String,
    /// How long a certificate is to be good; the server's default otherwise.
    pub ttl: Option<Duration>,
    /// Where key and certificate are kept.
    pub state_dir: Option<PathBuf>,
}

impl Member {
    /// Whether a certificate is this workload's.
    #[must_use]
    pub fn is_of(&self, held: &Held) -> bool {
        held.identity.namespace == self.namespace
            && held.identity.service_account == self.service_account
    }

    /// What the last run kept, if it is good for a while.
    #[must_use]
    pub fn kept(&self) -> Option<Held> {
        let kept = self.state_dir.as_deref().and_then(Held::load);
        kept.filter(|held| self.is_of(held) && !held.is_old())
    }

    fn save(&self, held: &Held, warn: impl Fn(String)) {
        let saved = self
            .state_dir
            .as_deref()
            .map(|directory| held.save(directory));
        if let Some(Err(error)) = saved {
            warn(format!("--state-dir cannot be used: {error}"));
        }
    }
}

/// The first certificate: the one of the run before, if it is good for a while, or a new one. Tries
/// until there is one: a control process that comes later than its workloads is no reason to fail.
/// May be cancelled.
///
/// # Errors
/// No key can be made.
pub async fn first(member: &Member, warn: impl Fn(String)) -> Result<Held, String> {
    let kept = member.kept();
    let key = Key::new(member)?;
    let mut pause = RETRY_FIRST;
    loop {
        let got = match &kept {
            Some(held) if !held.is_over() => key.renewed(held).await,
            _ => key.joined().await,
        };
        match (got, &kept) {
            (Ok(held), _) => {
                member.save(&held, &warn);
                return Ok(held);
            }
            (Err(error), Some(held)) if !held.is_over() => {
                warn(format!("{error}; the kept certificate serves"));
                return Ok(held.clone());
            }
            (Err(error), _) => warn(format!("no certificate yet: {error}")),
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// Renews the certificate at half of its life and whenever it is `asked` to, for ever; each new one
/// goes to `take`. Who asks while a renewal goes on is given one more. May be cancelled.
pub async fn renew(
    member: &Member,
    mut held: Held,
    asked: &Notify,
    mut take: impl FnMut(&Held),
    warn: impl Fn(String),
) {
    let mut pause = RETRY_FIRST;
    let mut at = Instant::now() + held.renew_in();
    loop {
        // whether it was asked or it is time: a new one is due
        let _ = timeout_at(at, asked.notified()).await;
        let got = match Key::new(member) {
            Ok(key) if held.is_over() => key.joined().await,
            Ok(key) => key.renewed(&held).await,
            Err(error) => Err(error),
        };
        match got {
            Ok(new) => {
                member.save(&new, &warn);
                take(&new);
                held = new;
                pause = RETRY_FIRST;
                at = Instant::now() + held.renew_in();
            }
            Err(error) => {
                warn(format!("the certificate is not renewed: {error}"));
                at = Instant::now() + pause;
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}

/// A key that is to be certified. All calls with a token must be for the same key.
struct Key<'m> {
    member: &'m Member,
    key: String,
    csr: String,
}

impl<'m> Key<'m> {
    fn new(member: &'m Member) -> Result<Self, String> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| e.to_string())?;
        let csr = CertificateParams::default().serialize_request(&key);
        let csr = csr.and_then(|csr| csr.pem()).map_err(|e| e.to_string())?;
        Ok(Self {
            member,
            key: key.serialize_pem(),
            csr,
        })
    }

    /// Gets it certified by the join token.
    async fn joined(&self) -> Result<Held, String> {
        let path = self.member.token.as_ref().ok_or("there is no --token")?;
        let token = private::read(path);
        let token = token.map_err(|error| format!("{}: {error}", path.display()))?;
        let bearer = format!("Bearer {}", token.trim()).parse();
        let bearer = bearer.map_err(|_| format!("{} holds no token", path.display()))?;
        let mut request = self.request();
        request.metadata_mut().insert("authorization", bearer);
        self.call(request, None).await
    }

    /// Gets it certified by the certificate that there is.
    async fn renewed(&self, held: &Held) -> Result<Held, String> {
        self.call(self.request(), Some(held)).await
    }

    fn request(&self) -> Request<IstioCertificateRequest> {
        let ttl = self.member.ttl.unwrap_or_default().as_secs();
        let mut request = Request::new(IstioCertificateRequest {
            csr: self.csr.clone(),
            validity_duration: i64::try_from(ttl).unwrap_or_default(),
            metadata: None,
        });
        request.set_timeout(ANSWER_WITHIN);
        request
    }

    async fn call(
        &self,
        request: Request<IstioCertificateRequest>,
        held: Option<&Held>,
    ) -> Result<Held, String> {
        let calling = async {
            let channel = channel(self.member, held).await?;
            let answered = create_certificate(channel, request).await;
            answered.map_err(|status| format!("{}: {}", status.code(), status.message()))
        };
        let answered = tokio::time::timeout(ANSWER_WITHIN, calling).await;
        let mut chain = answered.map_err(|_| "no answer came")??.cert_chain;
        let roots = chain.pop().ok_or("the answer holds no certificate")?;
        let held = Held::read(self.key.clone(), chain.concat(), roots)?;
        match self.member.is_of(&held) {
            true => Ok(held),
            false => Err(format!("the certificate is of {}", held.identity)),
        }
    }
}

/// A connection to the control process, verified with the given roots and those of the certificate,
/// which it shows.
///
/// # Errors
/// The roots cannot be read, the URL is not one, or nobody answers there who is trusted.
pub async fn channel(member: &Member, held: Option<&Held>) -> Result<Channel, String> {
    let given = private::read(&member.root_cert);
    let mut roots = given.map_err(|error| format!("{}: {error}", member.root_cert.display()))?;
    if let Some(held) = held {
        // roots may have been replaced since the file was given
        roots.push('\n');
        roots.push_str(&held.roots);
    }
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(roots));
    if let Some(held) = held {
        tls = tls.identity(TlsIdentity::from_pem(&held.chain, &held.key));
    }
    let endpoint = Endpoint::from_shared(member.control.clone());
    let endpoint = endpoint.and_then(|endpoint| endpoint.tls_config(tls));
    let endpoint = endpoint.map_err(|error| format!("--control: {error}"))?;
    connect(endpoint, &member.control).await
}

async fn connect(endpoint: Endpoint, to: &str) -> Result<Channel, String> {
    let endpoint = endpoint
        .connect_timeout(ANSWER_WITHIN)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WITHIN);
    endpoint.connect().await.map_err(|error| {
        let cause = std::error::Error::source(&error);
        let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
        format!("cannot reach {to}: {error}{cause}")
    })
}

/// A connection to the plaintext port, `http://HOST:15010`.
///
/// # Errors
/// The URL is not one, or nobody answers there.
pub async fn plaintext(control: &str) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(control.to_owned());
    let endpoint = endpoint.map_err(|error| format!("--control: {error}"))?;
    connect(endpoint, control).await
}
