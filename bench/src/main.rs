//! The origin of the comparison runs: answers every HTTP/1.1 request with a fixed body, as
//! cheaply as one core can, so that the proxy under test is the bottleneck.
//!
//! Usage: `sallyport-bench ADDRESS [BODY_BYTES]`. `bench/run.sh` starts it, pins it, and drives
//! it through each proxy in turn.

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{ListenerOpts, TcpListener, TcpStream};
use std::process::ExitCode;
use std::rc::Rc;

/// Bytes read at once; enough for several pipelined request heads.
const READ_BYTES: usize = 16 * 1024;
/// Body sent unless the command line says otherwise.
const BODY_BYTES_DEFAULT: usize = 1024;
/// Ring entries.
const RING_ENTRIES: u32 = 1024;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(address) = args.next() else {
        eprintln!("usage: sallyport-bench ADDRESS [BODY_BYTES]");
        return ExitCode::from(2);
    };
    let size = args
        .next()
        .and_then(|text| text.parse().ok())
        .unwrap_or(BODY_BYTES_DEFAULT);
    let mut ring = io_uring_06::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun();
    let runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(RING_ENTRIES)
        .uring_builder(ring)
        .build();
    let mut runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot set up io_uring: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(&address, size)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{address}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(address: &str, size: usize) -> std::io::Result<()> {
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + size, b'x');
    let answer: Rc<[u8]> = answer.into();
    let listener = TcpListener::bind_with_config(address, &ListenerOpts::new().backlog(4096))?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        monoio::spawn(answer_all(stream, Rc::clone(&answer)));
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
