//! How many signing requests are answered in a second.

use super::process::Process;
use crate::args::Control;
use rcgen::{CertificateParams, KeyPair};
use sallyport_wire::istio_ca::{IstioCertificateRequest, create_certificate};
use std::error::Error;
use std::time::Instant;
use tonic::Request;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

/// Requests at a time.
const AT_A_TIME: usize = 32;

/// Asks again and again, with one key, as a token certifies one; how many are issued in a second.
pub(super) async fn run(args: &Control, process: &Process) -> Result<f64, Box<dyn Error>> {
    let key = KeyPair::generate()?;
    let csr = CertificateParams::default()
        .serialize_request(&key)?
        .pem()?;
    let bearer = format!("Bearer {}", process.token()?);
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(process.root()?))
        .domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{}", process.tls()))?;
    let channel = endpoint.tls_config(tls)?.connect().await?;
    let begun = Instant::now();
    let each = args.certificates / AT_A_TIME;
    let asking: Vec<_> = (0..AT_A_TIME)
        .map(|_| {
            let (channel, csr, bearer) = (channel.clone(), csr.clone(), bearer.clone());
            tokio::task::spawn_local(async move {
                for _ in 0..each {
                    let mut request = Request::new(IstioCertificateRequest {
                        csr: csr.clone(),
                        ..IstioCertificateRequest::default()
                    });
                    let value = bearer.parse().map_err(|_| "a token that is no header")?;
                    request.metadata_mut().insert("authorization", value);
                    let answer = create_certificate(channel.clone(), request).await;
                    answer.map_err(|_| "a request was refused")?;
                }
                Ok::<(), &'static str>(())
            })
        })
        .collect();
    for task in asking {
        task.await??;
    }
    let done = f64::from(u32::try_from(each * AT_A_TIME)?);
    Ok(done / begun.elapsed().as_secs_f64())
}
