//! Messages that come back: over a WebSocket, or over nothing but TCP.

use super::Shared;
use super::h1::{Bytes, connect};
use super::target::Target;
use std::io;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes of a message's payload.
const PAYLOAD_BYTES: usize = 64;
/// Bytes of the head of the answer to an upgrade.
const HEAD_MAX: usize = 8 * 1024;

/// Sends a message whenever one is due, until the time is over.
pub(super) async fn serve(shared: Rc<Shared>, websocket: bool) {
    let message = message(websocket);
    let mut kept = None;
    while let Some(due) = shared.schedule.next().await {
        match turn(&shared.target, kept.take(), &message, websocket).await {
            Ok(_) if shared.abandons() => shared.tally.abandoned(due),
            Ok(stream) => {
                shared.tally.answered(due, 200, message.len());
                kept = Some(stream).filter(|_| !shared.target.fresh);
            }
            Err(error) => {
                shared.tally.failed(due, &error);
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn turn(
    target: &Target,
    kept: Option<Box<dyn Bytes>>,
    message: &[u8],
    websocket: bool,
) -> io::Result<Box<dyn Bytes>> {
    let mut stream = match kept {
        Some(stream) => stream,
        None if websocket => upgrade(target).await?,
        None => connect(target).await?,
    };
    stream.write_all(message).await?;
    stream.flush().await?;
    let mut back = [0; PAYLOAD_BYTES * 2];
    let back = back.get_mut(..message.len()).unwrap_or_default();
    stream.read_exact(back).await?;
    if back != message {
        return Err(io::Error::other("another message came back"));
    }
    Ok(stream)
}

/// A masked binary frame, or the payload alone.
fn message(websocket: bool) -> Vec<u8> {
    let mut message = match websocket {
        // FIN and binary; masked, with a length below 126; a mask of zeros (RFC 6455 §5.2)
        true => vec![0x82, 0x80 | 64, 0, 0, 0, 0],
        false => Vec::new(),
    };
    message.resize(message.len() + PAYLOAD_BYTES, b'x');
    message
}

/// Connects, and becomes a WebSocket.
async fn upgrade(target: &Target) -> io::Result<Box<dyn Bytes>> {
    let mut stream = connect(target).await?;
    stream.write_all(&target.request).await?;
    stream.flush().await?;
    let mut head = Vec::with_capacity(HEAD_MAX);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_MAX {
            return Err(io::Error::other("the answer's head is too long"));
        }
        head.push(stream.read_u8().await?);
    }
    if !head.starts_with(b"HTTP/1.1 101 ") {
        return Err(io::Error::other("the upgrade was refused"));
    }
    Ok(stream)
}
