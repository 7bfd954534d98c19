//! statmux's own search: groups of any shapes, replicas and scheduling options together.
//!
//! Starts are made by arithmetic (`fill`) for every uniform shape, and by AlpaServe's search. From the best, it
//! climbs over neighbours (`moves`) that are judged on recorded and shuffled pieces of the train window
//! (`pieces`, `judge`), so that a plan does not rest on bursts that happened to meet. What comes out misses no
//! more of these than AlpaServe's plan under the scenario's own scheduling options: if none is better, it is that.

mod catalogue;
mod climb;
mod dice;
mod fewer;
mod fill;
mod judge;
mod limit;
mod moves;
mod pieces;
mod reach;

pub use crate::scheduling::{Scheduling, SchedulingChoice};

use super::alpaserve::Alpaserve;
use super::buckets::Buckets;
use super::{Parameter, Plan, PlanError, Policy, PolicyInfo, Progress, Report, Search};
use crate::enumerate::{all_devices, groups_and_leftover};
use crate::parameters::Parameters;
use crate::problem::Problem;
use catalogue::Catalogue;
use climb::{Judged, Until, climb};
use dice::Dice;
use fill::Fill;
use judge::{Judge, Score};
use limit::Limit;
use moves::Moves;
use pieces::{Recipe, Redraw};
use rayon::prelude::*;
use statmux_core::{ParallelConfig, Placement, Share, Workload};
use statmux_sched::{AnyDiscipline, DeadlineOrder, Dispatch};
use statmux_sim::SimulationSettings;
use std::time::Duration;

/// The search and its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statmux {
    /// Whether the plan may choose scheduling options.
    pub scheduling: SchedulingChoice,
    /// Neighbours to try. With a number given, no clock is looked at: the same plan on every machine.
    pub moves: Option<u64>,
    /// How many smaller numbers of devices to look at for a better plan.
    pub smaller: u32,
    /// How long to search if the number of neighbours is not given.
    pub time: Duration,
    /// The most stages of a group.
    pub max_pp: u32,
    /// The most devices a stage is split over.
    pub max_op: u32,
    /// The largest batch that may be chosen.
    pub max_batch: u32,
    /// The share of its requests that every model is to be served in time before the whole counts.
    pub floor: Option<Share>,
}

impl Default for Statmux {
    fn default() -> Self {
        let scheduling = SchedulingChoice::Search;
        Self {
            scheduling,
            moves: None,
            time: Duration::from_secs(10),
            max_pp: 8,
            max_op: 8,
            max_batch: 16,
            floor: None,
            smaller: 8,
        }
    }
}

pub(super) const INFO: PolicyInfo = PolicyInfo {
    name: "statmux",
    about: "searches groups of any shapes, replicas and scheduling options together, on shuffled traffic as well",
    published: false,
    clairvoyant: false,
    replaces: false,
    improves: true,
    parameters: &[
        Parameter { key: "budget", about: "how long to search (10 s)" },
        Parameter { key: "moves", about: "how many neighbours to try, whatever the time it takes" },
        Parameter { key: "smaller", about: "how many smaller numbers of devices to look at for a better plan (8)" },
        Parameter {
            key: "scheduling",
            about: "whether dispatch, discipline and batches are \"fixed\" or \"search\"ed",
        },
        Parameter { key: "max_pp", about: "the most stages of a group (8)" },
        Parameter { key: "max_op", about: "the most devices a stage is split over (8)" },
        Parameter {
            key: "floor",
            about: "attainment of every model that goes before the whole, such as \"95%\" (none)",
        },
    ],
    build: |parameters| Box::new(Statmux::new(parameters)),
};

impl Statmux {
    fn new(parameters: &Parameters) -> Self {
        let default = Self::default();
        Self {
            scheduling: parameters.scheduling.unwrap_or_default(),
            moves: parameters.moves,
            smaller: parameters.smaller.unwrap_or(default.smaller),
            time: parameters.search_time.map_or(default.time, |span| Duration::from_nanos(span.nanos())),
            max_pp: parameters.max_pp.unwrap_or(default.max_pp),
            max_op: parameters.max_op.unwrap_or(default.max_op),
            max_batch: default.max_batch,
            floor: parameters.floor,
        }
    }
}

/// Said of every plan that a clock had a part in.
const BY_THE_CLOCK: &str = "Searched by the clock: another run, or another machine, may find another plan. \
                            `moves = N` under [planner] tries a fixed number of changes instead, and repeats to the byte.";

/// Requests that candidates are judged on.
const JUDGED_REQUESTS: usize = 40_000;

