//! A connection that a proxy announces: who its client is comes first, then everything else.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use sallyport_config::ir::Millis;
use sallyport_core::flags::Flags;
use sallyport_core::proxy_protocol::parse;

use super::{Link, exchange, speak};
use crate::io::socket::Socket;
use crate::worker::{Guest, Worker};

/// A header must be there within this.
const HEADER_TIME: Millis = Millis(10_000);

/// Reads the header, then serves the connection of the client that it names.
pub(super) async fn serve(worker: Rc<Worker>, guest: Guest, mut socket: Socket, mut link: Link) {
    let begun = worker.timers.now();
    match receive(&worker, &mut socket, &mut link).await {
        Ok(early) => speak(worker, guest, socket, link, early),
        Err(Refused::Gone) => {}
        Err(Refused::Malformed) => {
            let details = "proxy_protocol_error";
            exchange::log_closed(&worker, &link, begun, Flags::DPE, details);
        }
    }
}

/// Why there is no header.
enum Refused {
    /// The peer left or took too long: so do those that only look whether somebody listens.
    Gone,
    /// It is none.
    Malformed,
}

/// What followed the header.
async fn receive(
    worker: &Rc<Worker>,
    socket: &mut Socket,
    link: &mut Link,
) -> Result<Vec<u8>, Refused> {
    let alarm = worker.timers.alarm();
    alarm.set(Some(worker.timers.now() + HEADER_TIME));
    // The parser refuses what is longer than the buffer.
    let mut received = worker.buffers.take();
    loop {
        socket.start_read(received);
        let done = poll_fn(|context| match socket.poll_read(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => alarm.poll(context).map(|()| None),
        });
        let (result, buffer) = done.await.ok_or(Refused::Gone)?;
        received = buffer;
        if !result.is_ok_and(|count| count > 0) {
            return Err(Refused::Gone);
        }
        match parse(&received) {
            Ok(Some(header)) => {
                if let Some(ends) = header.ends {
                    link.announce(ends);
                }
                received.drain(..header.len.min(received.len()));
                if received.is_empty() {
                    worker.buffers.give(received);
                    return Ok(Vec::new());
                }
                return Ok(received);
            }
            Ok(None) => {}
            Err(_) => return Err(Refused::Malformed),
        }
    }
}
