//! A provider's stream on its way to a client, and what is kept of it for the journal.

use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};

use crate::answer::{Api, Form, Unstorable};
use crate::buffers::{Full, Lease};
use crate::calls::{Reply, ReplyBody};
use crate::exchange::call::{Asked, collect, open, too_late, word};
use crate::exchange::{Broken, Exchanges};
use crate::handoff::{CallError, Recorded, Relayed, Response};
use crate::relay::{Format, Translator};
use crate::time::{Instant, sleep_until, timeout_at};

/// What a call turned out to be.
pub(super) enum Opened {
    /// A stream for the client.
    Stream(Reply),
    /// Nothing to relay.
    Settled(Recorded),
}

pub(super) type Opening = Pin<Box<dyn Future<Output = Opened> + Send>>;

/// Where the bytes come from.
pub(super) enum Source {
    /// The provider has not begun to answer.
    Opening(Opening),
    /// It answers.
    Flowing(ReplyBody),
    /// Nothing more comes.
    Ended,
}

/// What happened next.
enum Event {
    Opened(Reply),
    Piece(Bytes),
    End,
    /// There is no answer, or no more of it.
    Failed(CallError, String),
    /// What came is no stream.
    Settled(Recorded),
    Silence,
}

/// A stream in the form that the client gets.
pub(super) struct Stream {
    all: Arc<Exchanges>,
    source: Source,
    translator: Translator,
    api: Option<Api>,
    record: Record,
    /// When it is broken off.
    deadline: Instant,
}

/// What came of the answer.
struct Record {
    status: StatusCode,
    headers: HeaderMap,
    body: BytesMut,
    lease: Lease,
    /// The most bytes that the journal has room for.
    room: usize,
    broken: Option<(CallError, String)>,
    /// What came instead of it.
    instead: Option<Recorded>,
    /// Whether the provider itself said that it failed, or ended too early.
    is_faulty: bool,
}

/// Begins a call that belongs to no request: its client may leave.
pub(super) fn opening(all: Arc<Exchanges>, asked: Asked, client: HeaderMap, deadline: Instant) -> Opening {
    Box::pin(async move {
        let opened = async {
            match open(&all, asked, &client).await {
                Ok(reply) if reply.status.is_success() => Opened::Stream(reply),
                Ok(reply) => Opened::Settled(collect(reply).await),
                Err(recorded) => Opened::Settled(recorded),
            }
        };
        timeout_at(deadline, opened).await.unwrap_or_else(|_| Opened::Settled(too_late()))
    })
}

impl Stream {
    pub(super) fn new(
        all: Arc<Exchanges>,
        opening: Opening,
        (format, api): (Format, Option<Api>),
        room: usize,
        deadline: Instant,
    ) -> Self {
        let record = Record {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: BytesMut::new(),
            lease: all.buffers.lease(),
            room,
            broken: None,
            instead: None,
            is_faulty: false,
        };
        let (source, translator) = (Source::Opening(opening), Translator::new(format, api));
        Self { all, source, translator, api, record, deadline }
    }

