//! Sentences that are true of every scenario.

mod common;

use common::{Scenario, faulty_scenario, in_order, scenario, tight_scenario};
use proptest::prelude::*;
use statmux_core::{Bandwidth, Cluster, Device, Link, Links, ModelSpec, Outcome, Served, Slo, Span, Time};
use statmux_sched::{Action, Admission, Dispatch, Event, EventLog, Machine, Scheduler, machine};
use statmux_sim::engine::{World, drive};
use statmux_sim::simulate::{model_slos, simulate_with};
use statmux_sim::{Engine, Fault, FaultKind, Run, StageRun, simulate_observed};

fn run(scenario: &Scenario, engine: Engine) -> Run {
    let Scenario { cluster, models, workload, settings, .. } = scenario;
    simulate_with(engine, cluster, models, &scenario.windows(), workload, settings, None).expect("all is profiled")
}

fn observed(scenario: &Scenario) -> (Run, Vec<StageRun>) {
    let Scenario { cluster, models, workload, settings, .. } = scenario;
    let mut runs = Vec::new();
    let mut note = |run| runs.push(run);
    let run = simulate_observed(cluster, models, &scenario.windows(), workload, settings, &mut note);
    (run.expect("all is profiled"), runs)
}

/// Notes all that its scheduler is told and does.
struct Recorder {
    scheduler: Machine,
    log: EventLog,
}

impl Scheduler for Recorder {
    fn handle(&mut self, now: Time, event: Event, actions: &mut Vec<Action>) {
        self.log.record(&mut self.scheduler, now, event, actions);
    }

    fn next_wakeup(&self) -> Option<Time> {
        self.scheduler.next_wakeup()
    }
}

fn recorded(scenario: &Scenario) -> EventLog {
    let times = scenario.times();
    let scheduler = machine(scenario.settings.scheduler, times.clone());
    let mut recorder = Recorder { scheduler, log: EventLog::default() };
    let world = World {
        truth: &times,
        workload: &scenario.workload,
        model_slo: &model_slos(&scenario.models),
        fixed_overhead: scenario.settings.scheduler.fixed_overhead,
        faults: &scenario.settings.faults,
        observer: None,
    };
    drive(&mut recorder, world);
    recorder.log
}

fn served(run: &Run) -> impl Iterator<Item = (usize, Served)> {
    run.outcomes.iter().enumerate().filter_map(|(index, outcome)| match outcome {
        Outcome::Served(served) => Some((index, *served)),
        _ => None,
    })
}

