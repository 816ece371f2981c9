//! Tells the service manager how we are: the datagram protocol of `sd_notify(3)`, nothing more.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Serving.
    Ready,
    /// Reading the configuration again on request.
    Reloading,
    /// Draining.
    Stopping,
}

impl State {
    fn message(self) -> String {
        match self {
            Self::Ready => "READY=1\n".to_owned(),
            Self::Reloading => format!("RELOADING=1\nMONOTONIC_USEC={}\n", monotonic_us()),
            Self::Stopping => "STOPPING=1\n".to_owned(),
        }
    }
}

/// Sends a state if a service manager listens (`NOTIFY_SOCKET`); otherwise does nothing. A manager
/// that does not answer is none of our business.
pub(crate) fn notify(state: State) {
    if let Some(path) = std::env::var_os("NOTIFY_SOCKET") {
        let _ = send(&path, &state.message());
    }
}

fn send(path: &OsStr, message: &str) -> std::io::Result<()> {
    // A leading `@` stands for the abstract namespace.
    let address = match path.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

/// The monotonic clock, from the only place that gives it without `unsafe`: seconds since boot with
/// two digits, rounded up. The manager only wants it not to be before its own request.
fn monotonic_us() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split_whitespace().next().unwrap_or_default();
    let (whole, hundredths) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let number = |text: &str| text.parse::<u64>().unwrap_or_default();
    number(whole) * 1_000_000 + (number(hundredths) + 1) * 10_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_reach_both_kinds_of_socket() {
        let name = format!("sallyport-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let _ = std::fs::remove_file(&path);
        let abstract_address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        for (socket, path) in [
            (
                UnixDatagram::bind(&path).unwrap(),
                path.clone().into_os_string(),
            ),
            (
                UnixDatagram::bind_addr(&abstract_address).unwrap(),
                format!("@{name}").into(),
            ),
        ] {
            for state in [State::Ready, State::Reloading, State::Stopping] {
                send(&path, &state.message()).unwrap();
                let mut buffer = [0; 128];
                let length = socket.recv(&mut buffer).unwrap();
                let text = std::str::from_utf8(&buffer[..length]).unwrap();
                assert!(text.starts_with(state.message().split('=').next().unwrap()));
            }
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn the_clock_moves() {
        assert!(monotonic_us() > 0);
    }
}
