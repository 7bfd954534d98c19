//! One policy's answer: points are planned with a share of the search until the border is passed, once more in full just
//! beside it, and then held against draws of traffic like the scenario's.

use super::patience::Patience;
use super::walk::least;
use super::why::{obstacles, too_slow};
use super::{Amount, Axis, Ground, beside};
use crate::interrupt;
use crate::progress::Bar;
use rayon::prelude::*;
use serde::Serialize;
use statmux_core::files::{FileError, ModelResult, ResultsFile};
use statmux_plan::Progress;
use statmux_plan::policy::find;
use statmux_report::number;
use statmux_scenario::{Planned, Scenario, ScenarioError, bounded, is_clairvoyant, short_of_floor};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// The share of a search that a point gets at first.
const COARSE: f64 = 0.1;

/// Attainment that does not rise by more than this with twice as many devices does not rise any more.
const PLATEAU: f64 = 0.0005;

/// A point that misses so many times what it may is out, however long the search.
const CLEARLY_OUT: f64 = 4.0;

/// What one policy needs.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The policy.
    pub(crate) policy: String,
    /// What holds on the scenario's requests and on enough draws of traffic like them.
    pub(crate) value: Option<Amount>,
    /// What holds on the scenario's requests alone.
    pub(crate) on_this_traffic: Option<Amount>,
    /// Why there is no value.
    pub(crate) reason: Option<String>,
    /// Whether a signal came before the answer was found.
    pub(crate) interrupted: bool,
    /// Every point tried, by value.
    pub(crate) tried: Vec<Tried>,
    /// The plan for the value, with the scenario that it is for.
    pub(crate) plan: Option<(Scenario, Planned)>,
}

/// A point that was tried.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Tried {
    pub(crate) value: Amount,
    /// On the scenario's requests; absent where the policy cannot build anything.
    pub(crate) attainment: Option<f64>,
    /// What no plan can exceed there.
    pub(crate) bound: f64,
    /// Draws of traffic like the scenario's that it was held against, if any.
    pub(crate) draws: Option<Drawn>,
    /// Planning and simulating.
    pub(crate) wall_s: f64,
}

/// What became of a plan on draws of traffic.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Drawn {
    pub(crate) number: u32,
    /// On how many of them the target was kept.
    pub(crate) kept: u32,
    /// Whether those are enough.
    pub(crate) enough: bool,
    /// The merit that the demanded share of draws reaches.
    #[serde(skip)]
    merit: f64,
    /// The least attainment.
    pub(crate) worst: f64,
}

#[cfg(test)]
impl Drawn {
    pub(crate) fn new(number: u32, kept: u32) -> Self {
        Self { number, kept, enough: true, merit: 1.0, worst: 1.0 }
    }
}

/// Why a search ends without an answer.
enum Stop {
    Interrupted,
    Ceiling(String),
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

struct Point {
    /// Absent where the policy cannot build anything.
    planned: Option<Planned>,
    scenario: Scenario,
    share: f64,
    attainment: f64,
    /// Attainment, less the requests that the models are short of the floor, as a share of all.
    merit: f64,
    kept: bool,
    bound: f64,
    models: Vec<ModelResult>,
    draws: Option<Drawn>,
    wall_s: f64,
}

/// The search for one policy's answer.
pub(crate) struct Search<'g> {
    ground: &'g Ground<'g>,
    policy: &'g str,
    bar: &'g Bar,
    points: BTreeMap<i64, Point>,
    impossible: Option<String>,
}

impl<'g> Search<'g> {
    pub(crate) fn new(ground: &'g Ground<'g>, policy: &'g str, bar: &'g Bar) -> Self {
        Self { ground, policy, bar, points: BTreeMap::new(), impossible: None }
    }

