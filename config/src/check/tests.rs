//! One object of each kind against its rules.
