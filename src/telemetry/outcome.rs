//! The closed vocabulary of endings. One value is the branch in the code, the word in the log and the label
//! of the metric. What a client is told about a [`Reason`] is decided in `proxy::respond` alone.
#![deny(clippy::wildcard_enum_match_arm)]

/// Why Siding answered a request itself instead of delivering the app's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Reason {
    /// The request is malformed in a way that Pingora lets through (no `Host`, say).
    BadRequest,
    /// The body is larger than this route buffers.
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTimeout,
    /// All places in the queue are taken.
    QueueFull,
    /// No worker became free in time.
    QueueTimeout,
    /// The wait to expect is longer than the request may wait.
    QueueHopeless,
    /// All memory for buffered bodies is in use.
    BuffersFull,
    /// Siding is shutting down and the time to finish is over.
    Draining,
    /// The app does not accept connections.
    BackendConnect,
    /// The app closed the connection without a complete answer.
    BackendClosed,
    /// The app did not answer within the pass time-out.
    BackendTimeout,
    /// What the app sent is not HTTP.
    BackendProtocol,
    /// A call that is unsigned, wrongly signed, of another exchange, or malformed.
    HandoffInvalid,
    /// A call of a version or mode that was not offered.
    HandoffUnsupported,
    /// A call to an address outside every provider.
    HandoffOrigin,
    /// More calls, bytes or journal than allowed.
    HandoffLimit,
    /// The app asked for another call in its last pass.
    HandoffPassLimit,
    /// A call on a route without hand-off.
    HandoffUnexpected,
    /// Nothing is stored, and the request wanted a stored answer or none.
    NotCached,
    /// There is no provider of this name.
    ProviderUnknown,
    /// The provider could not be reached, or broke off.
    ProviderFailed,
    /// The provider took too long.
    ProviderTimeout,
    /// The app's answer to the question whether a call may be made cannot be understood.
    AuthorizationInvalid,
    /// The app does not allow the model that the call names.
    ModelNotAllowed,
    /// The call asks for more output than the app allows.
    OutputLimit,
    /// The user has as many calls under way as the app allows.
    UserLimit,
    /// The provider was not asked, since it failed too often or too many calls wait for it.
    ProviderUnavailable,
    /// The exchange took longer than allowed.
    Deadline,
    /// There are as many jobs under way as may be.
    TooManyJobs,
    /// There is no such job of this client's.
    JobUnknown,
    /// Jobs are only asked for and deleted.
    JobMethod,
    /// A page in a browser asked where only programs may.
    WebPage,
    /// A job's answer is larger than may be kept.
    ResultTooLarge,
    /// A fault of Siding itself.
    Internal,
}

impl Reason {
    /// Every reason, for metrics that show zeros before the first event and for the reference page.
    pub const ALL: [Reason; 34] = [
        Reason::BadRequest,
        Reason::BodyTooLarge,
        Reason::BodyTimeout,
        Reason::QueueFull,
        Reason::QueueTimeout,
        Reason::QueueHopeless,
        Reason::BuffersFull,
        Reason::Draining,
        Reason::BackendConnect,
        Reason::BackendClosed,
        Reason::BackendTimeout,
        Reason::BackendProtocol,
        Reason::HandoffInvalid,
        Reason::HandoffUnsupported,
        Reason::HandoffOrigin,
        Reason::HandoffLimit,
        Reason::HandoffPassLimit,
        Reason::HandoffUnexpected,
        Reason::NotCached,
        Reason::ProviderUnknown,
        Reason::ProviderFailed,
        Reason::ProviderTimeout,
        Reason::AuthorizationInvalid,
        Reason::ModelNotAllowed,
        Reason::OutputLimit,
        Reason::UserLimit,
        Reason::ProviderUnavailable,
        Reason::Deadline,
        Reason::TooManyJobs,
        Reason::JobUnknown,
        Reason::JobMethod,
        Reason::WebPage,
        Reason::ResultTooLarge,
        Reason::Internal,
    ];