    /// The answer; `floor` is where the bound reaches the target, if anywhere.
    pub(crate) fn answer(mut self, floor: Option<i64>) -> anyhow::Result<Answer> {
        let (mut own, mut value, mut reason, mut interrupted) = (None, None, None, false);
        match self.search(floor, &mut own) {
            Ok(found) => value = Some(found),
            Err(Stop::Interrupted) => interrupted = true,
            Err(Stop::Ceiling(why)) => reason = Some(why),
            Err(Stop::Failed(error)) => return Err(error),
        }
        let ground = self.ground;
        let tried = self.points.iter().map(|(&ease, point)| Tried {
            value: ground.value(ease),
            attainment: point.planned.is_some().then_some(point.attainment),
            bound: point.bound,
            draws: point.draws,
            wall_s: point.wall_s,
        });
        let mut tried: Vec<Tried> = tried.collect();
        tried.sort_by(|a, b| a.value.number().total_cmp(&b.value.number()));
        let plan = value.and_then(|ease| self.points.remove(&ease)).and_then(|p| Some((p.scenario, p.planned?)));
        Ok(Answer {
            policy: self.policy.to_owned(),
            value: value.map(|ease| ground.value(ease)),
            on_this_traffic: own.map(|ease| ground.value(ease)),
            reason,
            interrupted,
            tried,
            plan,
        })
    }

    fn search(&mut self, floor: Option<i64>, own: &mut Option<i64>) -> Result<i64, Stop> {
        let (ground, range) = (self.ground, self.ground.range());
        let highest = *range.end();
        let Some(floor) = floor else { return Err(Stop::Ceiling(self.unreachable(highest)?)) };
        let Some(mut enough) = least(floor..=highest, floor, |ease| self.holds(ease, COARSE))? else {
            return Err(Stop::Ceiling(self.not_within(highest)));
        };
        // A longer search may do with less.
        while enough > floor && self.searches_longer() && !self.is_clearly_out(enough - 1) {
            if !self.holds(enough - 1, 1.0)? {
                break;
            }
            enough -= 1;
        }
        *own = Some(enough);
        let draws = ground.question.draws;
        if draws == 0 {
            return Ok(enough);
        }
        let found = least(enough..=highest, enough, |ease| self.is_held(ease))?;
        found.ok_or_else(|| Stop::Ceiling(self.not_within(highest)))
    }

    /// Whether the policy's search takes the time it is given.
    fn searches_longer(&self) -> bool {
        find(self.policy).is_some_and(|info| info.parameters.iter().any(|parameter| parameter.key == "moves"))
    }

    fn is_clearly_out(&self, ease: i64) -> bool {
        let may_miss = 1.0 - self.ground.question.target;
        self.points.get(&ease).is_some_and(|point| 1.0 - point.merit > CLEARLY_OUT * may_miss + 0.01)
    }

    /// Whether the target is kept on the scenario's own requests, by a plan of a `share` of the search.
    fn holds(&mut self, ease: i64, share: f64) -> Result<bool, Stop> {
        if let Some(known) = self.points.get(&ease).filter(|point| point.share >= share || point.kept) {
            return Ok(known.kept);
        }
        if interrupt::asked() {
            return Err(Stop::Interrupted);
        }
        let began = Instant::now();
        let scenario = self.ground.at(ease)?;
        let most = scenario.bound_of(&scenario.test, bounded(self.policy));
        let what = self.named(ease);
        let search = if share < 1.0 || !self.searches_longer() { "" } else { ", with the whole search" };
        self.bar.line(&format!("{what}: planning{search}; no plan can exceed {}", number::percent(most)));
        let mut asked = scenario.clone();
        asked.planner = asked.planner.with_share_of_search(share);
        let whole = Patience::new(self.bar, asked.planner.search_seconds());
        let watch: &dyn Progress = if share < 1.0 { self.bar } else { &whole };
        let planned = match asked.plan(Some(self.policy), watch) {
            // Too few devices for what the policy builds, say: more may do.
            Err(ScenarioError::File(error)) => {
                self.impossible = Some(error.to_string());
                None
            }
            planned => Some(planned?),
        };
        if interrupt::asked() {
            return Err(Stop::Interrupted);
        }
        let results = match &planned {
            Some(planned) => Some(scenario.score(&planned.plan, &scenario.test)?.results),
            None => None,
        };
        let (merit, kept) = results.as_ref().map_or((0.0, false), |results| self.judged(&scenario, results));
        let (attainment, models) =
            results.map_or((0.0, Vec::new()), |results| (results.slo_attainment, results.models));
        let wall_s = began.elapsed().as_secs_f64();
        let outcome = match planned {
            Some(_) => format!("{} in time", beside(attainment, self.ground.question.target)),
            None => "cannot be built".to_owned(),
        };
        self.bar.line(&format!("{what}: {outcome} ({})", number::duration(wall_s)));
        let better = self.points.get(&ease).is_none_or(|known| merit >= known.merit);
        if better {
            let bound = most;
            let point = Point { planned, scenario, share, attainment, merit, kept, bound, models, draws: None, wall_s };
            self.points.insert(ease, point);
        } else if let Some(known) = self.points.get_mut(&ease) {
            known.share = share;
        }
        let kept = self.points[&ease].kept;
        if !kept {
            self.check_ceiling(ease, |point| Some(point.merit))?;
        }
        Ok(kept)
    }

