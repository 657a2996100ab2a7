//! What is wrong with a configuration, and how to mend it.

use std::fmt;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line in the file, from 1; `None` for a fault that has no line (a missing key, a flag).
    pub line: Option<usize>,
    /// The key, such as `backend.queue.timeout`.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// All faults of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// The file, or the words for where the configuration came from.
    pub origin: String,
    /// At least one, in the order of the file.
    pub faults: Vec<Fault>,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Fault { line, key, message }) in self.faults.iter().enumerate() {
            let newline = if n == 0 { "" } else { "\n" };
            write!(f, "{newline}{}", self.origin)?;
            if let Some(line) = line {
                write!(f, ":{line}")?;
            }
            let colon = if key.is_empty() { "" } else { ": " };
            write!(f, ": {key}{colon}{message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