    /// The word for logs, metric labels and problem types.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::BadRequest => "bad-request",
            Reason::BodyTooLarge => "body-too-large",
            Reason::BodyTimeout => "body-timeout",
            Reason::QueueFull => "queue-full",
            Reason::QueueTimeout => "queue-timeout",
            Reason::QueueHopeless => "queue-hopeless",
            Reason::BuffersFull => "buffers-full",
            Reason::Draining => "draining",
            Reason::BackendConnect => "backend-connect",
            Reason::BackendClosed => "backend-closed",
            Reason::BackendTimeout => "backend-timeout",
            Reason::BackendProtocol => "backend-protocol",
            Reason::HandoffInvalid => "handoff-invalid",
            Reason::HandoffUnsupported => "handoff-unsupported",
            Reason::HandoffOrigin => "handoff-origin",
            Reason::HandoffLimit => "handoff-limit",
            Reason::HandoffPassLimit => "handoff-pass-limit",
            Reason::HandoffUnexpected => "handoff-unexpected",
            Reason::NotCached => "not-cached",
            Reason::ProviderUnknown => "provider-unknown",
            Reason::ProviderFailed => "provider-failed",
            Reason::ProviderTimeout => "provider-timeout",
            Reason::AuthorizationInvalid => "authorization-invalid",
            Reason::ModelNotAllowed => "model-not-allowed",
            Reason::OutputLimit => "output-limit",
            Reason::UserLimit => "user-limit",
            Reason::ProviderUnavailable => "provider-unavailable",
            Reason::Deadline => "deadline",
            Reason::TooManyJobs => "too-many-jobs",
            Reason::JobUnknown => "job-unknown",
            Reason::JobMethod => "job-method",
            Reason::WebPage => "web-page",
            Reason::ResultTooLarge => "result-too-large",
            Reason::Internal => "internal",
        }
    }
}

/// How an exchange ended. There is exactly one per exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The app's answer was delivered whole.
    Answered,
    /// Siding answered itself.
    Refused(Reason),
    /// The client left before its answer was complete.
    ClientGone,
    /// The app's answer broke off after its head had been delivered.
    Interrupted,
}

impl Outcome {
    /// The word for logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Refused(reason) => reason.as_str(),
            Outcome::ClientGone => "client-gone",
            Outcome::Interrupted => "interrupted",
        }
    }

    /// Its position among [`Outcome::words`].
    pub fn position(self) -> usize {
        match self {
            Outcome::Answered => 0,
            Outcome::ClientGone => 1,
            Outcome::Interrupted => 2,
            Outcome::Refused(reason) => 3 + reason as usize,
        }
    }

    /// Every outcome's word, for metrics that show zeros before the first event.
    pub fn words() -> impl Iterator<Item = &'static str> {
        [Outcome::Answered, Outcome::ClientGone, Outcome::Interrupted]
            .into_iter()
            .chain(Reason::ALL.into_iter().map(Outcome::Refused))
            .map(Outcome::as_str)
    }
}

/// How a request was carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Streamed through; the app could not suspend.
    PassThrough,
    /// Buffered, so that the app could have suspended, but it did not.
    Plain,
    /// The app handed at least one call over and was re-run with the result.
    Replay,
    /// The app handed a call over whose stream the client read as it came.
    Relay,
    /// Answered from the cache, or with others by one answer of the app.
    Shared,
    /// A call to a provider from outside a request.
    Egress,
    /// Answered from a provider; the app only authorised it.
    Terminate,
    /// A job: it went on without its client.
    Background,
    /// A request about a job: to begin it, to ask for it, to end it.
    Jobs,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Mode; 9] = [
        Mode::PassThrough,
        Mode::Plain,
        Mode::Replay,
        Mode::Relay,
        Mode::Shared,
        Mode::Egress,
        Mode::Terminate,
        Mode::Background,
        Mode::Jobs,
    ];

    /// The word for logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::PassThrough => "pass-through",
            Mode::Plain => "plain",
            Mode::Replay => "replay",
            Mode::Relay => "relay",
            Mode::Shared => "shared",
            Mode::Egress => "egress",
            Mode::Terminate => "terminate",
            Mode::Background => "background",
            Mode::Jobs => "jobs",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn an_outcome_is_found_at_its_position() {
        let refused = Reason::ALL.into_iter().map(Outcome::Refused);
        for outcome in refused.chain([Outcome::Answered, Outcome::ClientGone, Outcome::Interrupted]) {
            assert_eq!(Outcome::words().nth(outcome.position()), Some(outcome.as_str()));
        }
        for (position, mode) in Mode::ALL.into_iter().enumerate() {
            assert_eq!(mode as usize, position);
        }
    }

    #[test]
    fn every_outcome_has_its_own_word() {
        let words: Vec<_> = Outcome::words().collect();
        assert_eq!(words.iter().collect::<HashSet<_>>().len(), words.len());
        assert_eq!(words.len(), Reason::ALL.len() + 3);
    }
}
