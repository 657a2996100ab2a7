//! What dependencies may be, as far as it can be checked without the network: where they come from, and under which licences
//! `deny.toml` lets them in. And that no crate of this workspace has unsafe code.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use spdx::{Expression, ParseMode};

/// Where `Cargo.lock` says that crates come from.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// All packages that programs for this machine are made of, their tests and tools included.
fn packages() -> Vec<Value> {
    let platform = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let arguments = ["metadata", "--format-version=1", "--locked", "--filter-platform", &platform];
    let said = Command::new(env!("CARGO")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let metadata: Value = serde_json::from_slice(&said.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn read(path: impl AsRef<Path>) -> toml::Table {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap().parse().unwrap()
}

/// `name version`, for messages.
fn name(package: &Value) -> String {
    format!("{} {}", package["name"].as_str().unwrap(), package["version"].as_str().unwrap())
}

#[test]
fn every_crate_comes_from_crates_io_with_a_checksum_or_is_in_this_repository() {
    let lock = read("Cargo.lock");
    for package in lock["package"].as_array().unwrap() {
        let (source, checksum) = (package.get("source"), package.get("checksum"));
        match source {
            Some(source) => assert!(source.as_str() == Some(CRATES_IO) && checksum.is_some(), "{package}"),
            None => assert!(checksum.is_none(), "{package}"),
        }
    }
    let root = env!("CARGO_MANIFEST_DIR");
    for package in packages().iter().filter(|package| package["source"].is_null()) {
        let manifest = package["manifest_path"].as_str().unwrap();
        assert!(manifest.starts_with(root), "{} is at {manifest}", name(package));
    }
}

#[test]
fn every_licence_is_one_that_is_allowed() {
    let denied = read("deny.toml");
    let allowed = denied["licenses"]["allow"].as_array().unwrap();
    let allowed: BTreeSet<&str> = allowed.iter().map(|licence| licence.as_str().unwrap()).collect();
    let packages = packages();
    assert!(packages.len() > 100, "only {} packages are known", packages.len());
    let mut refused = Vec::new();
    for package in &packages {
        let Some(said) = package["license"].as_str() else {
            refused.push(format!("{}: says nothing", name(package)));
            continue;
        };
        let licence = Expression::parse_mode(said, ParseMode::LAX).unwrap();
        if !licence.evaluate(|wanted| allowed.contains(wanted.to_string().as_str())) {
            refused.push(format!("{}: {said}", name(package)));
        }
    }
    assert!(refused.is_empty(), "look at them, then allow their licences in deny.toml or do without: {refused:#?}");
}

#[test]
fn no_crate_of_this_workspace_has_unsafe_code_or_is_published() {
    let packages = packages();
    let own: Vec<&Value> = packages.iter().filter(|package| package["source"].is_null()).collect();
    assert!(own.len() > 5, "only {} crates are known", own.len());
    for package in own {
        let manifest = read(package["manifest_path"].as_str().unwrap());
        assert_eq!(manifest["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"), "{}", name(package));
        assert_eq!(manifest["package"]["publish"].as_bool(), Some(false), "{}", name(package));
    }
}
