//! See `fuzz_oracles::call`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_oracles::call(data));
