//! What can be asked for.

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::net::SocketAddrV4;
use std::path::PathBuf;

/// Ends, load and pieces of a comparison run; `bench/run.sh` starts and pins them.
#[derive(Debug, Parser)]
#[command(name = "sallyport-bench", version)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer every HTTP/1.1 request with a fixed body, as cheaply as one core can; a
    /// WebSocket, which is what `/websocket` asks for, gets its bytes back.
    Origin {
        /// Address to listen on.
        address: SocketAddrV4,
        /// Bytes of each body.
        #[arg(default_value_t = 1024)]
        body: usize,
        /// Addresses to listen on, that one and those behind it, all of one port.
        #[arg(default_value_t = 1)]
        count: u32,
    },
    /// Send back every byte: the far end of `--wire tcp`.
    Echo {
        /// Address to listen on.
        address: SocketAddrV4,
    },
    /// Copy bytes and read none of them: what it costs, every proxy costs.
    Relay {
        /// Address to listen on.
        address: SocketAddrV4,
        /// Where the bytes go.
        upstream: String,
    },
    /// Send requests at a constant rate (open loop) or as fast as answers come (closed loop).
    Load(Load),
    /// Start a control process and be the mesh that it serves: memory, convergence, reconnects, CSRs.
    Control(Control),
    /// Attack the HTTP/2 of a gateway of this host, beside a good client.
    Attack(Attack),
    /// Every attack that is known, on gateways that are started for it, with each driver.
    Siege(Siege),
    /// Do one piece of the core's work, for counting instructions; without a case, list them.
    Core {
        /// Which.
        case: Option<String>,
        /// How often.
        #[arg(default_value_t = 1_000)]
        iterations: u32,
    },
}

/// A mesh for a control process.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Control {
    /// Directory of the programs `sallyport-control` and `sallyctl`.
    #[arg(long, default_value = "target/release")]
    pub(crate) bin: PathBuf,
    /// Services.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) services: usize,
    /// Delta streams, each of another sidecar on a connection of its own.
    #[arg(long, default_value_t = 2_000)]
    pub(crate) streams: usize,
    /// Ports that the services are spread over; those of one port share a route table.
    #[arg(long, default_value_t = 20)]
    pub(crate) ports: usize,
    /// Namespaces that the services are spread over.
    #[arg(long, default_value_t = 50)]
    pub(crate) namespaces: usize,
    /// Each namespace has a Sidecar that lets it see itself only.
    #[arg(long)]
    pub(crate) scoped: bool,
    /// Changes of each kind.
    #[arg(long, default_value_t = 20)]
    pub(crate) changes: usize,
    /// Certificates.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) certificates: usize,
    /// Write the figures into this file, in the place of the last ones.
    #[arg(long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
}

/// Load.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Load {
    /// `http://127.0.0.1:8080/path` or `https://…`; only addresses of this host.
    pub(crate) url: String,
    /// `Host` and server name, if not the URL's.
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// What is spoken.
    #[arg(long, value_enum, default_value_t = Wire::H1)]
    pub(crate) wire: Wire,
    /// Requests per second, kept to whatever the answers do; without it the loop is closed.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Connections.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// Requests at a time on each connection (HTTP/2 and HTTP/3).
    #[arg(long, default_value_t = 1)]
    pub(crate) streams: usize,
    /// Seconds that count.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// Seconds before that which do not count.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) warm_up: f64,
    /// A new connection for every request: what a handshake costs.
    #[arg(long, conflicts_with_all = ["streams"])]
    pub(crate) fresh: bool,
    /// With `--fresh`: resume TLS sessions.
    #[arg(long, requires = "fresh")]
    pub(crate) resume: bool,
    /// Give up every so-manieth request before its answer: by a reset of the connection or stream.
    #[arg(long, value_name = "N")]
    pub(crate) abandon: Option<u64>,
    /// Connections that make one request each first and then stay idle beside the load.
    #[arg(long, default_value_t = 0)]
    pub(crate) idle: usize,
    /// Where to write the result as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// Attacks.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Attack {
    /// `https://…`, or `http://…` for HTTP/2 without TLS; only addresses of this host.
    pub(crate) url: String,
    /// Only this row.
    #[arg(long)]
    pub(crate) row: Option<String>,
    /// `:authority` and server name, if not the URL's.
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// The gateway's process, to see what it uses.
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Requests per second of the good client.
    #[arg(long, default_value_t = 200.0)]
    pub(crate) rate: f64,
    /// Seconds of the good client, alone and again beside each attack.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Milliseconds between the beginnings of an attacker's connections.
    #[arg(long, default_value_t = 100)]
    pub(crate) every_ms: u64,
    /// Where to write the result as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// Every attack.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Siege {
    /// Directory of the program `sallyport-gateway`.
    #[arg(long, default_value = "target/release")]
    pub(crate) bin: PathBuf,
    /// Drivers to try, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "io_uring,epoll")]
    pub(crate) drivers: Vec<String>,
    /// Only this row; `http2` for all rows over HTTP/2.
    #[arg(long)]
    pub(crate) row: Option<String>,
    /// Seconds of rows that last: changing certificates, overload.
    #[arg(long, default_value_t = 60.0)]
    pub(crate) long: f64,
    /// Seconds of all others.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) short: f64,
    /// The page whose figures are to be replaced.
    #[arg(long)]
    pub(crate) write: Option<PathBuf>,
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wire {
    /// HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
    /// HTTP/3.
    H3,
    /// WebSocket over HTTP/1.1: each request is a message that the origin sends back.
    Websocket,
    /// Bytes that the far end sends back.
    Tcp,
}
