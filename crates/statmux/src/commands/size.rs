//! `statmux size`: how few devices keep the promises, or how much the devices there are can hold.

use crate::args::{Common, ScenarioArg};
use crate::interrupt;
use crate::output::{End, UsageError, print};
use crate::progress::Bar;
use crate::scenario::{Override, Scenario};
use crate::sizing::{Answer, Axis, Question};
use clap::Args;
use serde::Serialize;
use statmux_core::files::FileError;
use statmux_report::number;
use statmux_report::table::{Cell, Column, Table};

/// Arguments of `statmux size`.
#[derive(Debug, Args)]
pub(crate) struct SizeArgs {
    #[command(flatten)]
    scenario: ScenarioArg,
    /// The SLO attainment to keep on the test window, such as `99%` or `0.99`
    #[arg(long, value_name = "SHARE", value_parser = share)]
    target: f64,
    /// What is varied
    #[arg(long, value_enum, default_value_t = Axis::Devices)]
    axis: Axis,
    /// The policies to ask; the scenario's own if left out
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    policies: Vec<String>,
    /// How many seeds to repeat it with: the scenario's and those after it
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// The most devices to try
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    most_devices: u32,
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
    axis: &'static str,
    target: f64,
    seeds: Vec<u64>,
    policies: Vec<Sized>,
    /// What no placement and no scheduler can improve on.
    bound: Estimate,
    trained_on: &'static str,
    provenance: Vec<String>,
}

/// What one policy needs.
#[derive(Serialize)]
struct Sized {
    policy: String,
    #[serde(flatten)]
    estimate: Estimate,
    /// (value, attainment) tried with the first seed.
    tried: Vec<(f64, f64)>,
}

/// One figure from several seeds.
#[derive(Serialize)]
struct Estimate {
    /// With each seed; absent where nothing within reach suffices.
    values: Vec<Option<f64>>,
    /// Their mean; absent unless every seed has a value.
    mean: Option<f64>,
    /// Half the width of the 95 % confidence interval of the mean (Student's t); absent with a single seed.
    plus_minus: Option<f64>,
}

pub(crate) fn run(args: &SizeArgs, common: Common) -> anyhow::Result<End> {
    let overrides: Vec<Override> = args.scenario.overrides()?;
    let path = &args.scenario.path;
    let base = Scenario::load_with(path, &overrides, common.seed)?;
    base.tell(common);
    let own = [base.planner.policy().to_owned()];
    let policies = if args.policies.is_empty() { &own[..] } else { &args.policies[..] };
    let names: Vec<&str> = policies.iter().map(String::as_str).collect();
    base.planner.build_each(path, &names)?;
    let question =
        Question { path, overrides: &overrides, axis: args.axis, target: args.target, most_devices: args.most_devices };
    if args.axis == Axis::Devices && base.cluster.devices().windows(2).any(|pair| pair[0].memory != pair[1].memory) {
        let what = "are unequal: which kind should be counted? Give [cluster] devices and memory";
        return Err(FileError::at_field(path, "cluster.nodes", what).into());
    }
    let seeds: Vec<u64> = (0..args.seeds).map(|after| base.seed.0.wrapping_add(after)).collect();
    interrupt::keep_parts();
    let bar = Bar::new(common, args.axis.aim(), Some(seeds.len() as u64 * policies.len() as u64));
    let mut sized = Vec::new();
    for policy in policies {
        let mut answers: Vec<Answer> = Vec::new();
        for &seed in &seeds {
            answers.push(question.answer(policy, Some(seed), &bar)?);
            if interrupt::asked() {
                return Err(UsageError("interrupted before an answer was found".to_owned()).into());
            }
            bar.step();
        }
        let estimate = Estimate::new(answers.iter().map(|answer| answer.value).collect());
        sized.push(Sized { policy: policy.clone(), estimate, tried: answers.swap_remove(0).tried });
    }
    bar.finish();
    let bounds = seeds.iter().map(|&seed| Ok(question.bound(Some(seed))?.value));
    let result = SizeResult {
        version: statmux_core::files::VERSION,
        axis: args.axis.unit(),
        target: args.target,
        policies: sized,
        bound: Estimate::new(bounds.collect::<anyhow::Result<_>>()?),
        seeds,
        trained_on: base.trained_on.name(),
        provenance: base.provenance.clone(),
    };
    print(common.format, || text(args, &base, &result), &result)?;
    let reached = result.policies.iter().any(|sized| sized.estimate.values.iter().all(Option::is_some));
    Ok(if reached { End::Done } else { End::TargetMissed })
}

