//! The listeners: app and provider, on one thread.

use std::io;
use std::sync::Arc;

use siding::handoff::Keys;
use siding::secret::Secret;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::EXCHANGE;
use crate::app::App;
use crate::flags::Serve;
use crate::provider::Provider;
use crate::records::Records;
use crate::wire::{Message, Wire, message};

/// What is sent for a request.
pub(crate) struct Answer {
    pub(crate) status: &'static str,
    /// Header lines with their ends.
    pub(crate) fields: String,
    pub(crate) body: Vec<u8>,
}

enum Role {
    App(App),
    Provider(Provider),
}

/// Serves until the process ends.
pub(crate) async fn run(flags: &Serve) -> Result<(), Box<dyn std::error::Error>> {
    let records = Arc::new(Records::default());
    let keys = Keys::new(Secret::new(flags.secret.as_str()), None)?;
    let app = App {
        keys,
        provider: flags.provider,
        relayed_from: flags.relayed_from.unwrap_or(flags.provider),
        closes: flags.close,
        records: Arc::clone(&records),
    };
    let provider = Provider { latency: flags.latency };
    let apps = listen(TcpListener::bind(flags.app).await?, Role::App(app), Arc::clone(&records));
    let providers = listen(TcpListener::bind(flags.provider).await?, Role::Provider(provider), records);
    tokio::try_join!(apps, providers)?;
    Ok(())
}

async fn listen(listener: TcpListener, role: Role, records: Arc<Records>) -> io::Result<()> {
    let role = Arc::new(role);
    loop {
        let (stream, _) = listener.accept().await?;
        let (role, records) = (Arc::clone(&role), Arc::clone(&records));
        // How a connection ends is the client's affair.
        tokio::spawn(async move { serve(stream, &role, &records).await.ok() });
    }
}

async fn serve(stream: TcpStream, role: &Role, records: &Records) -> io::Result<()> {
    let mut wire = Wire::new(stream)?;
    let closes = matches!(role, Role::App(app) if app.closes);
    while let Some(request) = wire.read().await? {
        let Answer { status, mut fields, body } = role.answer(&request).await;
        if closes {
            fields.push_str("Connection: close\r\n");
        }
        let answer = message(&format!("HTTP/1.1 {status}"), &fields, &body);
        let ready = Instant::now();
        wire.write(&answer).await?;
        if let Some(exchange) = request.header(EXCHANGE) {
            records.add(exchange, ready - request.complete, request.complete.elapsed());
        }
        if closes || request.closes() {
            break;
        }
    }
    Ok(())
}

impl Role {
    async fn answer(&self, request: &Message) -> Answer {
        let [_, target, _] = request.first_line();
        match (target.split('/').nth(1), self) {
            (Some("bytes"), _) => bytes(target),
            (Some("routed"), _) => {
                let mut answer = bytes(target);
                answer.fields.push_str(&format!("Siding-Route: {target}\r\n"));
                answer
            }
            (_, Self::App(app)) => app.answer(request),
            (_, Self::Provider(provider)) => provider.answer().await,
        }
    }
}

/// As many as the target's second part says.
fn bytes(target: &str) -> Answer {
    match target.split(['/', '?']).nth(2).unwrap_or_default().parse() {
        Ok(length) => Answer::new("200 OK", "application/octet-stream", vec![b'x'; length]),
        Err(_) => Answer::new("404 Not Found", "text/plain", Vec::new()),
    }
}

impl Answer {
    pub(crate) fn new(status: &'static str, media_type: &str, body: Vec<u8>) -> Self {
        Self { status, fields: format!("Content-Type: {media_type}\r\n"), body }
    }
}
