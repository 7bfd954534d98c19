//! `statmux serve`: the real server. Prints where it listens, and serves until it is told to stop.

mod access;
mod limits;

use crate::args::{Common, Format, ScenarioArg};
use crate::interrupt;
use crate::log;
use crate::output::{End, print_line, say};
use crate::progress::Bar;
use crate::scenario::load;
use crate::serving::{BackendKind, engine_settings, fixed, listen, serve};
use anyhow::Context;
use clap::Args;
use serde::Serialize;
use statmux_core::files::{FileError, PlacementFile, check_output};
use statmux_core::{Placement, PlacementWindows};
use statmux_plan::policy::statmux::Scheduling;
use statmux_report::number;
use statmux_scenario::Scenario;
use statmux_serve::engine::holds_nothing;
use statmux_serve::event_log::{LogHeader, LogWriter};
use statmux_serve::http::HttpSettings;
use statmux_serve::{EngineSettings, Record, ServerSettings};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Arguments of `statmux serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    scenario: ScenarioArg,
    /// The placement file; without it, the scenario's policy plans one
    #[arg(long, value_name = "FILE")]
    placement: Option<PathBuf>,
    /// Plans with this policy instead of the scenario's
    #[arg(long, value_name = "NAME", conflicts_with = "placement")]
    policy: Option<String>,
    /// What runs the models
    #[arg(long, value_enum, default_value_t = BackendKind::Candle)]
    backend: BackendKind,
    /// Where to listen: `ADDRESS:PORT`, of which port 0 takes any that is free, or `unix:PATH`, a socket that is
    /// removed at the end
    #[arg(long, value_name = "WHERE", default_value = "127.0.0.1:8080", value_parser = place)]
    listen: Place,
    /// Writes every event and action of the scheduler to this file, for `statmux replay-log`
    #[arg(long, value_name = "FILE")]
    event_log: Option<PathBuf>,
    /// How log lines on stderr are written
    #[arg(long, value_enum, default_value_t = log::LogFormat::Text)]
    log: log::LogFormat,
    /// Writes a line for each request to the log: who asked what, and what became of it
    #[arg(long)]
    access_log: bool,
    #[command(flatten)]
    limits: limits::LimitArgs,
    #[command(flatten)]
    access: access::AccessArgs,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Address(SocketAddr),
    Socket(PathBuf),
}

fn place(text: &str) -> Result<Place, String> {
    match text.strip_prefix("unix:") {
        Some("") => Err("a path follows `unix:`, such as unix:/run/statmux.sock".to_owned()),
        Some(path) => Ok(Place::Socket(PathBuf::from(path))),
        None => text.parse().map(Place::Address).map_err(|_| {
            "neither an address with a port, such as 127.0.0.1:8080, nor a socket, such as unix:/run/statmux.sock"
                .to_owned()
        }),
    }
}

/// What `--format json` prints, on one line.
#[derive(Serialize)]
struct Listening {
    version: u32,
    url: String,
    address: String,
    /// Where the admin paths are, if they have a listener of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    admin_url: Option<String>,
    backend: &'static str,
    models: Vec<String>,
    placement: PlacementFile,
}

pub(crate) fn run(args: &ServeArgs, common: Common) -> anyhow::Result<End> {
    log::begin(args.log, args.access_log, common);
    if let Some(path) = &args.event_log {
        check_output(path)?;
    }
    let mut scenario = load(&args.scenario, common)?;
    let (http, tls) = args.access.apply(args.limits.http())?;
    let http = HttpSettings { access_log: args.access_log, ..http };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let (address, socket) = match &args.listen {
        Place::Address(address) => (Some(*address), None),
        Place::Socket(path) => (None, Some(path.clone())),
    };
    // It answers while the rest is planned and loaded.
    let port = listen(ServerSettings {
        address: address.unwrap_or(ServerSettings::default().address),
        socket: socket.clone(),
        admin_address: args.access.admin_listen,
        engine: EngineSettings::default(),
        http,
        tls,
        renewal: Some(args.access.renewal()),
        workers: args.limits.workers.unwrap_or(ServerSettings::default().workers),
    })
    .context("cannot serve")?;
    let address = match &socket {
        Some(path) => format!("unix:{}", path.display()),
        None => port.address().to_string(),
    };
    let url = if socket.is_some() { address.clone() } else { format!("{scheme}://{address}") };
    let admin_url = port.admin_address().map(|address| format!("{scheme}://{address}"));
    if !common.quiet {
        let places = [Some(&*url), admin_url.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" and ");
        say(format!("loading; meanwhile {places} answers health checks, and tells all others to come back"));
    }
    let placement = placement(args, &mut scenario, common)?;
    let windows = PlacementWindows::fixed(placement.clone());
    let scheduling = Scheduling::of(&scenario.simulation);
    let placement_file = PlacementFile::new(&windows, &scenario.models).with_scheduling(Some(scheduling.entry()));
    let names: Vec<String> = scenario.models.iter().map(|model| model.name.clone()).collect();
    if !common.quiet {
        let predicted = scenario.score_placement(&windows, &scenario.test)?.results.slo_attainment;
        say(format!(
            "{} models on {} groups; simulated SLO attainment for the scenario's workload: {}",
            names.len(),
            placement.groups.len(),
            number::percent(predicted)
        ));
    }
    scenario.simulation.scheduler.retries_after_loss = args.limits.retries_after_loss;
    let header = || LogHeader::new(names.clone(), placement_file.clone(), args.limits.retries_after_loss);
    let log = args.event_log.as_ref().map(|path| LogWriter::create(path, &header())).transpose()?;
    let record = log.as_ref().map_or(Record::Nothing, |log| Record::Sent(log.lines()));
    let engine = EngineSettings { concurrency: args.limits.concurrency, record, ..engine_settings(&scenario) };
    let server = serve(port, args.backend, &scenario, placement, engine).context("cannot serve")?;
    // Who reads the line may tell it to stop at once.
    let told = interrupt::await_first();
    let text = format!("listening on {url}");
    let listening = Listening {
        version: statmux_core::files::VERSION,
        url,
        address,
        admin_url,
        backend: args.backend.name(),
        models: names.clone(),
        placement: placement_file.clone(),
    };
    print_line(common.format, &text, &listening)?;
    if !common.quiet && common.format == Format::Text {
        say(format!("Ctrl-C drains and stops, twice ends at once. What it serves: {}/openapi.json", listening.url));
    }
    told.wait();
    tracing::info!("told to stop");
    server.stop();
    if let (Some(log), Some(path)) = (log, &args.event_log) {
        let ended = log.finish();
        let (path, written) = (path.display(), number::count(ended.written));
        if !ended.is_complete() {
            let missing = format!(
                "{path}: the event log is incomplete: {written} lines written, {} missing",
                number::count(ended.missing)
            );
            return Err(match ended.failure {
                Some(failure) => anyhow::Error::msg(failure.to_string()).context(missing),
                None => anyhow::Error::msg(missing),
            });
        }
        if !common.quiet {
            say(format!("{path}: {written} lines"));
        }
    }
    Ok(End::Done)
}

/// The placement to carry out; scheduling options that it was made for take the place of the scenario's.
fn placement(args: &ServeArgs, scenario: &mut Scenario, common: Common) -> anyhow::Result<Placement> {
    if let Some(path) = &args.placement {
        let windows = scenario.adopt_placement(path)?;
        let placement = fixed(&windows, path, "windows")?;
        if holds_nothing(&placement) {
            return Err(FileError::at_field(path, "windows", "hold no model: nothing could be served")
                .with_help("name models in a group, or leave --placement out to plan one")
                .into());
        }
        return Ok(placement);
    }
    // A bar is no log line.
    let bar = Bar::new(Common { quiet: common.quiet || args.log == log::LogFormat::Json, ..common }, "planning", None);
    let planned = scenario.plan(args.policy.as_deref(), &bar)?;
    bar.finish();
    scenario.adopt_plan(&planned.plan);
    let placement = fixed(&planned.plan.windows, &scenario.path, "planner.policy")?;
    if holds_nothing(&placement) {
        let what = format!("`{}` places no replica of any model: nothing could be served", planned.policy);
        return Err(FileError::at_field(&scenario.path, "planner.policy", what)
            .with_help("`statmux plan` says why for each model")
            .into());
    }
    Ok(placement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_addresses_or_sockets() {
        assert_eq!(place("[::1]:80"), Ok(Place::Address(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 80)))));
        assert_eq!(place("unix:/run/s.sock"), Ok(Place::Socket("/run/s.sock".into())));
        assert_eq!(place("unix:s.sock"), Ok(Place::Socket("s.sock".into())));
        for wrong in ["unix:", "", "localhost", "/run/s.sock", "127.0.0.1"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
