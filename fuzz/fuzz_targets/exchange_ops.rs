//! See `sallyport_core::fuzzing::fuzz_exchange_ops`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sallyport_core::fuzzing::fuzz_exchange_ops(data));
