//! HTTP/2: several requests at a time on each connection.

use super::Shared;
use super::target::Target;
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpStream;

/// Window of each stream and of the connection, in bytes: wide enough never to count.
const WINDOW: u32 = 16 * 1024 * 1024;

/// Asks whenever a request is due, on as many streams, until the time is over.
pub(super) async fn serve(shared: Rc<Shared>, streams: usize) {
    let mut due = None;
    loop {
        match open(&shared.target).await {
            Ok(sender) => {
                if let Some(due) = due.take() {
                    ask(&shared, sender.clone(), due).await;
                }
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
                due = shared.schedule.next().await;
                let Some(due) = due.take() else { return };
                shared.tally.failed(due, &error);
            }
        }
    }
}

/// Connects, and shakes hands.
async fn open(target: &Target) -> io::Result<SendRequest<Bytes>> {
    let socket = TcpStream::connect(target.address).await?;
    socket.set_nodelay(true)?;
    match &target.tls {
        None => start(socket).await,
        Some(config) => {
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
            start(connector.connect(target.name.clone(), socket).await?).await
        }
    }
}

async fn start<T>(stream: T) -> io::Result<SendRequest<Bytes>>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let mut builder = Builder::new();
    builder.initial_window_size(WINDOW);
    builder.initial_connection_window_size(WINDOW);
    let (sender, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
    // Its end is seen by every stream of it.
    tokio::task::spawn_local(async move { drop(connection.await) });
    Ok(sender)
}

/// One stream after the other; whether it ended because the time is over.
async fn stream(shared: Rc<Shared>, sender: SendRequest<Bytes>) -> bool {
    while let Some(due) = shared.schedule.next().await {
        if !ask(&shared, sender.clone(), due).await {
            return false;
        }
    }
    true
}

/// One request; whether the connection is still good.
async fn ask(shared: &Shared, sender: SendRequest<Bytes>, due: Instant) -> bool {
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
async fn leave(shared: &Shared, sender: SendRequest<Bytes>, due: Instant) -> bool {
    let asked = async {
        let mut request = http::Request::new(());
        *request.uri_mut() = shared.target.uri.clone();
        let (_, mut stream) = sender.ready().await?.send_request(request, true)?;
        // The request has to be on its way, or nobody ever hears of it.
        tokio::task::yield_now().await;
        stream.send_reset(h2::Reason::CANCEL);
        Ok::<_, h2::Error>(())
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

async fn exchange(target: &Target, sender: SendRequest<Bytes>) -> Result<(u16, usize), h2::Error> {
    let mut request = http::Request::new(());
    *request.uri_mut() = target.uri.clone();
    let mut sender = sender.ready().await?;
    let (response, _) = sender.send_request(request, true)?;
    let response = response.await?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(data) = body.data().await {
        let count = data?.len();
        bytes += count;
        body.flow_control().release_capacity(count)?;
    }
    Ok((status, bytes))
}
