//! One request and its response, from the whole head to the record, for every wire: what differs
//! between them is behind [`Client`] on the client's side and [`origin::Origin`] on the other.

mod aim;
mod answer;
mod ask;
mod asker;
mod client;
mod download;
mod event;
mod flight;
mod gauge;
mod held;
mod letter;
mod mirror;
mod on_demand;
mod origin;
mod record;
mod request;
mod transit;
mod upload;
mod websocket;

pub(super) use answer::{log_closed, refuse};
pub(super) use asker::Asker;
pub(super) use client::{Client, Fate, Framed, News, Visit};
pub(crate) use held::Held;
pub(super) use letter::ask_about_bytes;
pub(super) use request::serve;
pub(super) use transit::{Framing, Moved, Transit, write_end};
