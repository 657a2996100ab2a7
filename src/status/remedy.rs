//! What an operator can do about each reason for which Siding answers itself. What a client is told is `proxy`'s to say.
#![deny(clippy::wildcard_enum_match_arm)]

use crate::telemetry::Reason;

pub(super) fn of(reason: Reason) -> &'static str {
    match reason {
        Reason::QueueFull | Reason::QueueTimeout | Reason::QueueHopeless => {
            "The workers cannot keep up. Add workers or pods, or give routes that can wait class = \"batch\"."
        }
        Reason::BuffersFull => "All memory for bodies is in use. Raise server.buffered, or lower server.max_body.",
        Reason::Draining => "This process was shutting down. Raise server.drain if exchanges take longer than that.",
        Reason::BackendConnect => "Nothing listens at backend.address. See whether the app runs.",
        Reason::BackendClosed => {
            "A worker ended before it answered. See the app's log, and whether it ran out of memory."
        }
        Reason::BackendTimeout => {
            "A pass took longer than backend.timeout. Find what is slow in the view; or raise it, below gunicorn's --timeout."
        }
        Reason::BackendProtocol => "What listens at backend.address does not speak HTTP/1.1. The log has the cause.",
        Reason::HandoffInvalid => {
            "A call was not signed with this process's secret. Give the app and Siding the same SIDING_SECRET."
        }
        Reason::HandoffUnsupported => "Install versions of siding and django-siding that belong together.",
        Reason::HandoffOrigin => "A view calls an address of no provider. Add it under [providers] if it is meant.",
        Reason::HandoffLimit => "A view hands over more than [handoff] allows. The log names the limit.",
        Reason::HandoffPassLimit => {
            "A view asks for one call after another. Make them together with gather(), or raise handoff.max_passes."
        }
        Reason::HandoffUnexpected => "The app handed a call over on a route without hand-off. Allow it for the route.",
        Reason::NotCached => "The client asked for a stored answer or none. Nothing to do.",
        Reason::ProviderUnknown => {
            "A client named a provider that is not configured. Add it under [providers], or correct its base_url."
        }
        Reason::ProviderFailed => "The provider could not be reached or broke off. Name a fallback for it.",
        Reason::ProviderTimeout => {
            "The provider was slower than its timeout. Name a fallback, or raise providers.*.timeout."
        }
        Reason::ProviderUnavailable => {
            "The provider failed too often, or too many calls wait for it. Name a fallback, or add keys."
        }
        Reason::AuthorizationInvalid => {
            "The view that authorises this route answered something else. The log has the cause."
        }
        Reason::ModelNotAllowed => {
            "A user asked for a model that the app does not allow. Allow it in the view, if it is meant."
        }
        Reason::OutputLimit => {
            "A user asked for more output than the app allows. Raise the view's limit, if it is meant."
        }
        Reason::UserLimit => {
            "A user has as many calls under way as the app allows. Raise max_concurrent, if it is meant."
        }
        Reason::Deadline => "The exchange took longer than handoff.deadline. Raise it, or use a faster model.",
        Reason::TooManyJobs => "As many jobs are under way as may be. Raise background.max_jobs, or add workers.",
        Reason::ResultTooLarge => "A job's answer did not fit. Raise background.max_result or background.capacity.",
        Reason::BodyTooLarge => {
            "A client sent a large body without Content-Length. Raise server.max_body, if it is meant."
        }
        Reason::BodyTimeout => "A client was too slow to send its body. Raise server.body_timeout for slow networks.",
        Reason::BadRequest | Reason::JobUnknown | Reason::JobMethod => "The client's request was wrong. Nothing to do.",
        Reason::WebPage => "A page in somebody's browser tried to use the egress listener, and was refused. Look who.",
        Reason::Internal => "A fault of Siding itself. The log has the cause; please report it.",
    }
}