proptest! {
    #[test]
    fn every_request_ends_exactly_once(scenario in faulty_scenario()) {
        let mut ended = vec![0; scenario.workload.len()];
        for entry in recorded(&scenario).entries {
            for action in entry.actions {
                if let Action::Complete(id) | Action::Reject(id, _) = action {
                    ended[id.index()] += 1;
                }
            }
        }
        prop_assert!(ended.iter().all(|&times| times == 1), "{:?}", ended);
    }

    #[test]
    fn no_stage_runs_two_batches_at_once_or_while_its_group_is_lost(scenario in faulty_scenario()) {
        let (run, mut runs) = observed(&scenario);
        runs.sort_by_key(|run| (run.group, run.stage, run.started, run.ended));
        for pair in runs.windows(2) {
            if (pair[0].group, pair[0].stage) == (pair[1].group, pair[1].stage) {
                prop_assert!(pair[0].ended <= pair[1].started, "{:?}", pair);
            }
        }
        for fault in scenario.settings.faults.iter().filter(|fault| fault.kind == FaultKind::Lost) {
            let over = fault.at + fault.lasts;
            let busy = |run: &&StageRun| run.group == fault.group && run.started < over && run.ended > fault.at;
            prop_assert_eq!(runs.iter().find(busy), None);
        }
        for (index, group) in run.groups.iter().enumerate() {
            let busy: Span = runs.iter().filter(|run| run.group.index() == index).map(|run| run.ended.since(run.started)).sum();
            prop_assert_eq!(busy, group.busy);
        }
    }

    #[test]
    fn an_observer_changes_nothing(scenario in faulty_scenario()) {
        prop_assert_eq!(observed(&scenario).0, run(&scenario, Engine::Events));
    }

    #[test]
    fn first_come_is_first_served(mut scenario in scenario(), discipline in in_order()) {
        scenario.settings.scheduler.discipline = discipline;
        scenario.settings.scheduler.max_batch = 1;
        let late_binding = scenario.settings.scheduler.dispatch == Dispatch::LateBinding;
        if late_binding {
            // With admission a request may be passed over by a group that is too slow for it.
            scenario.settings.scheduler.admission = Admission::None;
        }
        let run = run(&scenario, Engine::Events);
        let queue = |index: usize, served: &Served| if late_binding { scenario.workload.model[index].index() } else { served.group.index() };
        let mut last = [(Time::ZERO, Time::ZERO); 8];
        for (index, served) in served(&run) {
            let last = &mut last[queue(index, &served)];
            prop_assert!(last.0 <= served.started, "request {index} started before an earlier one");
            prop_assert!(late_binding || last.1 <= served.finished, "request {index} finished before an earlier one");
            *last = (served.started, served.finished);
        }
    }

    #[test]
    fn the_same_run_twice_is_equal(scenario in faulty_scenario()) {
        prop_assert_eq!(run(&scenario, Engine::Events), run(&scenario, Engine::Events));
    }

    #[test]
    fn the_tight_loop_equals_the_machine(scenario in tight_scenario()) {
        prop_assert_eq!(run(&scenario, Engine::Tight), run(&scenario, Engine::Events));
    }

    #[test]
    fn without_faults_nothing_launched_finishes_late(mut scenario in scenario()) {
        scenario.settings.scheduler.admission = Admission::Deadline;
        for (index, served) in served(&run(&scenario, Engine::Events)) {
            prop_assert!(served.in_slo, "request {index} is late: {served:?}");
        }
    }

    #[test]
    fn in_order_and_without_faults_what_is_admitted_is_answered(
        mut scenario in scenario(),
        discipline in in_order(),
        shortest_queue: bool,
    ) {
        let scheduler = &mut scenario.settings.scheduler;
        scheduler.discipline = discipline;
        scheduler.max_batch = 1;
        if scheduler.dispatch == Dispatch::LateBinding {
            scheduler.dispatch = if shortest_queue { Dispatch::ShortestQueue } else { Dispatch::EarliestFinish };
        }
        for entry in recorded(&scenario).entries {
            if !matches!(entry.event, Event::Arrived(_)) {
                let refused = entry.actions.iter().any(|action| matches!(action, Action::Reject(..)));
                prop_assert!(!refused, "{entry:?}");
            }
        }
    }

    #[test]
    fn at_half_the_speed_all_is_the_same(scenario in faulty_scenario()) {
        let slow = at_half_the_speed(&scenario);
        let stretched = run(&scenario, Engine::Events).outcomes.into_iter().map(|outcome| match outcome {
            Outcome::Served(served) => Outcome::Served(Served {
                started: twice(served.started),
                finished: twice(served.finished),
                ..served
            }),
            other => other,
        });
        prop_assert_eq!(run(&slow, Engine::Events).outcomes, stretched.collect::<Vec<_>>());
    }

    #[test]
    fn a_log_replays(scenario in faulty_scenario()) {
        let log = recorded(&scenario);
        let mut fresh = machine(scenario.settings.scheduler, scenario.times());
        prop_assert_eq!(log.replay(&mut fresh), Ok(()));
    }
}

fn twice(time: Time) -> Time {
    Time::from_nanos(time.nanos() * 2)
}

