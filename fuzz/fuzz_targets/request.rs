//! See `fuzz_oracles::request`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_oracles::request(data));