/// Pieces of recorded traffic, as many drawn anew, and twice as many in which models trade places.
const PIECES: usize = 2;

/// How traffic is drawn anew that resembles the train window: a fifth of the models trade their requests, and some
/// requests go to any model, whatever it is asked for in the train window.
const ALIKE: Redraw = Redraw { drift: 0.04, trades: 0.2 };

/// The share of requests that go to any model in traffic in which models trade places.
const TRADED_DRIFT: f64 = 0.1;

/// Candidates cannot be told apart where the best misses a smaller share of requests than this.
const ENOUGH_MISSES: f64 = 0.003;

/// Requests put on top where candidates cannot be told apart, as multiples of the window's.
const EXTRA: [f64; 12] = [0.0, 0.25, 0.5, 1.0, 1.5, 2.5, 4.0, 6.0, 10.0, 16.0, 25.0, 40.0];

/// Where even the most requests are answered, the search ends when so many neighbours in a row added no reach.
const PATIENCE: u64 = 256;

/// Without a clock, the published search is left out where requests times models times devices are more than this.
const MOST_FOR_PUBLISHED: u128 = 2_000_000_000;

/// The share of the time for all devices; the rest is for fewer.
const MAIN_SHARE: f64 = 0.85;

/// The share of the time that the published search may take.
const PUBLISHED_SHARE: f64 = 0.3;

/// Starts that are looked at again under other scheduling options or with more requests.
const FINALISTS: usize = 3;

impl Policy for Statmux {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn place(&self, search: &Search<'_>) -> Result<Plan, PlanError> {
        let Search { progress, .. } = *search;
        let limit = Limit::new(self.moves.is_none().then_some(self.time), progress);
        let share = if self.smaller > 0 { MAIN_SHARE } else { 1.0 };
        let (plan, _) = self.search(search, &limit.part(share))?;
        self.or_of_fewer(search, plan, &limit)
    }
}

impl Statmux {
    /// The search proper, for all devices of the problem; with the plan, the position in [`EXTRA`] that it was
    /// judged at last.
    fn search(&self, search: &Search<'_>, limit: &Limit<'_>) -> Result<(Plan, usize), PlanError> {
        let Search { problem, evaluator, progress } = *search;
        let published = self.published(search, limit)?;
        let choices: Vec<Choice<'_>> = self.schedulings(problem).into_iter().map(|s| self.choice(problem, s)).collect();
        let traffic = Traffic { problem: *problem, floor: self.floor };
        let mut start = self.start(search, &choices, &traffic, published.as_ref())?;
        let Choice { scheduling, settings, catalogue } = &choices[start.choice];
        let moves = Moves { catalogue, shapes: std::mem::take(&mut start.shapes) };
        let within = limit.within(1.0);
        let mut tried = 0;
        loop {
            let pieces = traffic.pieces(start.hardness);
            let judge = Judge::new(problem, settings, &pieces, self.floor);
            let here = judge_all(&judge, catalogue, std::slice::from_ref(&start.placement))?.remove(0);
            evaluator.count(1);
            let hardest = start.hardness + 1 == EXTRA.len();
            let enough = (ENOUGH_MISSES / 2.0 * judge.requests() as f64) as u64;
            let until = Until {
                moves: tried..self.moves.unwrap_or(u64::MAX),
                misses: (!hardest).then_some(enough),
                patience: PATIENCE,
                stop: &|| within.stop(),
            };
            let bound = judge.bound();
            let tell = |tried: u64, best: &Judged| {
                let attainment = 1.0 - best.verdict.total() as f64 / judge.requests().max(1) as f64;
                let evaluations = evaluator.evaluations() + tried;
                progress.report(Report { candidate: "neighbours", attainment, bound: Some(bound), evaluations });
            };
            let (best, now) = climb(&judge, &moves, here, problem.seed.stream("climb"), &until, tell)?;
            evaluator.count(now - tried);
            tried = now;
            start.placement = best.placement;
            if hardest || !until.enough(&best.verdict) {
                break;
            }
            start.hardness += 1;
        }
        let better = match &published {
            Some(published) => traffic.prefers(settings, &start.placement, published, start.hardness)?,
            None => false,
        };
        let mut plan = match published {
            Some(published) if better => search.plan(published),
            _ => {
                let mut plan = search.plan(start.placement);
                plan.scheduling = Some(*scheduling);
                plan
            }
        };
        plan.evaluations = evaluator.evaluations();
        if self.moves.is_none() {
            plan.notes.push(BY_THE_CLOCK.to_owned());
        }
        Ok((plan, start.hardness))
    }
}

