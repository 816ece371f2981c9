//! Everything that is exported at one moment: the workers' counters and the process's own facts.

use sallyport_config::diag::Level;
use sallyport_config::ir::{Certificate, CertificateSource, Snapshot};
use sallyport_core::ocsp;

use crate::certificate;
use crate::process::Gateway;
use crate::stats::Report;
use crate::stats::prometheus::{Facts, Source};

/// Collects from the workers and adds what the side thread knows.
pub(super) async fn scrape(gateway: &Gateway) -> (Report, Facts) {
    let (report, silent) = gateway.collect().await;
    let status = gateway.status();
    let (findings, problems) = gateway.findings();
    let count = |level: Level| {
        let problems = problems.iter().filter(|problem| problem.level == level);
        findings.count(level) + problems.count()
    };
    let facts = Facts {
        source: Source::of(&gateway.options.node),
        clusters: gateway.commons.facts(),
        forgotten: gateway.commons.forgotten(),
        generation: status.id,
        generation_age: status.age.as_secs(),
        rejected: status.rejected,
        objects_rejected: findings.retained.len(),
        diagnostics: vec![
            ("error", count(Level::Error)),
            ("warning", count(Level::Warning)),
            ("info", count(Level::Info)),
        ],
        certificates: expiries(&gateway.generation().snapshot),
        staples: staples(&gateway.generation().snapshot),
        driver: gateway.driver.to_string(),
        workers: gateway.workers(),
        silent,
        uptime: gateway.started.elapsed().as_secs(),
        draining: gateway.draining.get(),
        memory: gateway.load.memory(),
        pressure: gateway.load.pressure() as u8,
        lookups: gateway.names.counts(),
        names: gateway.names.status().len(),
        names_failing: failing(gateway),
        fetches: gateway.keys.counts(),
        key_sets: gateway.keys.status(),
        log_failed: gateway.log_writer.failed_lines(),
        control: gateway.control.as_ref().map(|status| status.facts()),
    };
    (report, facts)
}

/// Names whose last question gave no address.
fn failing(gateway: &Gateway) -> usize {
    let names = gateway.names.status();
    names.iter().filter(|name| name.failures > 0).count()
}

/// Seconds until the leaf of each certificate expires.
fn expiries(snapshot: &Snapshot) -> Vec<(String, i64)> {
    let now = certificate::now();
    let mut list = Vec::new();
    for certificate in &snapshot.certificates {
        if let CertificateSource::Inline { chain, .. } = &certificate.source
            && let Some(leaf) = certificate::read_chain(chain).first()
            && list.iter().all(|(name, _)| *name != certificate.name)
        {
            list.push((certificate.name.clone(), leaf.not_after - now));
        }
    }
    list
}

/// Seconds until the staple of each certificate expires, where it has one that is about it.
fn staples(snapshot: &Snapshot) -> Vec<(String, i64)> {
    let now = certificate::now();
    let until = |certificate: &Certificate| {
        let CertificateSource::Inline { chain, .. } = &certificate.source else {
            return None;
        };
        let leaf = certificate::read_chain(chain).into_iter().next()?;
        let validity = ocsp::read(certificate.staple.as_deref()?, &leaf.serial).ok()?;
        Some((certificate.name.clone(), validity.until - now))
    };
    snapshot.certificates.iter().filter_map(until).collect()
}
