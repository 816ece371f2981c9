//! See `sallyport_core::fuzzing::fuzz_h2_head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sallyport_core::fuzzing::fuzz_h2_head(data));