/// Scheduling options, and what models are worth under them.
struct Choice<'a> {
    scheduling: Scheduling,
    settings: SimulationSettings,
    catalogue: Catalogue<'a>,
}

/// Where the climb begins.
struct Start {
    /// Which scheduling options it is for.
    choice: usize,
    placement: Placement,
    /// How likely each shape of the catalogue is tried.
    shapes: Vec<f64>,
    /// Position in [`EXTRA`] from which candidates can be told apart.
    hardness: usize,
}

/// Pieces of traffic to judge candidates on.
struct Traffic<'a> {
    problem: Problem<'a>,
    floor: Option<Share>,
}

impl Traffic<'_> {
    fn pieces(&self, hardness: usize) -> Vec<Workload> {
        let recipe = Recipe {
            requests: JUDGED_REQUESTS,
            each: PIECES,
            alike: ALIKE,
            traded_drift: TRADED_DRIFT,
            extra: EXTRA[hardness],
        };
        let mut dice = Dice::new(self.problem.seed.stream("pieces"));
        recipe.pieces(self.problem.train, self.problem.models.len(), &mut dice)
    }

    /// Whether `published` under the scenario's settings does better than `ours` under `settings` on pieces of the
    /// `hardness` at which candidates are told apart.
    fn prefers(
        &self,
        settings: &SimulationSettings,
        ours: &Placement,
        published: &Placement,
        hardness: usize,
    ) -> Result<bool, PlanError> {
        let pieces = self.pieces(hardness);
        let score = |settings: &SimulationSettings, placement: &Placement| -> Result<Score, PlanError> {
            let judge = Judge::new(&self.problem, settings, &pieces, self.floor);
            Ok(judge.full(placement)?.score())
        };
        Ok(score(self.problem.settings, published)? < score(settings, ours)?)
    }
}

impl Statmux {
    /// AlpaServe's plan, or the best it has after its share of the time.
    fn published(&self, search: &Search<'_>, limit: &Limit<'_>) -> Result<Option<Placement>, PlanError> {
        let Problem { train, models, cluster, .. } = *search.problem;
        let size = train.len() as u128 * models.len() as u128 * cluster.len() as u128;
        if self.moves.is_some() && size > MOST_FOR_PUBLISHED {
            return Ok(None);
        }
        let policy = Buckets(Alpaserve { max_pp: self.max_pp, max_op: self.max_op.min(4) });
        let mut plan = policy.place(&Search { progress: &limit.within(PUBLISHED_SHARE), ..*search })?;
        Ok(Some(plan.windows.0.remove(0).placement))
    }

    /// The scheduling options to choose from, the most promising first.
    fn schedulings(&self, problem: &Problem<'_>) -> Vec<Scheduling> {
        let late = |discipline: AnyDiscipline, max_batch: u32| Scheduling {
            dispatch: Dispatch::LateBinding,
            discipline,
            max_batch,
        };
        match self.scheduling {
            SchedulingChoice::Fixed => vec![Scheduling::of(problem.settings)],
            SchedulingChoice::Search => {
                // Those that look at every deadline, and the first of them without batches.
                let by_deadline = AnyDiscipline::ALL.into_iter();
                let by_deadline = by_deadline.filter(|any| any.deadline_order() == DeadlineOrder::Everywhere);
                let batched = by_deadline.clone().map(|discipline| late(discipline, self.max_batch));
                batched.chain(by_deadline.take(1).map(|discipline| late(discipline, 1))).collect()
            }
        }
    }

