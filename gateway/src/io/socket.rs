//! A plain socket as two lanes: one read and one write can be under way at once.
//!
//! A read is pending nearly always: behind a request to notice that the client has gone, between
//! requests to get the next one, on an idle upstream connection to notice its end. That costs one
//! operation per request and no question asked, but pins a buffer. So a read that stays pending is
//! *parked* by its owner after a while: cancelled, its buffer given back, and replaced by a wait
//! for readiness that needs none.

// JUSTIFICATION: waiting for readiness needs a shared reference to the stream, which the runtime's
// split halves keep behind a cell; resetting needs the descriptor, which they do not show.
#![allow(unsafe_code, reason = "three blocks, justified above")]

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use monoio::buf::{IoBufMut, Slice};
use monoio::io::{
    AsyncWriteRent, CancelHandle, CancelableAsyncReadRent, Canceller, OwnedReadHalf,
    OwnedWriteHalf, Splitable,
};
use monoio::net::TcpStream;
use sallyport_config::ir::Keepalive;
use socket2::{Domain, SockAddr, Type};

use super::lane::{Clerk, Lane};
use crate::buffer::{Buffers, LARGE_BYTES, READ_BYTES_MAX};
use crate::rt;

/// Size of the address that means nobody (`AF_UNSPEC`).
const ADDRESS_BYTES: libc::socklen_t = 16;
/// `ECANCELED`: what a cancelled read ends with.
const CANCELLED: i32 = libc::ECANCELED;

/// What the kernel takes at most (`MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPCNT`); more is as good as that.
const KEEPALIVE_SECONDS_MAX: u32 = 32_767;
const KEEPALIVE_PROBES_MAX: u32 = 127;

enum ReadOrder {
    /// Append what comes to the buffer.
    Read(Vec<u8>, CancelHandle),
    /// Wait until something can be read.
    Watch,
}

enum ReadOutcome {
    Read(io::Result<usize>, Vec<u8>),
    Readable(io::Result<()>),
}

enum WriteOrder {
    /// All of it.
    Write(Vec<u8>),
    /// No more will come.
    Finish,
}

/// A read's end: the number of bytes appended, 0 at the end of the stream, and the buffer.
pub(crate) type ReadDone = (io::Result<usize>, Vec<u8>);
/// A write's end, and the buffer as it was.
pub(crate) type WriteDone = (io::Result<()>, Vec<u8>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Nothing,
    Into,
    /// Being cancelled.
    Parking,
    /// Waiting without a buffer.
    Parked,
}

/// A connected socket. Closed when dropped.
pub(crate) struct Socket {
    reader: Lane<ReadOrder, ReadOutcome>,
    writer: Lane<WriteOrder, WriteDone>,
    reading: Reading,
    /// The read under way was started with an empty buffer.
    parkable: bool,
    canceller: Option<Canceller>,
    /// The lanes own it; it is open as long as they are there.
    descriptor: RawFd,
    breaker: Option<Breaker>,
    /// Our end, of a connection that we made.
    local: Option<SocketAddr>,
    buffers: Rc<Buffers>,
}

/// Breaks a connection from outside the task that serves it.
#[derive(Debug, Clone)]
pub(crate) struct Breaker(Rc<Cell<Option<RawFd>>>);

impl Breaker {
    /// Breaks the connection, if it is still there; its task notices as if the peer had.
    pub(crate) fn trip(&self) {
        if let Some(descriptor) = self.0.get() {
            reset(descriptor);
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The number may mean another connection from here on.
        if let Some(breaker) = &self.breaker {
            breaker.0.set(None);
        }
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket")
            .field("reading", &self.reading)
            .field("writing", &self.writer.is_busy())
            .finish_non_exhaustive()
    }
}

impl Socket {
    /// Takes over an accepted socket. It must be non-blocking on epoll and blocking on io_uring.
    ///
    /// # Errors
    /// It could not be registered with the driver.
    pub(crate) fn adopt(stream: std::net::TcpStream, buffers: Rc<Buffers>) -> io::Result<Self> {
        TcpStream::from_std(stream).map(|stream| Self::new(stream, buffers))
    }

