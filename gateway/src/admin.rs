//! Servers for operators, probes and scrapers.

mod http;
