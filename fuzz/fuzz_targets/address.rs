//! See `fuzz_oracles::address`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_oracles::address(data));
