//! See `fuzz_oracles::stream`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_oracles::stream(data));
