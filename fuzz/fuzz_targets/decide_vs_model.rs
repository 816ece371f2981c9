//! See `sallyport_core::agreement::fuzz_decide_vs_model`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    sallyport_core::agreement::fuzz_decide_vs_model(data);
});
