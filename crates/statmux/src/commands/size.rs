//! `statmux size`: how few devices keep the promises, or how much the devices there are can hold.

use crate::args::{Common, ScenarioArg};
use crate::commands::tables::fates;
use crate::interrupt;
use crate::output::{End, print_beside};
use crate::progress::Bar;
use crate::scenario::tell;
use crate::sizing::{Amount, Answer, Axis, Ground, Like, Question, Search, Tried, beside};
use clap::Args;
use serde::Serialize;
use statmux_core::files::{PlacementFile, UnservedModel, WorstModel, check_output, write_atomically};
use statmux_core::{Share, Span};
use statmux_plan::policy::statmux::Scheduling;
use statmux_report::number;
use statmux_report::table::{Cell, Column, Table};
use statmux_scenario::{BOUND_OF, Override, Planned, Scenario, bounded};
use std::path::PathBuf;

/// Arguments of `statmux size`.
#[derive(Debug, Args)]
pub(crate) struct SizeArgs {
    #[command(flatten)]
    scenario: ScenarioArg,
    /// The SLO attainment to keep on the test window, such as `99%` or `0.99`
    #[arg(long, value_name = "SHARE", value_parser = share)]
    target: f64,
    /// The share of its requests that every model is to get in time, such as `95%`; the scenario's `planner.floor` if
    /// left out
    #[arg(long, value_name = "SHARE")]
    each: Option<Share>,
    /// What is varied
    #[arg(long, value_enum, default_value_t = Axis::Devices)]
    axis: Axis,
    /// The policies to ask; the scenario's own if left out
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    policies: Vec<String>,
    /// On how many draws of traffic like the scenario's the answer is held against the target: blocks of the record,
    /// drawn with repetition, or new seeds where the scenario draws its requests. 0 looks at its own requests only
    #[arg(long, value_name = "N", default_value_t = 40, visible_alias = "seeds")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=10_000))]
    draws: u32,
    /// The share of draws on which the target must be kept
    #[arg(long, value_name = "SHARE", default_value = "95%", value_parser = share)]
    confidence: f64,
    /// How long the blocks of a recorded window are; a twenty-fourth of it (at least ten SLOs) if left out
    #[arg(long, value_name = "TIME")]
    block: Option<Span>,
    /// The most devices to try
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    most_devices: u32,
    /// Writes the plan for the answer to this file (of several policies, the best answer's); `-` is stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// `99%`, `99 %` or `0.99`.
fn share(text: &str) -> Result<f64, String> {
    let (number, whole) = match text.trim().strip_suffix('%') {
        Some(percent) => (percent.trim(), 100.0),
        None => (text.trim(), 1.0),
    };
    let share = number.parse::<f64>().map_err(|_| "is no share: write 99% or 0.99".to_owned())? / whole;
    if share > 0.0 && share <= 1.0 { Ok(share) } else { Err("must lie above 0 and at most at 1 (100%)".to_owned()) }
}

/// What `--format json` prints.
#[derive(Serialize)]
struct SizeResult {
    version: u32,
    /// Whether a signal came before all policies were answered for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
    axis: &'static str,
    target: f64,
    confidence: f64,
    seed: u64,
    draws: Draws,
    /// The best answer of all policies; absent if there is none.
    answer: Option<Best>,
    policies: Vec<Sized>,
    /// Where the bound reaches the target: no plan that stays loaded can do with less, under any scheduler.
    bound: Option<Amount>,
    /// Which plans the bound is of.
    bound_of: &'static str,
    trained_on: &'static str,
    /// What in the scenario looks like a mistake.
    warnings: Vec<String>,
    provenance: Vec<String>,
}

#[derive(Serialize)]
struct Draws {
    number: u32,
    of: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_s: Option<f64>,
}

#[derive(Serialize)]
struct Best {
    policy: String,
    value: Amount,
    /// The chance that traffic like this misses the target is no larger than this, with 95 % confidence; absent without
    /// draws.
    risk_at_most: Option<f64>,
    /// Where the plan for it was written.
    placement: Option<PathBuf>,
}

/// What one policy needs.
#[derive(Serialize)]
struct Sized {
    policy: String,
    /// Absent if nothing within reach suffices.
    value: Option<Amount>,
    /// What suffices for the scenario's own requests.
    on_this_traffic: Option<Amount>,
    /// Why there is no value.
    reason: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
    tried: Vec<Tried>,
    /// What the plan for the value does on the scenario's own requests: its worst model, and whom it does not serve.
    #[serde(flatten)]
    fate: Option<Fate>,
}

/// What an attainment over all requests hides.
#[derive(Serialize)]
struct Fate {
    worst_model: Option<WorstModel>,
    unserved: Vec<UnservedModel>,
    #[serde(skip)]
    text: String,
}

pub(crate) fn run(args: &SizeArgs, common: Common) -> anyhow::Result<End> {
    if let Some(path) = &args.output {
        check_output(path)?;
    }
    let overrides: Vec<Override> = args.scenario.overrides()?;
    let question = Question {
        path: &args.scenario.path,
        overrides: &overrides,
        seed: common.seed,
        axis: args.axis,
        target: args.target,
        each: args.each,
        confidence: args.confidence,
        draws: args.draws,
        block: args.block,
        most_devices: args.most_devices,
    };
    let ground = Ground::new(&question)?;
    let base = &ground.base;
    tell(base, common);
    let own = [base.planner.policy().to_owned()];
    let policies = if args.policies.is_empty() { &own[..] } else { &args.policies[..] };
    let names: Vec<&str> = policies.iter().map(String::as_str).collect();
    base.planner.build_each(question.path, &names)?;
    interrupt::keep_parts();
    let bar = Bar::new(common, args.axis.aim(), None);
    bar.line(&format!("{}: the bound for {}", args.axis.aim(), number::percent(args.target)));
    let floor = ground.floor(BOUND_OF)?;
    let mut answers: Vec<Answer> = Vec::new();
    for policy in policies {
        if !interrupt::asked() {
            // What replaces models while requests arrive is held to a bound of its own.
            let of = bounded(policy);
            let floor = if of == BOUND_OF { floor } else { ground.floor(of)? };
            answers.push(Search::new(&ground, policy, &bar).answer(floor)?);
        }
    }
    bar.finish();
    let interrupted = answers.len() < policies.len() || answers.iter().any(|answer| answer.interrupted);
    let best = best(args.axis, &answers);
    if let (Some(path), Some((scenario, planned))) = (&args.output, best.and_then(|best| best.plan.as_ref())) {
        let scheduling = planned.plan.scheduling.as_ref().map(Scheduling::entry);
        let file = PlacementFile::new(&planned.plan.windows, &scenario.models).with_scheduling(scheduling);
        write_atomically(path, file.with_interrupted(interrupted).to_json().as_bytes())?;
    }
    let answer = best.and_then(|best| {
        Some(Best {
            policy: best.policy.clone(),
            value: best.value?,
            risk_at_most: risk(best),
            placement: args.output.clone(),
        })
    });
    let (of, block_s) = match ground.like {
        Like::Seeds => ("new seeds", None),
        Like::Blocks(block) => ("blocks of the record", Some(block.seconds())),
    };
    let result = SizeResult {
        version: statmux_core::files::VERSION,
        interrupted,
        axis: args.axis.unit(),
        target: args.target,
        confidence: args.confidence,
        seed: base.seed.0,
        draws: Draws { number: args.draws, of, block_s },
        answer,
        policies: answers.into_iter().map(Sized::new).collect::<anyhow::Result<_>>()?,
        bound: floor.map(|ease| ground.value(ease)),
        bound_of: BOUND_OF.words(),
        trained_on: base.trained_on.name(),
        warnings: base.warnings.clone(),
        provenance: base.provenance.clone(),
    };
    print_beside(args.output.as_deref(), common.format, || text(args, &ground, &result), &result)?;
    Ok(match (interrupted, &result.answer) {
        (true, _) => End::Interrupted,
        (false, Some(_)) => End::Done,
        (false, None) => End::TargetMissed,
    })
}

/// The answer that asks for the least, or holds the most; of equals, the first policy's.
fn best(axis: Axis, answers: &[Answer]) -> Option<&Answer> {
    let cost = |answer: &&Answer| {
        let number = answer.value.map_or(f64::INFINITY, Amount::number);
        if matches!(axis, Axis::Rate | Axis::Cv) { -number } else { number }
    };
    answers.iter().filter(|answer| answer.value.is_some()).min_by(|a, b| cost(a).total_cmp(&cost(b)))
}

/// The largest chance of missing the target that would still show at most as many misses as there were in one of twenty
/// cases: the upper end of Clopper and Pearson's interval.
fn risk(answer: &Answer) -> Option<f64> {
    let at = answer.tried.iter().find(|tried| Some(tried.value) == answer.value)?;
    let drawn = at.draws?;
    let missed = drawn.number - drawn.kept;
    let likely = |risk: f64| {
        // The binomial distribution function, term by term from none missed.
        let mut term = (1.0 - risk).powi(drawn.number as i32);
        let mut sum = term;
        for k in 0..missed {
            term *= f64::from(drawn.number - k) / f64::from(k + 1) * risk / (1.0 - risk);
            sum += term;
        }
        sum
    };
    if missed == drawn.number {
        return Some(1.0);
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if likely(middle) > 0.05 { low = middle } else { high = middle }
    }
    Some(high)
}

impl Sized {
    fn new(answer: Answer) -> anyhow::Result<Self> {
        let Answer { policy, value, on_this_traffic, reason, interrupted, tried, plan } = answer;
        let fate = |(scenario, planned): (Scenario, Planned)| -> anyhow::Result<Fate> {
            let results = scenario.score(&planned.plan, &scenario.test)?.results;
            Ok(Fate { text: fates(&results), worst_model: results.worst_model, unserved: results.unserved })
        };
        let fate = plan.map(fate).transpose()?;
        Ok(Self { policy, value, on_this_traffic, reason, interrupted, tried, fate })
    }
}

fn text(args: &SizeArgs, ground: &Ground<'_>, result: &SizeResult) -> String {
    let (axis, base) = (args.axis, &ground.base);
    let each = base.planner.floor().map_or_else(String::new, |floor| format!(", {floor} for each model,"));
    let mut text = format!(
        "For an SLO attainment of {}{each} on {} requests, {}.\n\n",
        number::percent(result.target),
        number::count(base.test.len() as u64),
        match axis {
            Axis::Devices => format!("devices of {}", base.cluster.smallest_memory()),
            _ => format!("{} devices", base.cluster.len()),
        },
    );
    if result.policies.iter().any(|sized| !sized.tried.is_empty()) {
        text.push_str(&format!("{}\n", tried_table(axis, result).to_text()));
    }
    if let Some(best) = &result.answer {
        text.push_str(&format!("Answer: {}, planned by {}.\n", amount(axis, best.value), best.policy));
    }
    for sized in &result.policies {
        text.push_str(&format!("{}: {}\n", sized.policy, sentence(axis, result, sized)));
        for line in sized.fate.iter().flat_map(|fate| fate.text.lines()) {
            text.push_str(&format!("  {line}\n"));
        }
    }
    match result.bound {
        Some(bound) => {
            let (beyond, bound) = (beyond(axis), amount(axis, bound));
            text.push_str(&format!("No plan that stays loaded can do {beyond} {bound}, under any scheduler.\n"));
        }
        None => text.push_str("No plan that stays loaded can reach the target, under any scheduler.\n"),
    }
    if result.interrupted {
        text.push_str("Interrupted: the search was not finished.\n");
    }
    if let (Some(best), Some(path)) = (&result.answer, &args.output) {
        text.push_str(&format!("{}'s plan for it is in {}", best.policy, path.display()));
        if let Amount::Whole(devices) = best.value {
            text.push_str(&format!(", for --set cluster.devices={devices}"));
        }
        text.push_str(".\n");
    }
    if result.draws.number > 0 {
        let number = result.draws.number;
        text.push_str(&match result.draws.block_s {
            Some(block) => format!(
                "Traffic like this: {number} times blocks of {} of the record, drawn with repetition (--draws, --block).\n",
                number::duration(block)
            ),
            None => format!("Traffic like this: the workload drawn anew with {number} other seeds (--draws).\n"),
        });
    }
    text.push_str(base.trained_on.sentence());
    text.push('\n');
    for line in &result.provenance {
        text.push_str(&format!("stage times: {line}\n"));
    }
    text
}

/// Every point tried, policy by policy.
fn tried_table(axis: Axis, result: &SizeResult) -> Table {
    let heading = if axis == Axis::Slo { "SLOs" } else { axis.unit() };
    let columns = [heading, "attainment", "bound", "kept on draws", "worst draw", "time"].map(Column::number);
    let mut table = Table::new([Column::text("policy")].into_iter().chain(columns));
    let share = |share: f64| Cell::from(beside(share, result.target).as_str());
    for sized in &result.policies {
        for tried in &sized.tried {
            let kept = tried.draws.map(|drawn| format!("{} of {}", drawn.kept, drawn.number));
            table.row([
                Cell::from(sized.policy.as_str()),
                Cell::from(tried.value.shown().as_str()),
                tried.attainment.map_or_else(Cell::nothing, share),
                share(tried.bound),
                kept.map_or_else(Cell::nothing, |kept| Cell::from(kept.as_str())),
                tried.draws.map_or_else(Cell::nothing, |drawn| share(drawn.worst)),
                Cell::from(number::duration(tried.wall_s).as_str()),
            ]);
        }
    }
    table
}

/// What the policy's answer means.
fn sentence(axis: Axis, result: &SizeResult, sized: &Sized) -> String {
    let target = number::percent(result.target);
    let Some(value) = sized.value else {
        let reason = sized.reason.clone().unwrap_or_else(|| "interrupted before an answer was found".to_owned());
        return match sized.on_this_traffic {
            Some(own) => format!("{} for these very requests, but {reason}.", amount(axis, own)),
            None => format!("none: {reason}."),
        };
    };
    let mut text = amount(axis, value);
    let at = sized.tried.iter().find(|tried| tried.value == value);
    if let Some(drawn) = at.and_then(|tried| tried.draws) {
        text.push_str(&format!(" kept {target} on {} of {} draws of traffic like this", drawn.kept, drawn.number));
        if let Some(best) = result.answer.as_ref().filter(|best| best.policy == sized.policy)
            && let Some(risk) = best.risk_at_most
        {
            text.push_str(&format!("; the risk of missing it is at most {} (95 % confidence)", number::percent(risk)));
        }
    } else {
        text.push_str(&format!(" keep {target} on these requests"));
    }
    if let Some(own) = sized.on_this_traffic.filter(|&own| own != value) {
        text.push_str(&format!("; these very requests would do with {}", amount(axis, own)));
    }
    format!("{text}.")
}

/// A value with its unit.
fn amount(axis: Axis, amount: Amount) -> String {
    match (axis, amount) {
        (Axis::Devices, Amount::Whole(1)) => "1 device".to_owned(),
        (Axis::Cv, _) => format!("CV {}", amount.shown()),
        _ => format!("{} {}", amount.shown(), axis.unit()),
    }
}

fn beyond(axis: Axis) -> &'static str {
    match axis {
        Axis::Devices => "with fewer than",
        Axis::Rate | Axis::Cv => "with more than",
        Axis::Slo => "with less than",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sizing::Drawn;

    #[test]
    fn shares_are_read_in_both_ways() {
        assert_eq!((share("99%"), share(" 99.5 % "), share("0.9")), (Ok(0.99), Ok(0.995), Ok(0.9)));
        assert!(share("0").is_err() && share("101%").is_err() && share("nan").is_err() && share("many").is_err());
    }

    #[test]
    fn the_risk_is_clopper_and_pearsons() {
        let of = |number: u32, kept: u32| {
            let draws = Some(Drawn::new(number, kept));
            let value = Amount::Whole(9);
            let tried = Tried { value, attainment: Some(1.0), bound: 1.0, draws, wall_s: 0.0 };
            let answer = Answer {
                policy: String::new(),
                value: Some(value),
                on_this_traffic: None,
                reason: None,
                interrupted: false,
                tried: vec![tried],
                plan: None,
            };
            risk(&answer).expect("there were draws")
        };
        // None of 59 missed: the rule of three. Others by whole sums of the distribution.
        assert!((of(59, 59) - (1.0 - 0.05_f64.powf(1.0 / 59.0))).abs() < 1e-9);
        assert!((of(20, 19) - 0.216_106).abs() < 1e-5);
        assert!((of(40, 38) - 0.149_152).abs() < 1e-5);
        assert!((of(5, 0) - 1.0).abs() < 1e-9);
    }
}