impl Estimate {
    fn new(values: Vec<Option<f64>>) -> Self {
        let known: Vec<f64> = values.iter().flatten().copied().collect();
        let all = known.len() == values.len() && !known.is_empty();
        let count = known.len() as f64;
        let mean = known.iter().sum::<f64>() / count;
        let variance = known.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let plus_minus = (all && known.len() > 1).then(|| student_t(known.len() - 1) * (variance / count).sqrt());
        Self { values, mean: all.then_some(mean), plus_minus }
    }

    fn cells(&self, axis: Axis) -> [Cell; 2] {
        let shown = |value: f64| if axis == Axis::Devices { format!("{value}") } else { number::significant(value, 3) };
        let values: Vec<String> =
            self.values.iter().map(|value| value.map_or_else(|| "none".to_owned(), shown)).collect();
        let mean = self.mean.map_or_else(Cell::nothing, |mean| {
            let around = self.plus_minus.map(|around| format!(" ± {}", number::significant(around, 2)));
            let mean = number::significant(mean, 3) + &around.unwrap_or_default();
            Cell::from(mean.as_str())
        });
        [mean, Cell::from(values.join(" ").as_str())]
    }
}

/// The two-sided 95 % point of Student's t distribution; from 30 degrees of freedom on, the normal distribution's
/// with the first term of its expansion.
fn student_t(degrees: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
    ];
    TABLE.get(degrees - 1).copied().unwrap_or(1.96 + 2.37 / degrees as f64)
}

fn text(args: &SizeArgs, base: &Scenario, result: &SizeResult) -> String {
    let axis = args.axis;
    let mut table = Table::new([Column::text("policy"), Column::number(axis.heading()), Column::text("by seed")]);
    for sized in &result.policies {
        let [mean, values] = sized.estimate.cells(axis);
        table.row([Cell::from(sized.policy.as_str()), mean, values]);
    }
    let [mean, values] = result.bound.cells(axis);
    table.row([Cell::from("bound: no plan can do better"), mean, values]);
    let seeds = match result.seeds.as_slice() {
        [seed] => format!("Seed {seed}."),
        [first, .., last] => format!("Seeds {first} to {last}; ± is the 95 % confidence interval of the mean."),
        [] => String::new(),
    };
    let mut text = format!(
        "For an SLO attainment of {} on the test window, {}.\n\n{}\n{seeds} {}\n",
        number::percent(result.target),
        match axis {
            Axis::Devices => format!("devices of {}", base.cluster.smallest_memory()),
            _ => format!("{} devices", base.cluster.len()),
        },
        table.to_text(),
        base.trained_on.sentence(),
    );
    for line in &result.provenance {
        text.push_str(&format!("stage times: {line}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_in_both_ways() {
        assert_eq!((share("99%"), share(" 99.5 % "), share("0.9")), (Ok(0.99), Ok(0.995), Ok(0.9)));
        assert!(share("0").is_err() && share("101%").is_err() && share("nan").is_err() && share("many").is_err());
    }

    #[test]
    fn the_interval_is_students() {
        let estimate = Estimate::new(vec![Some(10.0), Some(12.0), Some(14.0)]);
        assert_eq!(estimate.mean, Some(12.0));
        // 4.303 times 2 over the root of 3.
        assert!((estimate.plus_minus.expect("three seeds") - 4.969).abs() < 1e-3);
        assert_eq!(Estimate::new(vec![Some(1.0), None]).mean, None);
        assert_eq!(Estimate::new(vec![Some(1.0)]).plus_minus, None);
        assert!((student_t(31) - 2.040).abs() < 5e-3 && (student_t(1000) - 1.962).abs() < 1e-3);
    }
}
