//! See `sallyport_config::fuzzing::fuzz_yaml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sallyport_config::fuzzing::fuzz_yaml(data));
