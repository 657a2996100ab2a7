//! gunicorn's control socket: one question, `show workers`. A message is a length of four bytes, then JSON.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::Deserialize;

use super::Unseen;
use crate::time::Duration;

/// How long the answer may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest answer, in bytes.
const LONGEST: usize = 1024 * 1024;
const QUESTION: &[u8] = br#"{"id": 1, "command": "show workers", "args": []}"#;

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    workers: Vec<Worker>,
}

/// Whether it has booted only the worker itself knows: gunicorn's master says no of all.
#[derive(Deserialize)]
struct Worker {
    #[serde(default)]
    aborted: bool,
}

/// How many workers there are.
pub(super) fn serving(path: &Path) -> Result<usize, Unseen> {
    let answer = ask(path).map_err(|error| Unseen::Failed(format!("{}: {error}", path.display())))?;
    let answer: Answer = serde_json::from_slice(&answer).map_err(|error| Unseen::Failed(error.to_string()))?;
    let data = answer.data.ok_or_else(|| Unseen::Failed("the answer names no workers".into()))?;
    Ok(data.workers.iter().filter(|worker| !worker.aborted).count())
}

fn ask(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut socket = UnixStream::connect(path)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    let length = u32::try_from(QUESTION.len()).unwrap_or_default();
    socket.write_all(&length.to_be_bytes())?;
    socket.write_all(QUESTION)?;
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(std::io::Error::other("the answer is too long"));
    }
    let mut answer = vec![0; length];
    socket.read_exact(&mut answer)?;
    Ok(answer)
}
