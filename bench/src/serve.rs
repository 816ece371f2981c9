//! The two far ends: an origin that is never the bottleneck, and the floor.

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{ListenerOpts, TcpListener, TcpStream};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;

/// Bytes read at once; enough for several pipelined request heads.
const READ_BYTES: usize = 16 * 1024;
/// Ring entries.
const RING_ENTRIES: u32 = 1024;

/// What to do with a connection.
#[derive(Debug, Clone)]
pub(crate) enum Service {
    /// Answer each request by these bytes; requests have no bodies.
    Answer(Rc<[u8]>),
    /// Send back whatever comes.
    Echo,
    /// Copy everything to this address and back.
    Relay(Rc<str>),
}

impl Service {
    /// Answers 200 with a body of `size` bytes.
    #[must_use]
    pub(crate) fn answer(size: usize) -> Self {
        let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + size, b'x');
        Self::Answer(answer.into())
    }
}

/// Serves `count` addresses from `first` on, all of one port, on one core until the process ends.
///
/// # Errors
/// io_uring is refused, or an address is.
pub(crate) fn run(first: SocketAddrV4, count: u32, service: Service) -> std::io::Result<()> {
    let mut ring = io_uring_06::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun();
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(RING_ENTRIES)
        .uring_builder(ring)
        .build()?;
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for place in 0..count {
            let ip = Ipv4Addr::from_bits(first.ip().to_bits().wrapping_add(place));
            let address = SocketAddrV4::new(ip, first.port());
            let options = ListenerOpts::new().backlog(4096);
            let listener = TcpListener::bind_with_config(address, &options)?;
            tasks.push(monoio::spawn(serve(listener, service.clone())));
        }
        for task in tasks {
            task.await?;
        }
        Ok(())
    })
}

async fn serve(listener: TcpListener, service: Service) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        match service.clone() {
            Service::Answer(answer) => monoio::spawn(answer_all(stream, answer)),
            Service::Echo => monoio::spawn(echo(stream, Vec::with_capacity(READ_BYTES))),
            Service::Relay(upstream) => monoio::spawn(relay(stream, upstream)),
        };
    }
}

/// One message up, one message down, until either side ends.
async fn relay(mut client: TcpStream, upstream: Rc<str>) {
    let Ok(mut upstream) = TcpStream::connect(&*upstream).await else {
        return;
    };
    // A socket without the option is slower, not wrong.
    let _ = upstream.set_nodelay(true);
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        for up in [true, false] {
            let (from, to) = match up {
                true => (&mut client, &mut upstream),
                false => (&mut upstream, &mut client),
            };
            buffer.clear();
            let (read, filled) = from.read(buffer).await;
            let Ok(1..) = read else { return };
            let (written, sent) = to.write_all(filled).await;
            if written.is_err() {
                return;
            }
            buffer = sent;
        }
    }
}

/// Sends back whatever comes.
async fn echo(mut stream: TcpStream, mut buffer: Vec<u8>) {
    loop {
        buffer.clear();
        let (read, filled) = stream.read(buffer).await;
        let Ok(1..) = read else { return };
        let (written, sent) = stream.write_all(filled).await;
        if written.is_err() {
            return;
        }
        buffer = sent;
    }
}

/// Answers every request of a connection; requests have no bodies.
async fn answer_all(mut stream: TcpStream, answer: Rc<[u8]>) {
    let mut buffer = Vec::with_capacity(READ_BYTES);
    let mut reply = Vec::with_capacity(answer.len());
    let mut matched = 0;
    loop {
        let (read, filled) = stream.read(buffer).await;
        let Ok(1..) = read else { return };
        if filled.starts_with(WEBSOCKET) {
            let (written, _) = stream.write_all(SWITCHED).await;
            if written.is_ok() {
                echo(stream, filled).await;
            }
            return;
        }
        reply.clear();
        for byte in &filled {
            matched = end_of_head(matched, *byte);
            if matched == END_OF_HEAD.len() {
                matched = 0;
                reply.extend_from_slice(&answer);
            }
        }
        let (written, sent) = stream.write_all(reply).await;
        if written.is_err() {
            return;
        }
        buffer = filled;
        buffer.clear();
        reply = sent;
    }
}

/// What a WebSocket is told. Nobody here checks the key.
const SWITCHED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";

/// The path that asks for a WebSocket.
const WEBSOCKET: &[u8] = b"GET /websocket ";

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// How many bytes of the end of a head have been seen, after one more byte.
fn end_of_head(matched: usize, byte: u8) -> usize {
    match (matched, byte) {
        (1, b'\n') => 2,
        (3, b'\n') => 4,
        (2, b'\r') => 3,
        (_, b'\r') => 1,
        _ => 0,
    }
}
