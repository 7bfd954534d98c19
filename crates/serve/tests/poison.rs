//! One request must not cost others: requests that harm whatever runs them, among many that do not.

mod common;

use common::{deployment, sleeper};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use statmux_core::backend::{Backend, Fault, Generate, Input, Output, Sampling, Stage, StagePlan, Step};
use statmux_core::{GroupId, ModelId, ModelProfile, Seed, Slo, Span};
use statmux_sched::{Dispatch, Settings, StageTimes, machine};
use statmux_serve::faulty::{FaultRates, Faulty, Harm};
use statmux_serve::{Cause, Deployment, Engine, EngineSettings, Gateway, Question, Record, Refusal, Supervision};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Requests that begin with it do harm.
const POISON: u32 = 99;

fn text(first: u32, length: usize) -> Input {
    Input::embed((0..length as u32).map(|n| if n == 0 { first } else { n % 90 }).collect())
}

fn generate(first: u32, length: usize) -> Input {
    Input::Generate(Generate {
        tokens: (0..length as u32).map(|n| if n == 0 { first } else { n % 90 }).collect(),
        max_new_tokens: 3,
        stop_tokens: Vec::new(),
        stop_texts: Vec::new(),
        sampling: Sampling::Greedy,
    })
}

fn question(gateway: &Gateway, (model, input): &(u32, Input)) -> Question {
    let arrived = gateway.clock().now();
    Question { model: ModelId(*model), input: input.clone(), arrived, deadline: None, streams: false }
}

/// Quick restarts; a hang is noticed after a second, which is long on any machine for what is asked here.
fn supervision() -> Supervision {
    Supervision { backoff: Span::from_millis(1), hang_minimum: Span::from_millis(1_000), ..Supervision::default() }
}

/// Asks everything in `asked` at once; who comes while no group is up is told to come again, and does.
fn ask_all(runtime: &Runtime, engine: &Engine, asked: &[(u32, Input)]) -> Vec<Result<Output, Refusal>> {
    let submit = |asked: &(u32, Input)| {
        let (gateway, asked) = (Arc::clone(engine.gateway()), asked.clone());
        let mut pending = gateway.submit(question(&gateway, &asked)).expect("there is room");
        runtime.spawn(async move {
            loop {
                match pending.answer().await {
                    Err(Refusal { cause: Cause::NoReplica, .. }) => {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                        pending = gateway.submit(question(&gateway, &asked)).expect("there is room");
                    }
                    answer => return answer.map(|answer| answer.output),
                }
            }
        })
    };
    let tasks: Vec<_> = asked.iter().map(submit).collect();
    tasks.into_iter().map(|task| runtime.block_on(task).expect("one answer each")).collect()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("it builds")
}

/// Groups that were started again, once all are up.
fn restarts(engine: &Engine) -> u64 {
    let groups = &engine.gateway().board().groups;
    while !groups.iter().all(|group| group.up.load(Relaxed)) {
        assert!(groups.iter().all(|group| group.state() != "taken_out"), "no group is lost for good");
        thread::yield_now();
    }
    groups.iter().map(|group| group.restarts.load(Relaxed)).sum()
}

fn times(deployment: &Deployment, settings: Settings) -> StageTimes {
    let Deployment { cluster, models, placement } = deployment;
    StageTimes::new(placement, cluster, models, 0.0, settings.max_batch).expect("every configuration has a profile")
}

/// Whether `refusal` is what a request that does `harm` deserves.
fn deserved(harm: Harm, refusal: &Refusal) -> bool {
    let fault = |fault| matches!(&refusal.cause, Cause::Backend(error) if error.fault() == fault);
    match harm {
        Harm::Panic | Harm::Lost | Harm::Hang(_) => matches!(refusal.cause, Cause::CostGroup),
        Harm::Memory => fault(Fault::Capacity),
        Harm::Refused => fault(Fault::Request),
        Harm::MemoryInCompany | Harm::Slow(_) => false,
    }
}

#[test]
fn poison_among_many_harms_itself_alone() {
    let harms = [Harm::Panic, Harm::Lost, Harm::Memory, Harm::MemoryInCompany, Harm::Refused];
    let runtime = runtime();
    for seed in 0..48 {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let mut up_to = |most: u32| chance.random_range(1..=most);
        // Hangs take their time to be noticed: fewer of them.
        let hangs = seed % 12 == 11;
        let harm = if hangs { Harm::Hang(Duration::from_secs(3600)) } else { harms[seed as usize % harms.len()] };
        let requests = if hangs { 12 } else { 40 };
        let (groups, pp, max_batch) = (up_to(3), up_to(2), up_to(2));
        let dispatch = Dispatch::ALL[up_to(4) as usize - 1];
        let settings = Settings { dispatch, max_batch, ..Settings::default() };
        let deployment = deployment(groups, pp, 2, Span::from_nanos(400_000), Slo::None);
        let backend = Faulty::new(sleeper(&deployment, max_batch), FaultRates::default(), Seed(seed));
        let backend = Arc::new(backend.poisoned(POISON, harm));
        let engine = EngineSettings {
            scheduler: settings,
            supervision: supervision(),
            record: Record::Memory,
            ..EngineSettings::default()
        };
        let engine = Engine::start(Arc::clone(&backend), deployment.clone(), engine).expect("it starts");
        let asked: Vec<_> = (0..requests)
            .map(|_| {
                let (first, length) = (if up_to(10) == 1 { POISON } else { up_to(50) }, up_to(8) as usize);
                if up_to(2) == 1 { (0, text(first, length)) } else { (1, generate(first, length)) }
            })
            .collect();
        let answers = ask_all(&runtime, &engine, &asked);
        let mut poisons = 0;
        for ((model, input), answer) in asked.iter().zip(&answers) {
            let case =
                format!("seed {seed}, {harm:?}, {groups} x {pp}, {settings:?}: {input:?} to m{model}: {answer:?}");
            if input.tokens()[0] != POISON || harm == Harm::MemoryInCompany {
                assert_eq!(answer.as_ref().ok(), Some(&expected(input)), "{case}");
            } else {
                poisons += 1;
                assert!(answer.as_ref().is_err_and(|refusal| deserved(harm, refusal)), "{case}");
            }
        }
        // Once alone, and once before in company.
        let lives = if max_batch == 1 { 1 } else { 2 };
        let restarts = restarts(&engine);
        let costs = matches!(harm, Harm::Panic | Harm::Lost | Harm::Hang(_));
        assert!(restarts <= if costs { lives * poisons } else { 0 }, "seed {seed}: {restarts} for {poisons}");
        assert!(!costs || restarts >= poisons, "seed {seed}: {restarts} for {poisons}");
        assert_eq!(engine.gateway().inside(), 0);
        engine.stop().replay(&mut machine(settings, times(&deployment, settings))).expect("the same actions");
    }
}

