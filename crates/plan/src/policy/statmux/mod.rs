//! statmux's own search: groups of any shapes, replicas and scheduling options together.
//!
//! Starts are made by arithmetic ([`fill`]) for every uniform shape, and by AlpaServe's search. From the best, it
//! climbs over neighbours ([`moves`]) that are judged on recorded and shuffled pieces of the train window
//! ([`pieces`], [`judge`]), so that a plan does not rest on bursts that happened to meet. What comes out is never
//! worse than AlpaServe's plan on the train window.

mod catalogue;
mod climb;
mod dice;
mod fill;
mod judge;
mod late;
mod moves;
mod pieces;
pub mod scheduling;

pub use scheduling::{Scheduling, SchedulingChoice};

use super::alpaserve::Alpaserve;
use super::buckets::Buckets;
use super::{Parameter, Plan, PlanError, Policy, PolicyInfo, Progress, Report, Search};
use crate::enumerate::{all_devices, groups_and_leftover};
use crate::evaluate::Evaluator;
use crate::problem::Problem;
use crate::table::Parameters;
use catalogue::Catalogue;
use climb::{Judged, climb};
use dice::Dice;
use fill::Fill;
use judge::Judge;
use moves::Moves;
use pieces::Recipe;
use rayon::prelude::*;
use statmux_core::{ParallelConfig, Placement};
use statmux_sched::{AnyDiscipline, Dispatch};
use std::time::{Duration, Instant};

/// The search and its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statmux {
    /// Whether the plan may choose scheduling options.
    pub scheduling: SchedulingChoice,
    /// Neighbours to try. With a number given, no clock is looked at: the same plan on every machine.
    pub moves: Option<u64>,
    /// How long to search if the number of neighbours is not given.
    pub time: Duration,
    /// The most stages of a group.
    pub max_pp: u32,
    /// The most devices a stage is split over.
    pub max_op: u32,
    /// The largest batch that may be chosen.
    pub max_batch: u32,
}

impl Default for Statmux {
    fn default() -> Self {
        let scheduling = SchedulingChoice::Search;
        Self { scheduling, moves: None, time: Duration::from_secs(10), max_pp: 8, max_op: 8, max_batch: 16 }
    }
}

pub(super) const INFO: PolicyInfo = PolicyInfo {
    name: "statmux",
    about: "searches groups of any shapes, replicas and scheduling options together, on shuffled traffic as well",
    published: false,
    clairvoyant: false,
    parameters: &[
        Parameter { key: "time_limit", about: "how long to search (10 s)" },
        Parameter { key: "moves", about: "how many neighbours to try, whatever the time it takes" },
        Parameter {
            key: "scheduling",
            about: "whether dispatch, discipline and batches are \"fixed\" or \"search\"ed",
        },
        Parameter { key: "max_pp", about: "the most stages of a group (8)" },
        Parameter { key: "max_op", about: "the most devices a stage is split over (8)" },
    ],
    build: |parameters| Box::new(Statmux::new(parameters)),
};

impl Statmux {
    fn new(parameters: &Parameters) -> Self {
        let default = Self::default();
        Self {
            scheduling: parameters.scheduling.unwrap_or_default(),
            moves: parameters.moves,
            time: parameters.time_limit.map_or(default.time, |span| Duration::from_nanos(span.nanos())),
            max_pp: parameters.max_pp.unwrap_or(default.max_pp),
            max_op: parameters.max_op.unwrap_or(default.max_op),
            max_batch: default.max_batch,
        }
    }
}

/// Requests that candidates are judged on.
const JUDGED_REQUESTS: usize = 40_000;

/// Pieces of recorded traffic, and as many of shuffled.
const PIECES: usize = 2;

/// The share of shuffled requests that go to any model, whatever it is asked for in the train window.
const DRIFT: f64 = 0.04;

/// Candidates cannot be told apart where the best start misses a smaller share of requests than this.
const ENOUGH_MISSES: f64 = 0.003;

/// The most requests put on top, as a multiple of the window's.
const MOST_EXTRA: f64 = 4.0;

