//! See `sallyport_core::agreement::fuzz_authz_vs_naive`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sallyport_core::agreement::fuzz_authz_vs_naive(data));
