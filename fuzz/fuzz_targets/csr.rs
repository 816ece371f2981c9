//! See `sallyport_control::fuzzing::fuzz_csr`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sallyport_control::fuzzing::fuzz_csr(data));
