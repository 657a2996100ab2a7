//! Requests whose times were decided before: a file with a line for each.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use hyper::Uri;

/// When a request is due after the beginning, and where it goes.
pub(crate) type Arrival = (Duration, Rc<str>);

/// Reads a file of lines `SECONDS PATH`, in the order of their times.
pub(crate) fn read(file: &Path) -> Result<Rc<[Arrival]>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("--trace {}: {error}", file.display()))?;
    parse(&text).map_err(|line| format!("--trace {}: line {line} is not SECONDS /PATH", file.display()))
}

/// Fails with the number of a line that cannot be read.
fn parse(text: &str) -> Result<Rc<[Arrival]>, usize> {
    text.lines().enumerate().map(|(at, line)| arrival(line).ok_or(at + 1)).collect()
}

fn arrival(line: &str) -> Option<Arrival> {
    let (seconds, path) = line.split_once(' ')?;
    let due = Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
    (path.starts_with('/') && path.parse::<Uri>().is_ok()).then(|| (due, path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_time_and_a_path() {
        let arrivals = parse("0 /a\n0.25 /b?c=d\n").unwrap();
        assert_eq!(*arrivals, [(Duration::ZERO, "/a".into()), (Duration::from_millis(250), "/b?c=d".into())]);
    }

    #[test]
    fn a_line_that_is_neither_is_named() {
        for line in ["1", "x /a", "-1 /a", "1 a", "1 /a b", ""] {
            assert_eq!(parse(&format!("0 /a\n{line}\n")), Err(2), "{line}");
        }
    }
}
