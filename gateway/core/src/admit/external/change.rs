//! Changes of fields that an authorizer wants.

use crate::call::HeaderLines;
use crate::plan::EditSink;

/// Changes of fields, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes(pub(super) Vec<Change>);

/// A change of a field, by its lower-case name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is taken out, and names that pass for the same one.
    Remove(String),
    /// It is put in place of all others of its name, and of those that pass for the same one.
    Set(String, Vec<u8>),
    /// It is put behind the others.
    Add(String, Vec<u8>),
    /// It is put in if there is none.
    Fill(String, Vec<u8>),
    /// It is put in place of the others if there are any.
    Replace(String, Vec<u8>),
}

impl Changes {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Which of the changes depend on whether a field is there, and take place: to be asked before
    /// the first is made.
    #[must_use]
    pub fn settle(&self, fields: &dyn HeaderLines) -> Vec<bool> {
        let takes_place = |change: &Change| match change {
            Change::Remove(_) | Change::Set(..) | Change::Add(..) => true,
            Change::Fill(name, _) => fields.first(name).is_none(),
            Change::Replace(name, _) => fields.first(name).is_some(),
        };
        self.0.iter().map(takes_place).collect()
    }

    /// Makes the changes that take place.
    pub fn apply(&self, settled: &[bool], sink: &mut dyn EditSink) {
        for (change, takes_place) in self.0.iter().zip(settled) {
            if !takes_place {
                continue;
            }
            match change {
                Change::Remove(name) => sink.remove_like(name),
                Change::Add(name, value) => sink.add(name, value),
                Change::Set(name, value)
                | Change::Fill(name, value)
                | Change::Replace(name, value) => {
                    sink.remove_like(name);
                    sink.add(name, value);
                }
            }
        }
    }
}
