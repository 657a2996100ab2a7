//! See `fuzz_oracles::glimpse`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_oracles::glimpse(data));
