//! Puts the model checker's lock in the place of the real one.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cfg=model");
}
