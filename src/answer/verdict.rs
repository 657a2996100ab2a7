//! The closed vocabulary of why an answer is not stored or not converted.

/// Why an answer must not be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}", self.as_str())]
pub enum Unstorable {
    /// No sign that it ended as an answer should: no terminal event, no or an unknown reason to stop.
    Incomplete,
    /// Not what this API answers with, as far as it is known here.
    Malformed,
    /// Cut off at a limit of tokens; a caller with patience would want another.
    Truncated,
    /// Withheld by a filter, or refused by the model.
    Filtered,
    /// An error inside a 200.
    Error,
    /// A tool call whose arguments are not valid JSON.
    InvalidToolCall,
    /// Only a promise of an answer, to be asked for later.
    Background,
}

impl Unstorable {
    /// Every reason, for metrics that show zeros before the first event.
    pub const ALL: [Unstorable; 7] = [
        Unstorable::Incomplete,
        Unstorable::Malformed,
        Unstorable::Truncated,
        Unstorable::Filtered,
        Unstorable::Error,
        Unstorable::InvalidToolCall,
        Unstorable::Background,
    ];

    /// The word for logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Unstorable::Incomplete => "incomplete",
            Unstorable::Malformed => "malformed",
            Unstorable::Truncated => "truncated",
            Unstorable::Filtered => "filtered",
            Unstorable::Error => "error",
            Unstorable::InvalidToolCall => "invalid-tool-call",
            Unstorable::Background => "background",
        }
    }
}

/// Why an answer has no other form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}", self.as_str())]
pub enum Inconvertible {
    /// The stream has no terminal event.
    Incomplete,
    /// Not JSON, or not of this API's shape.
    Malformed,
    /// It reports an error.
    Error,
    /// A tool call whose input is not valid JSON.
    InvalidToolCall,
    /// It has something in it that is not known here, and might be lost.
    Unfamiliar,
    /// The API has no streams.
    NoStream,
}

impl Inconvertible {
    /// The word for logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Inconvertible::Incomplete => "incomplete",
            Inconvertible::Malformed => "malformed",
            Inconvertible::Error => "error",
            Inconvertible::InvalidToolCall => "invalid-tool-call",
            Inconvertible::Unfamiliar => "unfamiliar",
            Inconvertible::NoStream => "no-stream",
        }
    }
}

impl From<Inconvertible> for Unstorable {
    fn from(why: Inconvertible) -> Self {
        match why {
            Inconvertible::Incomplete => Unstorable::Incomplete,
            Inconvertible::Error => Unstorable::Error,
            Inconvertible::InvalidToolCall => Unstorable::InvalidToolCall,
            Inconvertible::Malformed | Inconvertible::Unfamiliar | Inconvertible::NoStream => Unstorable::Malformed,
        }
    }
}
