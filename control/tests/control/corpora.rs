//! Every file of the fuzz corpora of the control process, through the entry points that the fuzz
//! targets call: what a fuzzer once found stays found, on the stable toolchain.

use std::path::PathBuf;

use sallyport_control::fuzzing::{fuzz_csr, fuzz_xds_session};

/// A fuzz target and what it calls.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 2] = [("csr", fuzz_csr), ("xds_session", fuzz_xds_session)];

fn fuzz() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

#[test]
fn every_input_keeps_its_promise() {
    for (target, entry) in TARGETS {
        let corpus = std::fs::read_dir(fuzz().join("corpus").join(target)).unwrap();
        let mut files: Vec<PathBuf> = corpus.map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(files.len() >= 3, "{target} has hardly a corpus");
        for file in files {
            // shown only when the entry panics
            eprintln!("{}", file.display());
            entry(&std::fs::read(&file).unwrap());
        }
    }
}

#[test]
fn drawn_inputs_keep_it_too() {
    // splitmix64: the same inputs in every run
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 29)).to_le_bytes()
    };
    for length in 0..2_000 {
        let bytes: Vec<u8> = (0..length % 100).flat_map(|_| next()).collect();
        fuzz_xds_session(&bytes);
    }
}

#[test]
fn every_target_is_replayed() {
    for program in std::fs::read_dir(fuzz().join("fuzz_targets")).unwrap() {
        let program = program.unwrap().path();
        if std::fs::read_to_string(&program)
            .unwrap()
            .contains("sallyport_control::")
        {
            let name = program.file_stem().unwrap().to_str().unwrap();
            assert!(TARGETS.iter().any(|(target, _)| *target == name), "{name}");
        }
    }
}
