//! See `sallyport_core::fuzzing::fuzz_certificate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sallyport_core::fuzzing::fuzz_certificate(data));
