//! A meshed workload on a bare host in one command: `sallyport-control agent ... -- envoy`.
//!
//! The agent makes a key, gets it certified, writes Envoy's bootstrap, gives Envoy its certificate
//! and the roots over a unix socket, renews them, and drains Envoy when it is asked to stop. Envoy
//! itself connects to the control process, with that certificate: the agent relays nothing, so a
//! workload is served on when the agent is busy or gone.

pub(crate) mod args;
mod bootstrap;
mod envoy;
mod files;
mod health;
mod probe;
mod sds;
mod status;

use std::process::ExitCode;
use std::sync::Arc;

use sallyport_identity::{Held, first, renew};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use crate::log;
use args::Options;
use envoy::Envoy;

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
    let signals = |kind| signal(kind).map_err(|error| format!("cannot take signals: {error}"));
    let mut terminate = signals(SignalKind::terminate())?;
    let mut interrupt = signals(SignalKind::interrupt())?;
    let mut hangup = signals(SignalKind::hangup())?;
    let run_dir = options.make_run_dir()?;
    let member = options.member();
    let held = tokio::select! {
        held = first(&member, warn) => held?,
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
    let now = watch::Sender::new(held.clone());
    let take = |new: &Held| {
        now.send_replace(new.clone());
        secrets.send_replace(Arc::new(sds::resources(new)));
        log::info("agent", "the certificate is renewed");
    };
    let asked = Notify::new();
    let renewing = renew(&member, held, &asked, take, warn);
    let asking = async {
        while hangup.recv().await.is_some() {
            log::info("agent", "SIGHUP: asking for a new certificate");
            asked.notify_one();
        }
    };
    let node = bootstrap::node(options);
    let telling = async {
        match options.workload_group {
            Some(_) => health::run(&member, now.subscribe(), &node, options.exec_probes).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = envoy.ended() => Err(format!("Envoy ended: {ended}")),
        () = renewing => Ok(()),
        () = telling => Ok(()),
        () = asking => Ok(()),
        _ = terminate.recv() => envoy.drain(options.drain_time, admin).await,
        _ = interrupt.recv() => envoy.drain(options.drain_time, admin).await,
    }
}

fn warn(text: String) {
    log::warn("agent", text);
}