fn at_half_the_speed(scenario: &Scenario) -> Scenario {
    let mut slow = scenario.clone();
    slow.workload.arrived.iter_mut().for_each(|at| *at = twice(*at));
    slow.workload.slo.iter_mut().for_each(|slo| *slo = *slo * 2);
    slow.settings.scheduler.fixed_overhead = scenario.settings.scheduler.fixed_overhead * 2;
    let fault = |fault: &Fault| Fault { at: twice(fault.at), lasts: fault.lasts * 2, ..*fault };
    slow.settings.faults = scenario.settings.faults.iter().map(fault).collect();
    // Devices of half the speed double every stage time; SLO scales multiply the profile and are doubled here.
    let devices = scenario.cluster.devices().iter().cloned();
    let half = |link: Link| Link {
        bandwidth: link.bandwidth.and_then(|rate| Bandwidth::new(rate.bytes_per_second() / 2.0)),
        latency: link.latency * 2,
    };
    let links = *scenario.cluster.links();
    let links = Links { within_node: half(links.within_node), between_nodes: half(links.between_nodes), ..links };
    slow.cluster = Cluster::new(devices.map(|device| Device { speed: 0.5, ..device }).collect()).with_links(links);
    let slo = |model: &ModelSpec| match model.slo {
        Slo::None => Slo::None,
        Slo::Latency(span) => Slo::Latency(span * 2),
        Slo::Scale(scale) => Slo::Scale(scale * 2.0),
    };
    slow.models = scenario.models.iter().map(|model| ModelSpec { slo: slo(model), ..model.clone() }).collect();
    slow
}

/// Lanes of one, of four abreast and of eight in lock step against the plain loop, in both arithmetics.
fn tallies_agree<A: statmux_sim::arithmetic::Arithmetic>(scenario: &Scenario) -> Result<(), TestCaseError>
where
    A::Span: Send + Sync,
{
    use statmux_sim::tight::{Arrivals, Tally, Track};
    let Scenario { cluster, models, placement, workload, settings } = scenario;
    let arrivals = Arrivals::<A>::new(workload, models);
    // The placement, and what is left when its first groups are taken away.
    let fewer = |first: usize| {
        let mut fewer = placement.clone();
        let held = fewer.groups.iter().flat_map(|group| group.models.iter().copied().enumerate());
        let gone: Vec<_> =
            held.filter(|(position, _)| (position + first).is_multiple_of(5)).map(|(_, model)| model).collect();
        let last = fewer.groups.len().min(first);
        fewer.groups[..last].iter_mut().for_each(|group| group.models.retain(|model| !gone.contains(model)));
        Track::<A>::new(&fewer, cluster, models, settings).expect("all is profiled")
    };
    let neighbours: Vec<_> = (0..11).map(fewer).collect();
    let plainly: Vec<Tally> = neighbours.iter().map(|track| track.tally_plainly(&arrivals)).collect();
    prop_assert_eq!(&Track::tally_many(&neighbours, &arrivals), &plainly);
    let tracks: Vec<_> = (0..=placement.groups.len().max(4))
        .map(|first| {
            let groups = placement.groups.get(first..).unwrap_or_default().to_vec();
            Track::<A>::new(&statmux_core::Placement { groups }, cluster, models, settings).expect("all is profiled")
        })
        .collect();
    let plainly: Vec<Tally> = tracks.iter().map(|track| track.tally_plainly(&arrivals)).collect();
    prop_assert_eq!(&Track::tally_many(&tracks, &arrivals), &plainly);
    for (track, plainly) in tracks.iter().zip(&plainly) {
        prop_assert_eq!(&track.tally(&arrivals), plainly);
        let in_slo = track.outcomes(&arrivals).0.iter().filter(|outcome| outcome.in_slo()).count() as u64;
        prop_assert_eq!(in_slo, plainly.in_slo.iter().sum::<u64>());
    }
    Ok(())
}

proptest! {
    #[test]
    fn lanes_count_what_the_plain_loop_counts(scenario in tight_scenario()) {
        tallies_agree::<Time>(&scenario)?;
        tallies_agree::<f64>(&scenario)?;
    }
}
