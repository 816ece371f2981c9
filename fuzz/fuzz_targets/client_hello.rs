//! See `sallyport_core::fuzzing::fuzz_client_hello`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sallyport_core::fuzzing::fuzz_client_hello(data));
