//! The app: a worker's two passes (docs/protocol.md) without a view in them.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use siding::handoff::{CALL_MEDIA_TYPE, Direction, Keys, Signed};
use siding::time::unix_seconds;

use crate::EXCHANGE;
use crate::provider::TEXT;
use crate::records::Records;
use crate::server::Answer;
use crate::wire::Message;

/// What it needs.
pub(crate) struct App {
    pub(crate) keys: Keys,
    pub(crate) provider: SocketAddr,
    pub(crate) relayed_from: SocketAddr,
    pub(crate) closes: bool,
    pub(crate) records: Arc<Records>,
}

/// The proxy's side of one pass.
struct Pass<'a> {
    id: &'a str,
    number: u32,
    method: &'a str,
    target: &'a str,
}

impl App {
    pub(crate) fn answer(&self, request: &Message) -> Answer {
        match request.first_line() {
            ["GET", "/records", _] => Answer::new("200 OK", "text/plain", self.records.take().into_bytes()),
            ["POST", "/call" | "/relay", _] => self.pass(request).unwrap_or_else(|fault| {
                // A measurement that goes wrong must not look like one.
                Answer::new("400 Bad Request", "text/plain", fault.into())
            }),
            _ => Answer::new("404 Not Found", "text/plain", Vec::new()),
        }
    }

    fn pass(&self, request: &Message) -> Result<Answer, &'static str> {
        let [method, target, _] = request.first_line();
        let id = request.header("siding-id").ok_or("no offer")?;
        let number = request.header("siding-pass").and_then(|number| number.parse().ok()).ok_or("no pass")?;
        let pass = Pass { id, number, method, target };
        let signature = request.header("siding-signature").ok_or("no signature")?;
        if !self.keys.verify(&pass.signed(Direction::ProxyToApp, &[&request.body]), signature, unix_seconds()) {
            return Err("the offer does not verify");
        }
        match (target, number) {
            ("/relay", 0) => self.relayed(request, &pass),
            ("/relay", _) => Ok(Answer::new("200 OK", "text/plain", Vec::new())),
            (_, 0) => Ok(self.replayed(request, &pass)),
            _ => resume(request),
        }
    }

    fn replayed(&self, request: &Message, pass: &Pass<'_>) -> Answer {
        // Each exchange asks for itself: equal questions would be asked once.
        let prompt = format!("Why do trains wait? {}", pass.id);
        let question = json!({"model": "stub-1", "messages": [{"role": "user", "content": prompt}]});
        let call = call(request, self.provider, &question.to_string());
        self.hand_over(pass, json!({"mode": "replay", "calls": [call]}))
    }

    fn relayed(&self, request: &Message, pass: &Pass<'_>) -> Result<Answer, &'static str> {
        let body = std::str::from_utf8(&request.body).map_err(|_| "a body that is not text")?;
        let call = call(request, self.relayed_from, body);
        let relay = json!({"format": "provider", "on_disconnect": "cancel", "head": {"status": 200, "headers": []}});
        Ok(self.hand_over(pass, json!({"mode": "relay", "calls": [call], "relay": relay})))
    }

    fn hand_over(&self, pass: &Pass<'_>, mut document: Value) -> Answer {
        document["v"] = json!(1);
        document["id"] = json!(pass.id);
        document["pass"] = json!(pass.number);
        let document = document.to_string().into_bytes();
        let signature = self.keys.sign(&pass.signed(Direction::AppToProxy, &[&document]), unix_seconds());
        let mut answer = Answer::new("202 Accepted", &format!("{CALL_MEDIA_TYPE}; v=1"), document);
        answer.fields.push_str(&format!("Cache-Control: no-store\r\nSiding-Signature: {signature}\r\n"));
        answer
    }
}

fn call(request: &Message, provider: SocketAddr, body: &str) -> Value {
    json!({
        "seq": 0, "name": "stub/views.py:call:1#0", "method": "POST",
        "url": format!("http://{provider}/v1/chat/completions"),
        "headers": [
            ["accept", "application/json"], ["content-type", "application/json"],
            ["authorization", "Bearer sk-example"], ["user-agent", "stub/1"],
            [EXCHANGE, request.header(EXCHANGE).unwrap_or_default()],
        ],
        "body": body, "digest": "0".repeat(64), "timeout_ms": 600_000,
    })
}

/// The answer that the journal holds is what the client gets.
fn resume(request: &Message) -> Result<Answer, &'static str> {
    let length = request.header("siding-journal-length").and_then(|length| length.parse().ok()).ok_or("no journal")?;
    let journal = request.body.get(..length).ok_or("half a journal")?;
    let journal: Value = serde_json::from_slice(journal).map_err(|_| "a journal that is not JSON")?;
    let result = journal["entries"][0]["body"].as_str().ok_or("a journal without a result")?;
    let completion: Value = serde_json::from_str(result).map_err(|_| "a result that is not JSON")?;
    let text = &completion["choices"][0]["message"]["content"];
    if text != TEXT {
        return Err("a result of somebody else");
    }
    Ok(Answer::new("200 OK", "application/json", json!({"answer": text}).to_string().into_bytes()))
}

impl Pass<'_> {
    fn signed<'a>(&'a self, direction: Direction, content: &'a [&'a [u8]]) -> Signed<'a> {
        let Self { id, number, method, target } = self;
        Signed { direction, id, pass: *number, method, target, content }
    }
}
