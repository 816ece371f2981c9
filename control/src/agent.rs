//! A meshed workload on a bare host in one command: `sallyport-control agent ... -- envoy`.
//!
//! The agent makes a key, gets it certified, writes Envoy's bootstrap, gives Envoy its certificate
//! and the roots over a unix socket, renews them, and drains Envoy when it is asked to stop. Envoy
//! itself connects to the control process, with that certificate: the agent relays nothing, so a
//! workload is served on when the agent is busy or gone.

pub(crate) mod args;
mod bootstrap;
mod certificate;
mod envoy;
mod sds;
mod status;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::log;
use args::Options;
use certificate::Held;
use envoy::Envoy;

/// First pause after a certificate could not be had; it doubles.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Longest pause.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Runs until Envoy ends or the agent is asked to stop.
pub(crate) fn run(options: Options) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(serve(&options)),
        Err(error) => Err(format!("cannot start the runtime: {error}")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error("agent", error);
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: &Options) -> Result<(), String> {
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|e| format!("cannot take signals: {e}"))?;
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(|e| format!("cannot take signals: {e}"))?;
    let run_dir = options.make_run_dir()?;
    let held = tokio::select! {
        held = first(options) => held?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let secrets = watch::Sender::new(Arc::new(sds::resources(&held)));
    let socket = run_dir.join("sds.sock");
    sds::serve(&socket, secrets.subscribe())?;
    let bootstrap = bootstrap::write(options, &run_dir, &socket, &held.identity)?;
    let status = status::bind(options)?;
    let mut envoy = Envoy::start(options, &bootstrap)?;
    let admin = envoy.admin(&run_dir).await?;
    tokio::spawn(status::serve(status, admin));
    log::info(
        "agent",
        format_args!("{} serves; admin at {admin}", held.identity),
    );
    let renewing = renew(options, held, &secrets);
    tokio::select! {
        ended = envoy.ended() => Err(format!("Envoy ended: {ended}")),
        () = renewing => Ok(()),
        _ = terminate.recv() => envoy.drain(options.drain_time, admin).await,
        _ = interrupt.recv() => envoy.drain(options.drain_time, admin).await,
    }
}

/// The first certificate: the one of the run before, if it is good for a while, or a new one. Tries
/// until there is one: a control process that comes later than its workloads is no reason to fail.
async fn first(options: &Options) -> Result<Held, String> {
    let kept = options.state_dir.as_deref().and_then(certificate::load);
    let kept = kept.filter(|held| held.is_of(options) && !held.is_old());
    let join = certificate::Join::new(options)?;
    let mut pause = RETRY_FIRST;
    loop {
        let got = match &kept {
            Some(held) if !held.is_over() => join.renewed(held).await,
            _ => join.joined().await,
        };
        match (got, &kept) {
            (Ok(held), _) => {
                certificate::save(options, &held);
                return Ok(held);
            }
            (Err(error), Some(held)) if !held.is_over() => {
                log::warn(
                    "agent",
                    format_args!("{error}; the kept certificate serves"),
                );
                return Ok(held.clone());
            }
            (Err(error), _) => log::warn("agent", format_args!("no certificate yet: {error}")),
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// Renews the certificate at half of its life, for ever.
async fn renew(
    options: &Options,
    mut held: Held,
    secrets: &watch::Sender<Arc<crate::resources::Resources>>,
) {
    let mut pause = RETRY_FIRST;
    let mut at = Instant::now() + held.renew_in();
    loop {
        sleep_until(at).await;
        let join = certificate::Join::new(options);
        let got = match join {
            Ok(join) if held.is_over() => join.joined().await,
            Ok(join) => join.renewed(&held).await,
            Err(error) => Err(error),
        };
        match got {
            Ok(new) => {
                certificate::save(options, &new);
                secrets.send_replace(Arc::new(sds::resources(&new)));
                log::info("agent", "the certificate is renewed");
                held = new;
                pause = RETRY_FIRST;
                at = Instant::now() + held.renew_in();
            }
            Err(error) => {
                log::warn(
                    "agent",
                    format_args!("the certificate is not renewed: {error}"),
                );
                at = Instant::now() + pause;
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
    }
}
