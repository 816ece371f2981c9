//! Every file of the fuzz corpora, through the entry points that the fuzz targets call: what a
//! fuzzer once found stays found, on the stable toolchain.

use std::path::PathBuf;

/// Runs an entry point over the corpus of a target.
#[allow(clippy::disallowed_methods, reason = "a test reads its own files")]
fn replay(target: &str, entry: fn(&[u8])) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let program = root.join("fuzz_targets").join(target).with_extension("rs");
    assert!(program.exists(), "no fuzz target {target}");
    let corpus = root.join("corpus").join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&corpus)
        .unwrap_or_else(|error| panic!("{}: {error}", corpus.display()))
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 3, "{target} has hardly a corpus");
    for file in files {
        // shown only when the entry panics
        eprintln!("{}", file.display());
        entry(&std::fs::read(&file).unwrap());
    }
}

macro_rules! corpora {
    ($($target:ident => $entry:path,)*) => {
        $(#[test] fn $target() { replay(stringify!($target), $entry); })*

        /// A target without a line here would not be replayed.
        #[test]
        #[allow(clippy::disallowed_methods, reason = "a test reads its own files")]
        fn every_target_is_replayed() {
            let programs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/fuzz_targets");
            for program in std::fs::read_dir(programs).unwrap() {
                let name = program.unwrap().path();
                // the control process replays its own
                if std::fs::read_to_string(&name).unwrap().contains("sallyport_control::") {
                    continue;
                }
                let name = name.file_stem().unwrap().to_str().unwrap();
                assert!([$(stringify!($target)),*].contains(&name), "{name}");
            }
        }
    };
}

corpora! {
    yaml => sallyport_config::fuzzing::fuzz_yaml,
    compile => sallyport_core::fuzzing::fuzz_compile,
    decide_vs_model => sallyport_core::agreement::fuzz_decide_vs_model,
    h1_head => sallyport_core::fuzzing::fuzz_head,
    h1_body => sallyport_core::fuzzing::fuzz_body,
    h2_head => sallyport_core::fuzzing::fuzz_h2_head,
    h3_frames => sallyport_core::fuzzing::fuzz_h3_frames,
    path_host => sallyport_core::fuzzing::fuzz_path_host,
    certificate => sallyport_core::fuzzing::fuzz_certificate,
    client_hello => sallyport_core::fuzzing::fuzz_client_hello,
    proxy_protocol => sallyport_core::fuzzing::fuzz_proxy_protocol,
    jwt_token => sallyport_core::fuzzing::fuzz_jwt_token,
    jwks => sallyport_core::fuzzing::fuzz_jwks,
    authority => sallyport_core::fuzzing::fuzz_authority,
    authz_vs_naive => sallyport_core::agreement::fuzz_authz_vs_naive,
    exchange_ops => sallyport_core::fuzzing::fuzz_exchange_ops,
}