    /// The merit of `results`, and whether they keep what was asked for.
    fn judged(&self, scenario: &Scenario, results: &ResultsFile) -> (f64, bool) {
        let short = short_of_floor(results, scenario.planner.floor()) as f64 / results.requests.max(1) as f64;
        let kept = results.slo_attainment >= self.ground.question.target && results.keeps_floor();
        (results.slo_attainment - short, kept)
    }

    /// Whether the target is kept on the scenario's requests and on enough draws of traffic like them.
    fn is_held(&mut self, ease: i64) -> Result<bool, Stop> {
        if !self.holds(ease, COARSE)? {
            return Ok(false);
        }
        let question = self.ground.question;
        if self.points[&ease].draws.is_none() {
            let began = Instant::now();
            let what = self.named(ease);
            self.bar.line(&format!("{what}: simulating {} draws of traffic like this", question.draws));
            let drawn = self.drawn(ease)?;
            let (kept, worst) = (drawn.kept, beside(drawn.worst, question.target));
            self.bar.line(&format!("{what}: kept on {kept} of {} draws, at worst {worst}", drawn.number));
            let point = self.points.get_mut(&ease).expect("it was just tried");
            point.draws = Some(drawn);
            point.wall_s += began.elapsed().as_secs_f64();
        }
        let drawn = self.points[&ease].draws.expect("it was just drawn");
        if !drawn.enough {
            self.check_ceiling(ease, |point| point.draws.map(|drawn| drawn.merit))?;
        }
        Ok(drawn.enough)
    }

    fn drawn(&self, ease: i64) -> Result<Drawn, Stop> {
        let (ground, question) = (self.ground, self.ground.question);
        let Point { scenario, planned, .. } = &self.points[&ease];
        let planned = planned.as_ref().expect("what cannot be built does not hold");
        let clairvoyant = is_clairvoyant(self.policy);
        let on = |number: u32| -> Result<(f64, f64, bool), Stop> {
            if interrupt::asked() {
                return Err(Stop::Interrupted);
            }
            let traffic = Arc::new(ground.draw(scenario, ease, number)?);
            if clairvoyant {
                // It is meant to see what it is scored on.
                let (test, train) = (Arc::clone(&traffic), Arc::clone(&traffic));
                let seen = Scenario { test, train, ..scenario.clone() };
                let planned = seen.plan(Some(self.policy), self.bar)?;
                let results = seen.score(&planned.plan, &traffic)?.results;
                let (merit, kept) = self.judged(&seen, &results);
                return Ok((merit, results.slo_attainment, kept));
            }
            let results = scenario.score(&planned.plan, &traffic)?.results;
            let (merit, kept) = self.judged(scenario, &results);
            Ok((merit, results.slo_attainment, kept))
        };
        let drawn: Vec<Result<(f64, f64, bool), Stop>> = (0..question.draws).into_par_iter().map(on).collect();
        let mut drawn = drawn.into_iter().collect::<Result<Vec<_>, Stop>>()?;
        drawn.sort_by(|a, b| a.0.total_cmp(&b.0));
        let may_fail = ((1.0 - question.confidence) * drawn.len() as f64 + 1e-9).floor() as usize;
        let kept = drawn.iter().filter(|(_, _, kept)| *kept).count();
        Ok(Drawn {
            number: question.draws,
            kept: u32::try_from(kept).expect("no more than draws"),
            enough: drawn.len() - kept <= may_fail,
            merit: drawn[may_fail.min(drawn.len() - 1)].0,
            worst: drawn.iter().map(|&(_, attainment, _)| attainment).fold(1.0, f64::min),
        })
    }