    /// Connects, and has the kernel probe the peer while nothing is sent, if that is wanted.
    ///
    /// # Errors
    /// Refused, unreachable, no descriptor left.
    pub(crate) async fn connect(
        address: SocketAddr,
        keepalive: Option<Keepalive>,
        buffers: Rc<Buffers>,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect_addr(address).await?;
        stream.set_nodelay(true)?;
        if let Some(probes) = keepalive {
            let seconds = |count: Option<u32>| {
                let count = count.map(|count| count.min(KEEPALIVE_SECONDS_MAX));
                count.map(|count| Duration::from_secs(u64::from(count)))
            };
            stream.set_tcp_keepalive(
                seconds(probes.time),
                seconds(probes.interval),
                probes.probes.map(|count| count.min(KEEPALIVE_PROBES_MAX)),
            )?;
        }
        let local = stream.local_addr().ok();
        let mut socket = Self::new(stream, buffers);
        socket.local = local;
        Ok(socket)
    }

    /// Connects to a unix socket. Nothing is waited for: the kernel connects or refuses at once.
    ///
    /// # Errors
    /// Nobody listens there, it is no socket, or its backlog is full.
    pub(crate) fn connect_unix(path: &str, buffers: Rc<Buffers>) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&unix_address(path)?)?;
        socket.set_nonblocking(rt::wants_nonblocking())?;
        // A stream socket is a stream socket to everything that follows.
        let stream = std::net::TcpStream::from(OwnedFd::from(socket));
        Self::adopt(stream, buffers)
    }

    /// Our end, of a connection that we made.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.local
    }

    fn new(stream: TcpStream, buffers: Rc<Buffers>) -> Self {
        let descriptor = stream.as_raw_fd();
        let (read, write) = stream.into_split();
        Self {
            descriptor,
            reader: Lane::new(|clerk| read_orders(read, clerk)),
            writer: Lane::new(|clerk| write_orders(write, clerk)),
            reading: Reading::Nothing,
            parkable: false,
            canceller: None,
            breaker: None,
            local: None,
            buffers,
        }
    }

    /// Starts to read behind the bytes that are in the buffer already, up to its capacity.
    pub(crate) fn start_read(&mut self, buffer: Vec<u8>) {
        self.parkable = buffer.is_empty();
        let canceller = self.canceller.get_or_insert_with(Canceller::new);
        let order = ReadOrder::Read(buffer, canceller.handle());
        self.reader.order(order);
        self.reading = Reading::Into;
    }

    /// Starts to read as if parked already: a buffer is taken when something is there. Costs one
    /// operation more than a read that has its buffer ready.
    pub(crate) fn start_watch(&mut self) {
        self.reader.order(ReadOrder::Watch);
        self.reading = Reading::Parked;
    }

    /// Whether a read has been started and not been reported.
    pub(crate) fn is_reading(&self) -> bool {
        self.reading != Reading::Nothing
    }

    /// Gives the buffer of a pending read back until there is something to read. Poll the read on
    /// as if nothing had happened. Nothing is done for a buffer that was not empty at the start.
    pub(crate) fn park(&mut self) {
        if self.reading == Reading::Into && self.parkable {
            self.canceller = self.canceller.take().map(Canceller::cancel);
            self.reading = Reading::Parking;
        }
    }

    /// How the read went.
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<ReadDone> {
        loop {
            let Poll::Ready(outcome) = self.reader.poll(context) else {
                return Poll::Pending;
            };
            match outcome {
                ReadOutcome::Read(Err(error), buffer)
                    if self.reading == Reading::Parking
                        && error.raw_os_error() == Some(CANCELLED) =>
                {
                    self.buffers.give(buffer);
                    self.canceller = None;
                    self.reading = Reading::Parked;
                    self.reader.order(ReadOrder::Watch);
                }
                ReadOutcome::Read(result, buffer) => {
                    self.reading = Reading::Nothing;
                    return Poll::Ready((result, buffer));
                }
                ReadOutcome::Readable(Ok(())) => self.start_read(self.buffers.take()),
                ReadOutcome::Readable(Err(error)) => {
                    self.reading = Reading::Nothing;
                    return Poll::Ready((Err(error), Vec::new()));
                }
            }
        }
    }

    /// Starts to write the whole buffer.
    pub(crate) fn start_write(&mut self, buffer: Vec<u8>) {
        self.writer.order(WriteOrder::Write(buffer));
    }

    /// Tells the peer that no more will come.
    pub(crate) fn start_finish(&mut self) {
        self.writer.order(WriteOrder::Finish);
    }

    /// Breaks the connection now, instead of ending it when it is closed: what is unsent is dropped,
    /// and the peer learns that something went wrong.
    pub(crate) fn reset(&self) {
        reset(self.descriptor);
    }

    /// What breaks the connection from outside.
    pub(crate) fn breaker(&mut self) -> Breaker {
        let there = Some(self.descriptor);
        let breaker = self
            .breaker
            .get_or_insert_with(|| Breaker(Rc::new(Cell::new(there))));
        breaker.clone()
    }

    /// Whether a write has been started and not been reported.
    pub(crate) fn is_writing(&self) -> bool {
        self.writer.is_busy()
    }

    /// How the write went.
    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<WriteDone> {
        self.writer.poll(context)
    }
}