    /// Waits for the head, until a moment. What came instead of a stream is the caller's then.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn open(&mut self, until: Instant) -> Option<Recorded> {
        let Source::Opening(opening) = &mut self.source else { return None };
        match timeout_at(until, opening).await {
            Ok(Opened::Stream(reply)) => self.begin(reply),
            Ok(Opened::Settled(recorded)) => {
                self.source = Source::Ended;
                return Some(recorded);
            }
            Err(_) => {}
        }
        None
    }

    /// The headers of the answer; `None` while there are none.
    pub(super) fn headers(&self) -> Option<&HeaderMap> {
        matches!(self.source, Source::Flowing(_)).then_some(&self.record.headers)
    }

    /// Whether the last event came, though the stream may go on in silence.
    pub(super) fn has_last_event(&self) -> bool {
        let Some(api) = self.api.filter(|_| !self.record.body.is_empty()) else { return false };
        !matches!(api.storable(Form::Stream, &self.record.body), Err(Unstorable::Incomplete | Unstorable::Malformed))
    }

    /// Notes the head of the answer, whose bytes are to come.
    fn begin(&mut self, reply: Reply) {
        let Reply { status, headers, body } = reply;
        (self.record.status, self.record.headers) = (status, headers);
        self.source = Source::Flowing(body);
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.source, Source::Ended)
    }

    /// The next bytes for the client; `None` after the last.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        while !self.has_ended() {
            let silent = Instant::now() + self.all.config.relay_silence;
            let event = tokio::select! {
                biased;
                event = self.source.next() => event,
                () = self.all.drain.is_cut() => Event::Failed(CallError::Interrupted, "shutting down".into()),
                () = sleep_until(self.deadline) => Event::Settled(too_late()),
                () = sleep_until(silent) => Event::Silence,
            };
            if let Some(said) = self.say(event) {
                return Some(said);
            }
        }
        None
    }

    /// What the client is told, if anything.
    fn say(&mut self, event: Event) -> Option<Result<Bytes, Broken>> {
        let said = match event {
            Event::Opened(reply) => {
                self.begin(reply);
                return None;
            }
            Event::Piece(bytes) => match self.record.push(&bytes) {
                Ok(()) => self.translator.push(bytes),
                Err(Full) => {
                    return Some(
                        self.fail(CallError::TooLarge, "no room for the answer (server.buffered, handoff.max_journal)"),
                    );
                }
            },
            Event::End => {
                self.source = Source::Ended;
                let rest = self.translator.finish();
                // What the provider reported itself, where the format has no words for it.
                let failure = self.translator.failure().map(str::to_owned);
                self.record.is_faulty = failure.is_some();
                if failure.is_some_and(|failure| self.translator.fail(&failure).is_none()) {
                    return Some(Err(Broken));
                }
                rest
            }
            Event::Failed(error, message) => return Some(self.fail(error, &message)),
            Event::Settled(recorded) => return Some(self.settle(recorded)),
            Event::Silence => self.translator.keep_alive()?,
        };
        (!said.is_empty()).then_some(Ok(said))
    }

    fn fail(&mut self, error: CallError, message: &str) -> Result<Bytes, Broken> {
        self.source = Source::Ended;
        self.record.broken = Some((error, message.to_owned()));
        self.translator.fail(in_short(error)).ok_or(Broken)
    }

    fn settle(&mut self, recorded: Recorded) -> Result<Bytes, Broken> {
        let message = match &recorded {
            Recorded::Error { error, message } if !self.record.body.is_empty() => return self.fail(*error, message),
            Recorded::Error { error, .. } => in_short(*error).to_owned(),
            Recorded::Response(response) => format!("the provider answered {}", response.status),
        };
        self.source = Source::Ended;
        self.record.instead = Some(recorded);
        self.translator.fail(&message).ok_or(Broken)
    }

    /// Whether the whole answer came.
    pub(super) fn is_complete(&self) -> bool {
        let Record { broken, instead, is_faulty, .. } = &self.record;
        self.has_ended() && broken.is_none() && instead.is_none() && !is_faulty
    }

    /// What came, for the journal.
    pub(super) fn recorded(self) -> (Recorded, Relayed, Lease) {
        let Record { status, headers, body, broken, instead, lease, .. } = self.record;
        let response = Response { status: status.as_u16(), headers, body: body.freeze() };
        (instead.unwrap_or(Recorded::Response(response)), Relayed { broken }, lease)
    }
}

/// What a client may know of it: where the provider is and what the network said is the app's and the operator's
/// business.
fn in_short(error: CallError) -> &'static str {
    match error {
        CallError::Connect | CallError::Unavailable => "the provider could not be reached",
        CallError::ConnectTimeout
        | CallError::FirstByteTimeout
        | CallError::IdleTimeout
        | CallError::TotalTimeout
        | CallError::Deadline => "the provider took too long",
        CallError::Interrupted | CallError::TooLarge | CallError::Protocol => {
            "the provider's answer broke off, or could not be read to its end"
        }
    }
}

impl Source {
    async fn next(&mut self) -> Event {
        match self {
            Self::Opening(opening) => match opening.await {
                Opened::Stream(reply) => Event::Opened(reply),
                Opened::Settled(recorded) => Event::Settled(recorded),
            },
            Self::Flowing(body) => match body.next().await {
                Some(Ok(bytes)) => Event::Piece(bytes),
                Some(Err(failure)) => Event::Failed(word(&failure), failure.to_string()),
                None => Event::End,
            },
            Self::Ended => Event::End,
        }
    }
}

impl Record {
    fn push(&mut self, bytes: &Bytes) -> Result<(), Full> {
        if self.body.len() + bytes.len() > self.room {
            return Err(Full);
        }
        self.lease.grow(bytes.len())?;
        self.body.extend_from_slice(bytes);
        Ok(())
    }
}
