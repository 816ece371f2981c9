//! HTTP/3: several requests at a time on each connection, each connection on a socket of its own.

use super::Shared;
use super::target::Target;
use bytes::Buf;
use h3::client::SendRequest;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

type Sender = SendRequest<h3_quinn::OpenStreams, bytes::Bytes>;

/// Asks whenever a request is due, on as many streams, until the time is over.
pub(super) async fn serve(shared: Rc<Shared>, streams: usize) {
    loop {
        match open(&shared.target).await {
            Ok((_endpoint, sender)) => {
                let asking: Vec<_> = (0..streams)
                    .map(|_| tokio::task::spawn_local(stream(Rc::clone(&shared), sender.clone())))
                    .collect();
                let mut over = true;
                for stream in asking {
                    over &= stream.await.unwrap_or(true);
                }
                if over {
                    return;
                }
            }
            Err(error) => {
                let Some(due) = shared.schedule.next().await else {
                    return;
                };
                shared.tally.failed(due, &error);
            }
        }
    }
}

/// Connects, and shakes hands. The endpoint has to outlive the connection.
async fn open(target: &Target) -> Result<(quinn::Endpoint, Sender), Box<dyn Error>> {
    let config = target.tls.as_deref().ok_or("HTTP/3 needs https")?.clone();
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(config)?;
    let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
    let mut endpoint = quinn::Endpoint::client(any)?;
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    let name = target.name.to_str();
    let connection = endpoint.connect(target.address, &name)?.await?;
    let (mut driver, sender) = h3::client::new(h3_quinn::Connection::new(connection)).await?;
    // Its end is seen by every stream of it.
    tokio::task::spawn_local(async move { drop(driver.wait_idle().await) });
    Ok((endpoint, sender))
}

/// One stream after the other; whether it ended because the time is over.
async fn stream(shared: Rc<Shared>, mut sender: Sender) -> bool {
    while let Some(due) = shared.schedule.next().await {
        if !ask(&shared, &mut sender, due).await {
            return false;
        }
    }
    true
}

/// One request; whether the connection is still good.
async fn ask(shared: &Shared, sender: &mut Sender, due: Instant) -> bool {
    if shared.abandons() {
        return leave(shared, sender, due).await;
    }
    match exchange(&shared.target, sender).await {
        Ok((status, bytes)) => {
            shared.tally.answered(due, status, bytes);
            true
        }
        Err(error) => {
            shared.tally.failed(due, &error);
            false
        }
    }
}

/// Asks, and resets the stream before the answer.
async fn leave(shared: &Shared, sender: &mut Sender, due: Instant) -> bool {
    let asked = async {
        let mut request = http::Request::new(());
        *request.uri_mut() = shared.target.uri.clone();
        let mut stream = sender.send_request(request).await?;
        tokio::task::yield_now().await;
        stream.stop_sending(h3::error::Code::H3_REQUEST_CANCELLED);
        stream.stop_stream(h3::error::Code::H3_REQUEST_CANCELLED);
        Ok::<_, h3::error::StreamError>(())
    };
    match asked.await {
        Ok(()) => {
            shared.tally.abandoned(due);
            true
        }
        Err(error) => {
            shared.tally.failed(due, &error);
            false
        }
    }
}

async fn exchange(
    target: &Target,
    sender: &mut Sender,
) -> Result<(u16, usize), h3::error::StreamError> {
    let mut request = http::Request::new(());
    *request.uri_mut() = target.uri.clone();
    let mut stream = sender.send_request(request).await?;
    stream.finish().await?;
    let response = stream.recv_response().await?;
    let mut bytes = 0;
    while let Some(data) = stream.recv_data().await? {
        bytes += data.remaining();
    }
    Ok((response.status().as_u16(), bytes))
}