    /// Ends the search where twice as many devices did not help.
    fn check_ceiling(&mut self, ease: i64, measure: impl Fn(&Point) -> Option<f64>) -> Result<(), Stop> {
        if self.ground.question.axis != Axis::Devices || ease < 4 {
            return Ok(());
        }
        let here = &self.points[&ease];
        let (Some(now), true) = (measure(here), here.planned.is_some()) else { return Ok(()) };
        let fewer = self.points.range(..=ease / 2).filter_map(|(&ease, point)| Some((ease, measure(point)?)));
        let Some((fewest, before)) = fewer.max_by(|a, b| a.1.total_cmp(&b.1)) else { return Ok(()) };
        if now > before + PLATEAU {
            return Ok(());
        }
        if here.share < 1.0 && self.searches_longer() {
            // Perhaps it was the search that was too short. This looks here again, with all of it.
            self.holds(ease, 1.0)?;
            return Ok(());
        }
        let target = self.wanted();
        let stays = beside(here.attainment, self.ground.question.target);
        let why = obstacles(&here.scenario, &here.models);
        Err(Stop::Ceiling(format!(
            "no number of devices reaches {target}: it stays at {stays} from {fewest} to {ease}{why}"
        )))
    }

    fn not_within(&self, highest: i64) -> String {
        let target = self.wanted();
        let reach = match self.ground.value(highest) {
            Amount::Whole(devices) => format!("within {devices} devices"),
            amount => format!("down to {} {}", amount.shown(), self.ground.question.axis.unit()),
        };
        let reach = if self.ground.question.axis == Axis::Slo { reach.replace("down", "up") } else { reach };
        let last = self.points.values().next_back();
        let why = match (last, &self.impossible) {
            (Some(point), _) if point.planned.is_some() => {
                format!(
                    ": at most {}{}",
                    beside(point.attainment, self.ground.question.target),
                    obstacles(&point.scenario, &point.models)
                )
            }
            (_, Some(why)) => format!(": {why}"),
            _ => String::new(),
        };
        format!("{target} is not reached {reach}{why}")
    }

    /// Why even the bound stays under the target.
    fn unreachable(&self, highest: i64) -> Result<String, FileError> {
        let easiest = self.ground.at(highest)?;
        let most = easiest.bound_of(&easiest.test, bounded(self.policy));
        let most = beside(most, self.ground.question.target);
        let target = self.wanted();
        let what = match self.ground.question.axis {
            Axis::Devices => "no number of devices",
            Axis::Rate => "no rate",
            Axis::Cv => "no CV",
            Axis::Slo => "no multiple of the SLOs within reach",
        };
        Ok(format!("{what} reaches {target}: no plan can exceed {most}{}", too_slow(&easiest)))
    }

    /// What is asked for, in words.
    fn wanted(&self) -> String {
        let target = number::percent(self.ground.question.target);
        match self.ground.base.planner.floor() {
            Some(floor) => format!("{target} with {floor} for each model"),
            None => target,
        }
    }

    fn named(&self, ease: i64) -> String {
        let amount = self.ground.value(ease);
        match self.ground.question.axis {
            Axis::Devices if ease == 1 => format!("{}, 1 device", self.policy),
            axis => format!("{}, {} {}", self.policy, amount.shown(), axis.unit()),
        }
    }
}

impl Amount {
    /// As a number to compare.
    pub(crate) fn number(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Real(number) => number,
        }
    }

    /// As people read it.
    pub(crate) fn shown(self) -> String {
        match self {
            Self::Whole(number) => number::count(number),
            Self::Real(number) => number::significant(number, 3),
        }
    }
}
