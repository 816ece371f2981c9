//! A worker on real sockets, on each driver.

mod faults;
mod http1;
mod support;
mod tls;
