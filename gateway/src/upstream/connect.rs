//! What a failed connect means for retries, replies and logs.

use std::io;

use sallyport_core::failure::{Failure, FailureKind};

/// The failure that an error of connecting is.
pub(crate) fn connect_failure(error: &io::Error) -> Failure {
    let (kind, transport) = match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS | libc::EADDRNOTAVAIL) => {
            (FailureKind::ConnectLocal, "immediate_connect_error")
        }
        Some(libc::ECONNREFUSED) => (
            FailureKind::ConnectRefused,
            "delayed_connect_error:_Connection_refused",
        ),
        Some(libc::EHOSTUNREACH) => (
            FailureKind::ConnectRefused,
            "delayed_connect_error:_No_route_to_host",
        ),
        Some(libc::ENETUNREACH) => (
            FailureKind::ConnectRefused,
            "immediate_connect_error:_Network_is_unreachable",
        ),
        Some(libc::ECONNRESET) => (
            FailureKind::ConnectRefused,
            "delayed_connect_error:_Connection_reset_by_peer",
        ),
        Some(libc::ETIMEDOUT) => (
            FailureKind::ConnectTimeout,
            "delayed_connect_error:_Connection_timed_out",
        ),
        _ => (FailureKind::ConnectRefused, "delayed_connect_error"),
    };
    Failure {
        transport,
        ..Failure::from(kind)
    }
}
