//! Objects against each other: what each is well formed by itself and does not fit together.
