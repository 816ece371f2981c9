//! Counters of connections that carry bytes, by the labels that Istio gives them.
//!
//! A connection keeps its row while it lasts and adds to it as it goes, so that long ones are seen.

use std::collections::HashMap;
use std::sync::Arc;

use sallyport_config::ir;

use super::Protocol;
use super::counters::{LabelNames, Labels, SERIES_MAX};

/// A row of a worker's table; `None`: the table was full when the connection came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TcpSlot(Option<usize>);

/// Counters of one label set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tcp {
    /// Connections that reached an upstream, or were given up.
    pub(crate) opened: u64,
    /// Those that are over.
    pub(crate) closed: u64,
    /// Bytes to clients.
    pub(crate) sent: u64,
    /// Bytes from clients.
    pub(crate) received: u64,
}

impl Tcp {
    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.opened += other.opened;
        self.closed += other.closed;
        self.sent += other.sent;
        self.received += other.received;
    }
}

/// Rows by label set, at most [`SERIES_MAX`].
#[derive(Debug, Default)]
pub(crate) struct TcpTable {
    index: HashMap<Labels, usize>,
    rows: Vec<(Labels, Tcp)>,
    overflow: u64,
}

/// The labels of connections to a cluster; of those that go nowhere without one.
pub(crate) fn labels(cluster: Option<&ir::Cluster>) -> Labels {
    let text = |field: fn(&ir::Cluster) -> &str| -> Arc<str> { cluster.map_or("", field).into() };
    Labels {
        cluster: text(|c| &c.name),
        service: text(|c| &c.host),
        service_name: text(|c| &c.service_name),
        service_namespace: text(|c| &c.service_namespace),
        workload: "".into(),
        principals: LabelNames::default(),
        protocol: Protocol::Tcp,
        code: 0,
        grpc_status: None,
        flags: 0,
    }
}

impl TcpTable {
    /// The row of these labels.
    pub(crate) fn slot(&mut self, labels: Labels) -> TcpSlot {
        if let Some(known) = self.index.get(&labels) {
            return TcpSlot(Some(*known));
        }
        if self.rows.len() >= SERIES_MAX {
            self.overflow += 1;
            return TcpSlot(None);
        }
        self.index.insert(labels.clone(), self.rows.len());
        self.rows.push((labels, Tcp::default()));
        TcpSlot(Some(self.rows.len() - 1))
    }

    /// Adds to a row.
    pub(crate) fn add(&mut self, slot: TcpSlot, counted: &Tcp) {
        if let Some((_, tcp)) = slot.0.and_then(|row| self.rows.get_mut(row)) {
            tcp.merge(counted);
        }
    }

    /// All rows, in the order of their first connection.
    pub(crate) fn rows(&self) -> &[(Labels, Tcp)] {
        &self.rows
    }

    /// Connections that found no room.
    pub(crate) fn overflow(&self) -> u64 {
        self.overflow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_bounded() {
        let mut table = TcpTable::default();
        let of = |workload: usize| Labels {
            workload: workload.to_string().into(),
            ..labels(None)
        };
        let one = Tcp {
            opened: 1,
            ..Tcp::default()
        };
        for workload in (0..SERIES_MAX + 2).chain([0]) {
            let slot = table.slot(of(workload));
            table.add(slot, &one);
        }
        assert_eq!((table.rows().len(), table.overflow()), (SERIES_MAX, 2));
        assert_eq!(table.rows()[0].1.opened, 2);
    }
}