impl Policy for Statmux {
    fn name(&self) -> &'static str {
        INFO.name
    }

    #[allow(clippy::disallowed_methods)] // The time limit is the user's; with `moves` no clock decides.
    fn place(
        &self,
        problem: &Problem<'_>,
        evaluator: &Evaluator<'_>,
        progress: &dyn Progress,
    ) -> Result<Plan, PlanError> {
        let began = Instant::now();
        let verbose = std::env::var("STATMUX_TRACE").is_ok();
        let over = |share: f64| self.moves.is_none() && began.elapsed() > self.time.mul_f64(share);
        let search = Search { problem, evaluator, progress };
        let published = Buckets(Alpaserve { max_pp: self.max_pp, max_op: self.max_op.min(4) });
        let published = published.place(problem, evaluator, progress)?.windows.0.remove(0).placement;
        let to_beat = evaluator.evaluate(&published)?.score;
        if verbose {
            eprintln!("alpaserve {:.4} at {:?}", to_beat.attainment(), began.elapsed());
        }
        let scheduling = match self.scheduling {
            SchedulingChoice::Fixed => Scheduling::of(problem.settings),
            SchedulingChoice::Search => Scheduling {
                dispatch: Dispatch::LateBinding,
                discipline: AnyDiscipline::Edf,
                max_batch: self.max_batch,
            },
        };
        let settings = scheduling.apply(problem.settings);
        let catalogue = Catalogue::new(problem, scheduling.max_batch, self.max_pp, self.max_op);
        let placements = self.starts(&search, &catalogue, published);
        let mut pieces;
        let mut extra = 0.0;
        let (judge, starts) = loop {
            let recipe = Recipe { requests: JUDGED_REQUESTS, each: PIECES, drift: DRIFT, extra };
            let mut dice = Dice::new(problem.seed.stream("pieces"));
            pieces = recipe.pieces(problem.train, problem.models.len(), &mut dice);
            let judge = Judge::new(problem, &settings, &pieces);
            let starts = judge_all(&judge, &placements)?;
            evaluator.count(starts.len() as u64);
            let least = starts.iter().map(|start| start.verdict.total()).min().unwrap_or(0);
            if least as f64 >= ENOUGH_MISSES * judge.requests() as f64 || extra >= MOST_EXTRA {
                break (judge, starts);
            }
            extra += 0.25;
        };
        let shapes = likely_shapes(&starts[..catalogue.shapes.len()], judge.requests());
        let Some(start) = starts.into_iter().min_by_key(|start| start.verdict.total()) else {
            return Ok(search.plan(Placement::default()));
        };
        if verbose {
            eprintln!("extra {extra} start misses {:?} at {:?}", start.verdict.misses, began.elapsed());
        }
        let moves = Moves { catalogue: &catalogue, shapes };
        let most = self.moves.unwrap_or(u64::MAX);
        let requests = judge.requests().max(1) as f64;
        let tell = |tried: u64, best: &Judged| {
            let attainment = 1.0 - best.verdict.total() as f64 / requests;
            progress.report(Report {
                candidate: "neighbours",
                attainment,
                evaluations: evaluator.evaluations() + tried,
            });
        };
        let stop = || progress.stop() || over(1.0);
        let (best, tried) = climb(&judge, &moves, start, problem.seed.stream("climb"), most, &stop, tell)?;
        evaluator.count(tried);
        if verbose {
            eprintln!("end misses {:?} at {:?} after {tried}", best.verdict.misses, began.elapsed());
            for group in &best.placement.groups {
                eprintln!("  {} {:?}", group.config, group.models.iter().map(|m| m.0).collect::<Vec<_>>());
            }
        }
        let mut plan = search.plan(best.placement);
        plan.scheduling = Some(scheduling);
        Ok(plan)
    }
}

impl Statmux {
    /// Placements to start from: first one for every shape of the catalogue.
    fn starts(&self, search: &Search<'_>, catalogue: &Catalogue<'_>, published: Placement) -> Vec<Placement> {
        let devices = all_devices(search.problem.cluster);
        let models = search.all_models();
        let uniform = |&shape: &ParallelConfig| {
            let mut groups = groups_and_leftover(&devices, shape);
            Fill::whole(catalogue).fill(&mut groups, &models);
            Placement { groups }
        };
        let mut placements: Vec<Placement> = catalogue.shapes.iter().map(uniform).collect();
        placements.push(published);
        placements
    }
}

fn judge_all(judge: &Judge<'_>, placements: &[Placement]) -> Result<Vec<Judged>, PlanError> {
    let judge_one = |placement: &Placement| -> Result<Judged, PlanError> {
        let verdict = judge.judge(placement, &[], |_| u64::MAX)?.expect("nothing is given up");
        Ok(Judged { placement: placement.clone(), verdict })
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
