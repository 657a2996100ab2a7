//! Every file of the corpora, and some thousand variations of them, held to what the fuzz targets are held to. The
//! variations are the same in each run: what they find can be found again.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fuzz_oracles::{Oracle, TARGETS};

/// Variations of each corpus: a second or so without optimisation.
const VARIATIONS: usize = 3_000;
/// Bytes of an input.
const LONGEST: usize = 2_048;

#[test]
fn every_target_has_a_corpus_and_is_built() {
    let names = |folder: &str| {
        let files = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<String> = files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort_unstable();
        names
    };
    let targets = TARGETS.map(|(name, _)| name.to_owned());
    assert_eq!(names("corpus"), targets);
    assert_eq!(names("fuzz_targets"), targets);
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for name in targets {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}

macro_rules! holds {
    ($($name:ident),*) => { $(
        #[test]
        fn $name() {
            super::hold(stringify!($name), fuzz_oracles::$name);
        }
    )* };
}

mod what_was_found_stays_mended_in {
    holds!(address, answer, call, config, document, field, glimpse, journal, request, response, signature, stream);
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn hold(name: &str, oracle: Oracle) {
    let folder = root().join("corpus").join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort_unstable();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(!corpus.is_empty(), "{name} has no corpus");
    for (file, input) in files.iter().zip(&corpus) {
        judge(oracle, input, &file.display().to_string());
    }
    let mut random = fastrand::Rng::with_seed(7);
    for number in 0..VARIATIONS {
        judge(oracle, &varied(&corpus, &mut random), &format!("variation {number}"));
    }
}

fn judge(oracle: Oracle, input: &[u8], what: &str) {
    let judged = catch_unwind(AssertUnwindSafe(|| oracle(input)));
    assert!(judged.is_ok(), "{what}: b\"{}\"", input.escape_ascii());
}

/// An input of the corpus with a few changes.
fn varied(corpus: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut input = corpus[random.usize(..corpus.len())].clone();
    for _ in 0..random.usize(1..5) {
        let at = random.usize(..=input.len());
        let end = input.len().min(at + random.usize(..20));
        match random.u8(..5) {
            0 => drop(input.splice(at..end, [])),
            1 => drop(input.splice(at..at, [random.u8(..)])),
            2 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.u8(..8)),
            3 => {
                let copy = input[at..end].to_vec();
                let to = random.usize(..=input.len());
                input.splice(to..to, copy);
            }
            _ => {
                let other = &corpus[random.usize(..corpus.len())];
                let from = random.usize(..=other.len());
                input.splice(at..end, other[from..other.len().min(from + 40)].iter().copied());
            }
        }
    }
    input.truncate(LONGEST);
    input
}
