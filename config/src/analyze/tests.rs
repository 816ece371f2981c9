//! Objects that do not fit together, one table a question.
