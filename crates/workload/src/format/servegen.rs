//! ServeGen: the rate and the distribution of gaps of each client in each window of ten minutes.
//!
//! The public files are `chunk-N-trace.csv`, one per client and without a header:
//! `timestamp_s,rate_rps,iat_cv,dist,shape,scale`. Files with a header that also names the `client` hold many clients.
//! A function is a client, named by its number. No calls are recorded, only what they were like: requests are always
//! drawn. The mean of the fitted gaps differs from 1 / rate, so the shape is taken from the fit and the scale from the
//! rate. Xiang et al., ServeGen, 2025.

use crate::clock::{Clock, Epoch, Unit};
use crate::input::{Input, stem};
use crate::names::Names;
use crate::recorded::{GapShape, OwnClock, RateWindow, Recorded, Trace};
use crate::rows::{Row, Rows};
use statmux_core::files::FileError;
use statmux_core::{Span, Time};
use std::io::Read;
use std::path::{Path, PathBuf};

/// How long the windows last.
const WINDOW: Span = Span::from_millis(600_000);

pub(super) fn read(files: &[PathBuf], until: Time) -> Result<Trace, FileError> {
    let clock = Clock::new("timestamp_s", Unit::Seconds);
    let mut clients = Clients { names: Names::default(), windows: Vec::new(), end: Time::ZERO, until, clock };
    let several = files.len() > 1;
    for path in files {
        if has_header(path)? {
            let prefix = if several { format!("{}/", stem(path)) } else { String::new() };
            clients.flat(path, &prefix)?;
        } else {
            clients.chunk(path)?;
        }
    }
    let first = clients.windows.iter().flatten().map(|window| window.start).min().unwrap_or_default();
    let own = OwnClock::of(&clients.clock, first);
    let shift = |at: Time| Time::ZERO + at.since(own.zero);
    for windows in &mut clients.windows {
        windows.sort_by_key(|window| window.start);
        windows.iter_mut().for_each(|window| window.start = shift(window.start));
    }
    Ok(Trace {
        functions: clients.names.into_list(),
        start: Time::ZERO,
        end: shift(clients.end),
        recorded: Recorded::Windows(clients.windows),
        taken_off: own.taken_off,
        remarks: own.remarks,
    })
}

/// Public files begin with a digit, ours with the word `client`.
fn has_header(path: &Path) -> Result<bool, FileError> {
    let mut first = [0_u8; 1];
    let count = Input::open(path)?.read(&mut first).map_err(|cause| crate::input::read_error(path, cause))?;
    Ok(count > 0 && !first[0].is_ascii_digit())
}

struct Clients {
    names: Names,
    windows: Vec<Vec<RateWindow>>,
    end: Time,
    until: Time,
    clock: Clock,
}

impl Clients {
    fn flat(&mut self, path: &Path, prefix: &str) -> Result<(), FileError> {
        let mut rows = Rows::open(path)?;
        let client = rows.column("client")?;
        let columns = [
            rows.column("timestamp_s")?,
            rows.column("rate_rps")?,
            rows.column("iat_cv")?,
            rows.column("dist")?,
            rows.column("shape")?,
        ];
        while let Some(row) = rows.next()? {
            let name = format!("{prefix}{}", row.text(client, "client")?);
            self.window(&row, &name, columns)?;
        }
        Ok(())
    }

    fn chunk(&mut self, path: &Path) -> Result<(), FileError> {
        let name = stem(path);
        let number = name.strip_prefix("chunk-").and_then(|rest| rest.strip_suffix("-trace")).unwrap_or(&name);
        let mut rows = Rows::open_without_header(path)?;
        while let Some(row) = rows.next()? {
            if row.len() != 6 {
                let len = row.len();
                return Err(
                    row.error(format!("has {len} fields; timestamp_s,rate_rps,iat_cv,dist,shape,scale were expected"))
                );
            }
            self.window(&row, number, [0, 1, 2, 3, 4])?;
        }
        Ok(())
    }

    /// Takes in a window, unless it had no traffic.
    fn window(&mut self, row: &Row<'_>, client: &str, columns: [usize; 5]) -> Result<(), FileError> {
        let [at, rate, cv, dist, shape] = columns;
        let id = self.names.id(client.as_bytes()).ok_or_else(|| row.error("there are too many clients"))?;
        self.windows.resize(self.names.list().len(), Vec::new());
        let start = row.time(at, &mut self.clock)?;
        self.end = self.end.max(start + WINDOW);
        let rate = row.number(rate, "rate_rps")?;
        if !rate.is_finite() || rate < 0.0 {
            return Err(row.error(format!("rate_rps is {rate}, which is no rate")));
        }
        // Only times on the recording's own clock can be compared with the window asked for.
        if rate == 0.0 || (start >= self.until && self.clock.epoch() == Epoch::Own) {
            return Ok(());
        }
        let positive = |column: usize, name: &str| {
            let number = row.number(column, name)?;
            if number.is_finite() && number > 0.0 {
                Ok(number)
            } else {
                Err(row.error(format!("{name} is {number}; a number above 0 was expected")))
            }
        };
        let gaps = match row.bytes(dist) {
            b"Gamma" => GapShape::Gamma(positive(shape, "shape")?),
            b"Weibull" => GapShape::Weibull(positive(shape, "shape")?),
            other => {
                let other = String::from_utf8_lossy(other).into_owned();
                return Err(
                    row.error(format!("dist is `{}`; Gamma or Weibull was expected", crate::messages::shorten(&other)))
                );
            }
        };
        let cv = row.number(cv, "iat_cv")?;
        if !cv.is_finite() || cv < 0.0 {
            return Err(row.error(format!("iat_cv is {cv}, which is no CV")));
        }
        self.windows[id as usize].push(RateWindow { start, length: WINDOW, rate, cv, gaps });
        Ok(())
    }
}
