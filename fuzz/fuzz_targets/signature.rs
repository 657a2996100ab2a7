//! See `fuzz_oracles::signature`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_oracles::signature(data));