    fn choice<'a>(&self, problem: &Problem<'a>, scheduling: Scheduling) -> Choice<'a> {
        let settings = scheduling.apply(problem.settings);
        let catalogue = Catalogue::new(problem, scheduling.max_batch, self.max_pp, self.max_op);
        Choice { scheduling, settings, catalogue }
    }

    /// Fills groups of every uniform shape, then looks at the best of them under all options.
    fn start(
        &self,
        search: &Search<'_>,
        choices: &[Choice<'_>],
        traffic: &Traffic<'_>,
        published: Option<&Placement>,
    ) -> Result<Start, PlanError> {
        let Search { problem, evaluator, .. } = *search;
        let filled = |choice: &Choice<'_>, shape: ParallelConfig| {
            let mut groups = groups_and_leftover(problem.cluster, &all_devices(problem.cluster), shape);
            Fill::whole(&choice.catalogue).fill(&mut groups, &search.all_models());
            Placement { groups }
        };
        let first = &choices[0];
        let uniform = first.catalogue.shapes.par_iter().map(|&shape| filled(first, shape));
        let mut placements: Vec<Placement> = uniform.collect();
        // It was made for the scenario's batches, and larger ones need more room.
        let holds = |published: &&Placement| {
            published.check(problem.cluster, problem.models, first.scheduling.max_batch).is_ok()
        };
        placements.extend(published.filter(holds).cloned());
        if placements.is_empty() {
            placements.push(Placement::default());
        }
        let pieces = traffic.pieces(0);
        let judge = Judge::new(problem, &first.settings, &pieces, self.floor);
        let judged = judge_all(&judge, &first.catalogue, &placements)?;
        evaluator.count(judged.len() as u64);
        let shapes = likely_shapes(&judged[..first.catalogue.shapes.len()], judge.requests());
        let mut order: Vec<usize> = (0..judged.len()).collect();
        order.sort_by_key(|&index| judged[index].rank());
        order.truncate(FINALISTS);
        let finalists: Vec<Placement> = order.iter().map(|&index| placements[index].clone()).collect();
        let mut hardness = 0;
        loop {
            let pieces = traffic.pieces(hardness);
            let judge = Judge::new(problem, &first.settings, &pieces, self.floor);
            let judged = judge_all(&judge, &first.catalogue, &finalists)?;
            evaluator.count(judged.len() as u64);
            let least = judged.iter().map(|judged| judged.verdict.score()).min();
            let Score { short, missed } = least.unwrap_or(Score { short: 0, missed: 0 });
            if short > 0 || missed as f64 >= ENOUGH_MISSES * judge.requests() as f64 || hardness + 1 == EXTRA.len() {
                break;
            }
            hardness += 1;
        }
        let pieces = traffic.pieces(hardness);
        let mut best: Option<((Score, u64), usize, Placement)> = None;
        for (number, choice) in choices.iter().enumerate() {
            let shape_of = |&index: &usize| first.catalogue.shapes.get(index).copied();
            let mut placements = finalists.clone();
            if number > 0 {
                placements.extend(order.iter().filter_map(shape_of).map(|shape| filled(choice, shape)));
            }
            let judge = Judge::new(problem, &choice.settings, &pieces, self.floor);
            for judged in judge_all(&judge, &choice.catalogue, &placements)? {
                evaluator.count(1);
                let rank = judged.rank();
                if best.as_ref().is_none_or(|(least, ..)| rank < *least) {
                    best = Some((rank, number, judged.placement));
                }
            }
        }
        let (_, choice, placement) = best.expect("there is a choice and a finalist");
        Ok(Start { choice, placement, shapes, hardness })
    }
}

fn judge_all(judge: &Judge<'_>, catalogue: &Catalogue<'_>, placements: &[Placement]) -> Result<Vec<Judged>, PlanError> {
    let judge_one = |placement: &Placement| -> Result<Judged, PlanError> {
        let verdict = judge.full(placement)?;
        Ok(Judged::new(catalogue, placement.clone(), verdict))
    };
    let judged: Vec<Result<Judged, PlanError>> = placements.par_iter().with_max_len(1).map(judge_one).collect();
    judged.into_iter().collect()
}

/// How likely each shape is tried: those that did well by themselves more often.
fn likely_shapes(starts: &[Judged], requests: u64) -> Vec<f64> {
    let least = starts.iter().map(|start| start.verdict.total()).min().unwrap_or(0) as f64;
    let weight = |start: &Judged| {
        let excess = (start.verdict.total() as f64 - least) / (requests as f64 - least).max(1.0);
        0.02 + (-12.0 * excess).exp()
    };
    starts.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Evaluator;
    use crate::policy::Silent;
    use crate::test_cases::any_case;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn no_plan_misses_more_than_alpaserves_on_what_it_is_judged_on(seed in any::<u64>()) {
            let case = any_case(seed);
            let problem = case.problem();
            let evaluator = Evaluator::new(&problem);
            let search = Search { problem: &problem, evaluator: &evaluator, progress: &Silent };
            let policy = Statmux { moves: Some(16), ..Statmux::default() };
            let (ours, hardness) = policy.search(&search, &Limit::new(None, &Silent)).expect("a plan");
            let published = Buckets(Alpaserve { max_pp: 8, max_op: 4 }).place(&search).expect("a plan");
            let settings = ours.scheduling.map_or_else(|| case.settings.clone(), |options| options.apply(&case.settings));
            let traffic = Traffic { problem, floor: None };
            let [ours, published] = [&ours, &published].map(|plan| &plan.windows.0[0].placement);
            prop_assert!(!traffic.prefers(&settings, ours, published, hardness).expect("both can be simulated"));
        }
    }
}
