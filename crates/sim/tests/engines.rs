//! Every engine against the machine, wherever it says that it applies: over all disciplines, all dispatches, and
//! requests with and without SLOs of their own.

mod common;

use common::{Scenario, scenario};
use proptest::prelude::*;
use statmux_core::{ModelId, Outcome, Request, RequestId, Span, Time};
use statmux_sched::{Admission, AnyDiscipline, DeadlineOrder, Dispatch};
use statmux_sim::simulate::{model_slos, simulate_with};
use statmux_sim::tight::late::{self, Counts, LateTrack};
use statmux_sim::{Engine, Run};

fn run(scenario: &Scenario, engine: Engine) -> Run {
    let Scenario { cluster, models, workload, settings, .. } = scenario;
    simulate_with(engine, cluster, models, &scenario.windows(), workload, settings, None).expect("all is profiled")
}

/// Any scenario under late binding, in which nobody is turned away for those that wait.
fn late_scenario() -> impl Strategy<Value = Scenario> {
    scenario().prop_map(|mut scenario| {
        scenario.settings.scheduler.dispatch = Dispatch::LateBinding;
        scenario.settings.scheduler.max_waiting = usize::MAX;
        scenario
    })
}

/// What the loop for late binding counts, from the outcomes of the machine.
fn counted(scenario: &Scenario, run: &Run) -> (Counts, Vec<u64>, f64) {
    let mut in_slo = vec![0; scenario.models.len()];
    let mut dispatched = vec![0; scenario.placement.groups.len()];
    let mut latency_sum = 0.0;
    for (row, outcome) in run.outcomes.iter().enumerate() {
        if let Outcome::Served(served) = outcome {
            in_slo[scenario.workload.model[row].index()] += u64::from(served.in_slo);
            dispatched[served.group.index()] += 1;
            latency_sum += served.finished.since(scenario.workload.arrived[row]).seconds();
        }
    }
    (Counts { in_slo, busy: run.groups.iter().map(|group| group.busy).collect() }, dispatched, latency_sum)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_loop_for_late_binding_equals_the_machine(mut scenario in late_scenario()) {
        for discipline in AnyDiscipline::ALL {
            for admission in Admission::ALL {
                let scheduler = &mut scenario.settings.scheduler;
                (scheduler.discipline, scheduler.admission) = (discipline, admission);
                if !late::applies(&scenario.settings, &scenario.workload) {
                    let promised = discipline.deadline_order().holds(!scenario.workload.slo.is_empty());
                    prop_assert!(admission == Admission::Deadline && !promised, "{}", discipline.name());
                    continue;
                }
                let machine = run(&scenario, Engine::Events);
                prop_assert_eq!(&run(&scenario, Engine::Late), &machine, "{}", discipline.name());
                let Scenario { cluster, models, placement, workload, settings } = &scenario;
                let track = LateTrack::new(placement, cluster, models, settings).expect("all is profiled");
                let (counts, dispatched, latency_sum) = counted(&scenario, &machine);
                let tally = track.tally(workload, &model_slos(models));
                prop_assert_eq!(&tally.in_slo, &counts.in_slo);
                prop_assert_eq!(track.counts(workload, &model_slos(models)), counts);
                prop_assert_eq!(tally.requests, workload.counts(models.len()));
                prop_assert_eq!(tally.dispatched, dispatched);
                prop_assert_eq!(tally.latency_sum, latency_sum);
            }
        }
    }
}

proptest! {
    #[test]
    fn the_fastest_engine_is_exact(mut scenario in scenario()) {
        for discipline in AnyDiscipline::ALL {
            for dispatch in Dispatch::ALL {
                let scheduler = &mut scenario.settings.scheduler;
                (scheduler.discipline, scheduler.dispatch) = (discipline, dispatch);
                let fastest = Engine::fastest(&scenario.settings, &scenario.workload);
                // The published simulator's arithmetic is compared with that simulator.
                prop_assume!(fastest != Engine::Peer);
                let what = format!("{fastest:?}, {}, {}", discipline.name(), dispatch.name());
                prop_assert_eq!(run(&scenario, fastest), run(&scenario, Engine::Events), "{}", what);
            }
        }
    }

    #[test]
    fn disciplines_keep_what_they_promise_of_their_order(
        raw in proptest::collection::vec((0_u64..40, 0_u64..40, any::<bool>()), 2..9),
        latency in 0_u64..20,
    ) {
        let latency = Span::from_nanos(latency);
        let request = |(id, &(arrived, spare, never)): (usize, &(u64, u64, bool))| {
            let arrived = Time::from_nanos(arrived);
            // All could be answered in time when they arrived.
            let deadline = if never { Time::NEVER } else { arrived + latency + Span::from_nanos(spare) };
            Request { id: RequestId::from_index(id), model: ModelId(0), arrived, deadline }
        };
        let own: Vec<Request> = raw.iter().enumerate().map(request).collect();
        let slo = own[0].slo();
        let due = |request: &Request| if slo == Span::MAX { Time::NEVER } else { request.arrived + slo };
        let equal: Vec<Request> = own.iter().map(|request| Request { deadline: due(request), ..*request }).collect();
        for discipline in AnyDiscipline::ALL {
            for (requests, differ) in [(&own, true), (&equal, false)] {
                let mut ranked = requests.clone();
                ranked.sort_by_key(|request| (discipline.key(request, latency), request.arrived, request.id));
                if discipline.deadline_order().holds(differ) {
                    prop_assert!(ranked.is_sorted_by_key(|request| request.deadline), "{}", discipline.name());
                }
                if discipline.in_order() {
                    prop_assert!(ranked.is_sorted_by_key(|request| (request.arrived, request.id)));
                }
            }
        }
    }
}

#[test]
fn what_promises_more_holds_more() {
    let holds = [DeadlineOrder::Everywhere, DeadlineOrder::AmongEqualSlos, DeadlineOrder::Nowhere]
        .map(|order| (order.holds(false), order.holds(true)));
    assert_eq!(holds, [(true, true), (true, false), (false, false)]);
}
