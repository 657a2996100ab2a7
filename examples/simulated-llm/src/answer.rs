//! The answer to a prompt: a pure function of it, so that a mixed-up answer is noticed.

use sha2::{Digest, Sha256};

use crate::directive;

/// How much of the prompt is repeated.
const ECHOED_CHARS: usize = 60;

/// Pads an answer to the number of tokens asked for.
const FILLER: [&str; 8] = ["signal", "points", "track", "engine", "brake", "gauge", "ballast", "depot"];

/// The first 12 hex digits of the prompt's SHA-256.
pub fn fingerprint(prompt: &str) -> String {
    hex::encode(&Sha256::digest(prompt)[..6])
}

/// What every answer to `prompt` begins with, however long it is: its fingerprint and its first characters.
/// Directives are left out of the echo, so that a prompt made from an answer does not inherit them.
pub fn opening(prompt: &str) -> String {
    let spoken = directive::strip(prompt);
    let echo: String = spoken.trim().chars().take(ECHOED_CHARS).collect();
    format!("Echo {}: {}", fingerprint(prompt), echo.trim_end())
}

/// An answer of exactly `tokens` pieces that begins with `opening`. Joined, the pieces are the text.
pub fn pieces(opening: &str, tokens: usize) -> Vec<String> {
    let tokens = tokens.max(1);
    let mut words: Vec<String> = opening.split_inclusive(' ').map(str::to_owned).collect();
    let seed = opening.bytes().map(usize::from).sum::<usize>();
    for n in words.len()..tokens {
        words.push(format!(" {}", FILLER[(seed + n) % FILLER.len()]));
    }
    let count = words.len();
    (0..tokens).map(|n| words[n * count / tokens..(n + 1) * count / tokens].concat()).collect()
}

/// `text` in `tokens` pieces at the most, none of them empty. Joined, they are the text.
pub fn cut(text: &str, tokens: usize) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    let each = characters.len().div_ceil(tokens.max(1)).max(1);
    characters.chunks(each).map(|piece| piece.iter().collect()).collect()
}

/// A unit vector that is a function of `seed`.
pub fn embedding(seed: &[u8], dimensions: usize) -> Vec<f32> {
    let mut state = u64::from_le_bytes(seed[..8].try_into().expect("a digest has 32 bytes")) | 1;
    let raw: Vec<f32> = (0..dimensions)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
        })
        .collect();
    let length = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
    raw.into_iter().map(|x| x / length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_depends_on_the_whole_prompt_and_on_nothing_else() {
        let long = "a".repeat(100);
        assert_eq!(opening(&long), opening(&long));
        assert_ne!(opening(&long), opening(&format!("{long}b")));
        assert_eq!(opening("Hello"), "Echo 185f8db32271: Hello");
    }

    #[test]
    fn the_echo_leaves_directives_out_but_the_fingerprint_does_not() {
        let prompt = "[latency=2s] Hi [there]";
        assert_eq!(opening(prompt), format!("Echo {}: Hi [there]", fingerprint(prompt)));
    }

    #[test]
    fn there_are_as_many_pieces_as_tokens_and_they_keep_the_opening() {
        let opening = opening("one two three");
        for tokens in [1, 2, 5, 16, 300] {
            let pieces = pieces(&opening, tokens);
            assert_eq!(pieces.len(), tokens);
            assert!(pieces.concat().starts_with(&opening));
        }
        assert_eq!(pieces(&opening, 0).len(), 1);
    }

    #[test]
    fn a_text_is_cut_into_as_many_pieces_as_it_has_room_for() {
        assert_eq!(cut("für alle", 4), ["fü", "r ", "al", "le"]);
        assert_eq!(cut("ab", 9), ["a", "b"]);
        assert!(cut("", 9).is_empty());
    }

    #[test]
    fn an_embedding_is_a_unit_vector() {
        let vector = embedding(&Sha256::digest("x"), 64);
        let length: f32 = vector.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-4);
        assert_ne!(vector, embedding(&Sha256::digest("y"), 64));
    }
}
