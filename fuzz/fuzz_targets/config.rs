//! See `fuzz_oracles::config`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_oracles::config(data));
