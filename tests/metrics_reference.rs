//! The reference page of metrics says what the code declares.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[test]
fn the_page_of_metrics_is_what_the_code_declares() {
    let page = siding::server::metrics_reference().unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(page == written, "docs/metrics.md is not up to date: cargo run -- metrics > docs/metrics.md");
    let undescribed: Vec<_> = page.lines().filter(|line| line.contains("`: |") || line.ends_with("|  |")).collect();
    assert!(undescribed.is_empty(), "a label without values, or a family without words: {undescribed:#?}");
}
