//! See `fuzz_oracles::field`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_oracles::field(data));