/// The address of a unix socket; `@name` is abstract.
///
/// # Errors
/// It is too long.
pub(crate) fn unix_address(path: &str) -> io::Result<SockAddr> {
    match path.strip_prefix('@') {
        Some(name) => SockAddr::unix(format!("\0{name}")),
        None => SockAddr::unix(path),
    }
}

/// Breaks a connection whose descriptor is open.
fn reset(descriptor: RawFd) {
    let nobody = libc::sockaddr {
        sa_family: 0,
        sa_data: [0; 14],
    };
    // SAFETY: the lanes keep the descriptor open as long as their `Socket`, which calls this or has
    // a breaker that knows the number only as long; the address is read only during the call and as
    // long as it is said to be. Disconnecting a stream resets it. An option for lingering would not
    // do: the halves send an orderly end before they close.
    let result = unsafe { libc::connect(descriptor, &raw const nobody, ADDRESS_BYTES) };
    if result != 0 {
        // A unix socket cannot be disconnected: it is shut both ways, which its peer notices at once.
        // SAFETY: the descriptor is open, as above.
        unsafe { libc::shutdown(descriptor, libc::SHUT_RDWR) };
    }
}

async fn read_orders(mut half: OwnedReadHalf<TcpStream>, clerk: Clerk<ReadOrder, ReadOutcome>) {
    loop {
        let outcome = match clerk.next().await {
            ReadOrder::Read(buffer, handle) => {
                let room = behind(&buffer);
                let (result, slice) = half.cancelable_read(buffer.slice_mut(room), handle).await;
                ReadOutcome::Read(result, slice.into_inner())
            }
            ReadOrder::Watch => ReadOutcome::Readable(readable(&half).await),
        };
        clerk.report(outcome);
    }
}

/// Where a read puts what comes: a large buffer has room besides, for sealing what was read.
fn behind(buffer: &Vec<u8>) -> Range<usize> {
    let end = match buffer.capacity() {
        LARGE_BYTES if buffer.len() < READ_BYTES_MAX => READ_BYTES_MAX,
        capacity => capacity,
    };
    buffer.len()..end
}

/// Waits until a read would not block.
async fn readable(half: &OwnedReadHalf<TcpStream>) -> io::Result<()> {
    // SAFETY: the cell lives as long as the half. No exclusive reference to the stream is used
    // while this one is: this half does not read meanwhile, and operations of the other half use
    // theirs only inside the call that submits them, which takes the descriptor out.
    let stream = unsafe { &*half.0.get() };
    stream.readable(false).await
}

async fn write_orders(mut half: OwnedWriteHalf<TcpStream>, clerk: Clerk<WriteOrder, WriteDone>) {
    loop {
        let outcome = match clerk.next().await {
            WriteOrder::Write(buffer) => write_all(&mut half, buffer).await,
            WriteOrder::Finish => (half.shutdown().await, Vec::new()),
        };
        clerk.report(outcome);
    }
}

async fn write_all(half: &mut OwnedWriteHalf<TcpStream>, mut buffer: Vec<u8>) -> WriteDone {
    let mut sent = 0;
    while sent < buffer.len() {
        let end = buffer.len();
        let (result, slice) = half.write(Slice::new(buffer, sent, end)).await;
        buffer = slice.into_inner();
        match result {
            Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buffer),
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (Err(error), buffer),
        }
    }
    (Ok(()), buffer)
}
