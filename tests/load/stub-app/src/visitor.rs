//! The clients: exchanges at fixed times, whether or not earlier ones have ended.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Write};
use std::rc::Rc;

use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Duration, Instant, sleep_until};

use crate::EXCHANGE;
use crate::flags::Visit;
use crate::wire::{Message, Wire, message};

/// What the exchanges of a run share.
struct Run {
    flags: Visit,
    /// Connections without a request, by address.
    idle: RefCell<HashMap<String, Vec<Wire>>>,
}

/// Prints what came of each exchange.
pub(crate) async fn run(flags: Visit) -> Result<(), Box<dyn std::error::Error>> {
    let run = Rc::new(Run { flags, idle: RefCell::default() });
    let lines = LocalSet::new().run_until(drive(run)).await?;
    io::stdout().write_all(lines.concat().as_bytes())?;
    Ok(())
}

async fn drive(run: Rc<Run>) -> io::Result<Vec<String>> {
    let spacing = Duration::from_secs_f64(1.0 / run.flags.rate);
    let began = Instant::now();
    let mut exchanges = JoinSet::new();
    for number in 0..run.flags.requests {
        sleep_until(began + spacing * number).await;
        let run = Rc::clone(&run);
        exchanges.spawn_local(async move { run.exchange(number).await });
    }
    exchanges.join_all().await.into_iter().collect()
}

impl Run {
    async fn exchange(&self, number: u32) -> io::Result<String> {
        let name = format!("{}-{number}", self.flags.name);
        let mut taken = Duration::ZERO;
        for url in &self.flags.urls {
            let (answer, time) = self.visit(url, &name).await?;
            let [_, status, _] = answer.first_line();
            if status != "200" {
                return Ok(format!("{name} failed {status}\n"));
            }
            taken += time;
        }
        Ok(format!("{name} {}\n", taken.as_nanos()))
    }

    /// The time includes that of a connection, where there is none to use again.
    async fn visit(&self, url: &str, name: &str) -> io::Result<(Message, Duration)> {
        let (address, path) = url.split_once('/').unwrap_or((url, ""));
        let fields = format!("Host: {address}\r\nContent-Type: application/json\r\n{EXCHANGE}: {name}\r\n");
        let request = message(&format!("POST /{path} HTTP/1.1"), &fields, &vec![b'x'; self.flags.body]);
        let kept = self.idle.borrow_mut().get_mut(address).and_then(Vec::pop);
        let began = Instant::now();
        let mut wire = match kept {
            Some(wire) => wire,
            None => Wire::new(TcpStream::connect(address).await?)?,
        };
        wire.write(&request).await?;
        let answer = wire.read().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if !answer.closes() {
            self.idle.borrow_mut().entry(address.to_owned()).or_default().push(wire);
        }
        let taken = answer.complete - began;
        Ok((answer, taken))
    }
}