/// What the sleeping backend answers.
fn expected(input: &Input) -> Output {
    let deployment = deployment(1, 1, 2, Span::from_nanos(1), Slo::None);
    let backend = sleeper(&deployment, 1);
    let model = ModelId(u32::from(matches!(input, Input::Generate(_))));
    let group = &deployment.placement.groups[0];
    let plan = StagePlan {
        group: GroupId(0),
        config: group.config,
        stage: 0,
        devices: group.devices.clone(),
        models: group.models.clone(),
    };
    let mut stage = backend.open(&plan).expect("it opens");
    let mut flow = backend.start(model, vec![input.clone()]).expect("it is right");
    loop {
        match stage.run(flow).expect("it runs") {
            Step::Next(next) | Step::Again { flow: next, .. } => flow = next,
            Step::Done(outputs) => return outputs.into_iter().next().expect("one"),
        }
    }
}

#[test]
fn a_request_that_cost_a_group_may_cost_more_by_option_only() {
    let runtime = runtime();
    for retries_after_loss in 0..3 {
        let deployment = deployment(4, 1, 1, Span::from_millis(1), Slo::None);
        let backend = Faulty::new(sleeper(&deployment, 1), FaultRates::default(), Seed(1));
        let backend = Arc::new(backend.poisoned(POISON, Harm::Lost));
        let scheduler = Settings { retries_after_loss, ..Settings::default() };
        let settings = EngineSettings { scheduler, supervision: supervision(), ..EngineSettings::default() };
        let engine = Engine::start(Arc::clone(&backend), deployment, settings).expect("it starts");
        let answers = ask_all(&runtime, &engine, &[(0, generate(POISON, 3)), (0, generate(1, 3))]);
        assert!(answers[0].as_ref().is_err_and(|refusal| matches!(refusal.cause, Cause::CostGroup)));
        assert!(answers[1].is_ok());
        assert_eq!(
            (restarts(&engine), backend.faults()),
            (u64::from(retries_after_loss) + 1, u64::from(retries_after_loss) + 1)
        );
        engine.stop();
    }
}

#[test]
fn a_group_that_works_outlives_any_number_of_bad_requests_in_a_row() {
    let deployment = deployment(1, 2, 1, Span::from_nanos(100_000), Slo::None);
    let backend = Faulty::new(sleeper(&deployment, 1), FaultRates::default(), Seed(1)).poisoned(POISON, Harm::Panic);
    let settings = EngineSettings { supervision: supervision(), ..EngineSettings::default() };
    assert_eq!(settings.supervision.attempts, 6);
    let engine = Engine::start(Arc::new(backend), deployment, settings).expect("it starts");
    let runtime = runtime();
    let mut asked = vec![(0, generate(POISON, 3)); 20];
    asked.push((0, generate(1, 3)));
    let answers = ask_all(&runtime, &engine, &asked);
    assert!(answers[20].is_ok(), "{answers:?}");
    assert_eq!(restarts(&engine), 20);
    engine.stop();
}

#[test]
fn a_long_prompt_is_waited_for_and_a_hung_stage_is_not() {
    // Profiled with 16 tokens at 1 ms; a stage may take a second, or 20 times what is predicted.
    let mut deployment = deployment(2, 2, 2, Span::from_millis(1), Slo::None);
    for model in &mut deployment.models {
        model.profile = Arc::new(ModelProfile::clone(&model.profile).with_tokens(Some(16)));
    }
    let slow = Harm::Slow(Duration::from_micros(500));
    let hung = Harm::Hang(Duration::from_secs(3600));
    let backend = Faulty::new(sleeper(&deployment, 1), FaultRates::default(), Seed(1));
    let backend = backend.poisoned(POISON, slow).poisoned(POISON + 1, hung);
    let settings = EngineSettings { supervision: supervision(), ..EngineSettings::default() };
    let engine = Engine::start(Arc::new(backend), deployment, settings).expect("it starts");
    let runtime = runtime();
    // More than a second for each lap that was predicted to take a millisecond.
    let asked = [(0, text(POISON, 4_000)), (1, generate(POISON, 3_000))];
    let answers = ask_all(&runtime, &engine, &asked);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(restarts(&engine), 0);
    let answers = ask_all(&runtime, &engine, &[(0, text(POISON + 1, 16)), (0, text(1, 16))]);
    assert!(answers[0].as_ref().is_err_and(|refusal| matches!(refusal.cause, Cause::CostGroup)), "{answers:?}");
    assert!(answers[1].is_ok());
    assert_eq!(restarts(&engine), 1);
    engine.stop();
}
