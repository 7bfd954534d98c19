//! What every backend must do, as checks to be run from its tests.
//!
//! Each check panics with what was wrong. [`all`] runs them all.

use statmux_core::backend::{
    Backend, BackendError, Fault, Finish, Input, Output, Passage, Stage, StagePlan, Step, Task,
};
use statmux_core::{Bytes, DeviceId, GroupId, ModelId, ParallelConfig};

/// A backend under test, with inputs that it should answer.
#[derive(Debug)]
pub struct Subject<'a, B> {
    /// The backend.
    pub backend: &'a B,
    /// One of its models.
    pub model: ModelId,
    /// How the group under test splits it.
    pub config: ParallelConfig,
    /// The group under test; its devices are the first ones.
    pub group: GroupId,
    /// At least two inputs that differ, and may share a batch.
    pub inputs: Vec<Input>,
    /// How much numbers may differ between runs that should agree.
    pub tolerance: f32,
}

/// Runs every check.
///
/// # Panics
/// If one fails.
pub fn all<B: Backend>(subject: &Subject<'_, B>) {
    answers_keep_their_order(subject);
    runs_repeat(subject);
    batches_pass_each_other(subject);
    nonsense_is_refused(subject);
    memory_comes_back(subject);
    stages_open_again(subject);
    streams_add_up(subject);
    members_end_alone(subject);
    padding_changes_nothing(subject);
}

impl<B: Backend> Subject<'_, B> {
    fn open(&self) -> Vec<B::Stage> {
        let open = |stage| {
            let devices = (stage * self.config.op..(stage + 1) * self.config.op).map(DeviceId).collect();
            let plan = StagePlan { group: self.group, config: self.config, stage, devices, models: vec![self.model] };
            self.backend.open(&plan).unwrap_or_else(|error| panic!("stage {stage} does not open: {error:?}"))
        };
        (0..self.config.pp).map(open).collect()
    }

    fn start(&self, inputs: &[Input]) -> B::Flow {
        self.backend.start(self.model, inputs.to_vec()).unwrap_or_else(|error| panic!("inputs are refused: {error:?}"))
    }

    fn assert_same(&self, a: &[Output], b: &[Output], what: &str) {
        assert_eq!(a.len(), b.len(), "{what}: as many answers");
        for (a, b) in a.iter().zip(b) {
            assert!(self.same(a, b), "{what}: {a:?} and {b:?} differ by more than {}", self.tolerance);
        }
    }

    fn same(&self, a: &Output, b: &Output) -> bool {
        let near =
            |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= self.tolerance);
        match (a, b) {
            (Output::Embedding(a), Output::Embedding(b)) => near(a, b),
            (Output::MaskedLogits(a), Output::MaskedLogits(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| near(a, b))
            }
            (a, b) => a == b,
        }
    }
}

/// Runs one lap. Returns the flow for the next, or the answers.
fn lap<S: Stage>(stages: &mut [S], mut flow: S::Flow, streamed: &mut Vec<Vec<u32>>) -> Result<S::Flow, Vec<Output>> {
    let last = stages.len() - 1;
    for (index, stage) in stages.iter_mut().enumerate() {
        match stage.run(flow).unwrap_or_else(|error| panic!("stage {index} fails: {error:?}")) {
            Step::Next(next) => {
                assert!(index < last, "the last stage ends a lap");
                flow = next;
            }
            Step::Again { flow, tokens } => {
                assert_eq!(index, last, "only the last stage sends a batch round again");
                streamed.resize(tokens.len(), Vec::new());
                streamed.iter_mut().zip(tokens).for_each(|(streamed, token)| streamed.extend(token));
                return Ok(flow);
            }
            Step::Done(outputs) => {
                assert_eq!(index, last, "only the last stage completes a batch");
                return Err(outputs);
            }
        }
    }
    unreachable!("the last stage returned above")
}

/// Runs a batch to its end.
fn finish<S: Stage>(stages: &mut [S], mut flow: S::Flow) -> Vec<Output> {
    loop {
        match lap(stages, flow, &mut Vec::new()) {
            Ok(next) => flow = next,
            Err(outputs) => return outputs,
        }
    }
}

/// A batch answers each input as if it had been alone, in their order.
pub fn answers_keep_their_order<B: Backend>(subject: &Subject<'_, B>) {
    assert!(subject.inputs.len() >= 2, "at least two inputs are needed");
    let mut stages = subject.open();
    let together = finish(&mut stages, subject.start(&subject.inputs));
    let alone: Vec<Output> = subject
        .inputs
        .iter()
        .flat_map(|input| finish(&mut stages, subject.start(std::slice::from_ref(input))))
        .collect();
    subject.assert_same(&together, &alone, "a batch and its members alone");
    assert!(!subject.same(&alone[0], &alone[1]), "different inputs get different answers: {:?}", alone[0]);
}

/// The same batch gives the same answers.
pub fn runs_repeat<B: Backend>(subject: &Subject<'_, B>) {
    let mut stages = subject.open();
    let first = finish(&mut stages, subject.start(&subject.inputs));
    let second = finish(&mut stages, subject.start(&subject.inputs));
    subject.assert_same(&first, &second, "the same batch twice");
}

/// Two batches that take turns in the stages do not disturb each other.
pub fn batches_pass_each_other<B: Backend>(subject: &Subject<'_, B>) {
    let mut stages = subject.open();
    let batches: Vec<Vec<Input>> = subject.inputs.iter().map(|input| vec![input.clone()]).collect();
    let alone: Vec<Vec<Output>> = batches.iter().map(|batch| finish(&mut stages, subject.start(batch))).collect();
    let mut flows: Vec<_> = batches.iter().map(|batch| Some(subject.start(batch))).collect();
    let mut turns = vec![Vec::new(); batches.len()];
    while flows.iter().any(Option::is_some) {
        for (flow, outputs) in flows.iter_mut().zip(&mut turns) {
            if let Some(running) = flow.take() {
                match lap(&mut stages, running, &mut Vec::new()) {
                    Ok(next) => *flow = Some(next),
                    Err(done) => *outputs = done,
                }
            }
        }
    }
    for (alone, turns) in alone.iter().zip(&turns) {
        subject.assert_same(alone, turns, "a batch alone and one that took turns");
    }
}

/// Nonsense is refused before it runs, and says whose fault it is.
pub fn nonsense_is_refused<B: Backend>(subject: &Subject<'_, B>) {
    let fault = |result: Result<B::Flow, BackendError>| result.err().map(|error| error.fault());
    let refused = |passage: Passage, what: &str| {
        let found = fault(subject.backend.start(subject.model, vec![Input::Embed(passage)]));
        assert_eq!(found, Some(Fault::Request), "{what}");
    };
    refused(Passage { mask: Some(vec![true; 2]), ..Passage::new(vec![1]) }, "a mask of another length");
    refused(Passage { mask: Some(vec![false]), ..Passage::new(vec![1]) }, "a mask that leaves nothing");
    refused(Passage { types: Some(vec![0; 2]), ..Passage::new(vec![1]) }, "token types of another length");
    refused(Passage { types: Some(vec![u32::MAX]), ..Passage::new(vec![1]) }, "a token type of no kind");
    let empty = vec![Input::embed(Vec::new())];
    assert_eq!(fault(subject.backend.start(subject.model, empty)), Some(Fault::Request), "an input without tokens");
    let card = subject.backend.card(subject.model).expect("the model is known");
    let strange = vec![Input::embed(vec![card.vocabulary])];
    assert_eq!(fault(subject.backend.start(subject.model, strange)), Some(Fault::Request), "a token of no vocabulary");
    let unknown = ModelId(u32::MAX);
    assert!(subject.backend.card(unknown).is_err(), "a model that is not there has no card");
    assert!(
        subject.backend.start(unknown, subject.inputs.clone()).is_err(),
        "a model that is not there does not start"
    );
}

/// What a batch held is free once it is done, or dropped on its way.
pub fn memory_comes_back<B: Backend>(subject: &Subject<'_, B>) {
    let mut stages = subject.open();
    let memory = |stages: &[B::Stage]| stages.iter().map(Stage::memory).collect::<Vec<Bytes>>();
    let before = memory(&stages);
    finish(&mut stages, subject.start(&subject.inputs));
    assert_eq!(memory(&stages), before, "after a batch, its memory is free");
    if let Ok(Step::Next(flow) | Step::Again { flow, .. }) = stages[0].run(subject.start(&subject.inputs)) {
        drop(flow);
    }
    assert_eq!(memory(&stages), before, "after a batch was dropped on its way, its memory is free");
}

/// Stages can be dropped and opened again, and answer as before.
pub fn stages_open_again<B: Backend>(subject: &Subject<'_, B>) {
    let mut stages = subject.open();
    let first = finish(&mut stages, subject.start(&subject.inputs));
    drop(stages);
    let mut stages = subject.open();
    let second = finish(&mut stages, subject.start(&subject.inputs));
    subject.assert_same(&first, &second, "a stage and its successor");
}

/// Tokens told on the way are those of the answer, in order.
pub fn streams_add_up<B: Backend>(subject: &Subject<'_, B>) {
    let mut stages = subject.open();
    let mut flow = subject.start(&subject.inputs);
    let mut streamed = Vec::new();
    let outputs = loop {
        match lap(&mut stages, flow, &mut streamed) {
            Ok(next) => flow = next,
            Err(outputs) => break outputs,
        }
    };
    for (streamed, output) in streamed.iter().zip(&outputs) {
        if let Output::Generated { tokens, .. } = output {
            assert!(tokens.starts_with(streamed), "told {streamed:?} on the way to {tokens:?}");
            assert!(tokens.len() <= streamed.len() + 1, "at most the last token is news at the end");
        }
    }
}

/// A member that is ended between two laps has the tokens so far; its batch-mates notice nothing, and when all are
/// ended the batch is done and its memory free.
pub fn members_end_alone<B: Backend>(subject: &Subject<'_, B>) {
    let mut stages = subject.open();
    let memory = |stages: &[B::Stage]| stages.iter().map(Stage::memory).collect::<Vec<Bytes>>();
    let idle = memory(&stages);
    let undisturbed = finish(&mut stages, subject.start(&subject.inputs));
    for member in 0..subject.inputs.len() {
        let mut told = Vec::new();
        let Ok(flow) = lap(&mut stages, subject.start(&subject.inputs), &mut told) else { return };
        let before = memory(&stages);
        let outputs = match subject.backend.end(flow, &[member]) {
            Step::Again { flow, tokens } => {
                assert_eq!(tokens, vec![None; subject.inputs.len()], "ending adds no tokens");
                let now = memory(&stages);
                assert!(now.iter().zip(&before).all(|(now, before)| now <= before), "ending takes no memory");
                finish(&mut stages, flow)
            }
            Step::Done(outputs) => outputs,
            Step::Next(_) => panic!("a batch between two laps is in no stage"),
        };
        for (index, (output, whole)) in outputs.iter().zip(&undisturbed).enumerate() {
            match (output, whole) {
                _ if index != member => assert_eq!(output, whole, "a batch-mate of one that was ended"),
                (Output::Generated { tokens, finish }, Output::Generated { tokens: all, finish: natural }) => {
                    assert_eq!(*tokens, told[member], "the tokens up to the end");
                    let expected = if tokens == all { *natural } else { Finish::Stop };
                    assert_eq!(*finish, expected, "why it ended");
                }
                _ => panic!("{output:?} does not go round"),
            }
        }
        assert_eq!(memory(&stages), idle, "after a batch of which a member was ended, its memory is free");
    }
    let Ok(flow) = lap(&mut stages, subject.start(&subject.inputs), &mut Vec::new()) else { return };
    let all: Vec<usize> = (0..subject.inputs.len()).collect();
    match subject.backend.end(flow, &all) {
        Step::Done(outputs) => assert_eq!(outputs.len(), all.len(), "one output each"),
        _ => panic!("a batch of which all members were ended goes on"),
    }
    assert_eq!(memory(&stages), idle, "after all members of a batch were ended, its memory is free");
}

/// An encoder answers a text with padding, wherever it stands, as it answers the text without it.
pub fn padding_changes_nothing<B: Backend>(subject: &Subject<'_, B>) {
    let card = subject.backend.card(subject.model).expect("the model is known");
    if card.task == Task::Generate {
        return;
    }
    let mut stages = subject.open();
    let word = |n: u32| (n * 7 + 3) % card.vocabulary;
    let text: Vec<u32> = (0..5).map(word).collect();
    let plain = finish(&mut stages, subject.start(&[Input::embed(text.clone())]));
    // Each bit of `pattern` is one place: a token of the text, or padding.
    for (pattern, padding) in [(0b0001_1111_u32, 0), (0b1111_1000, 1), (0b1011_0101, 2), (0b0101_1110, 3)] {
        let mut words = text.iter();
        let mask: Vec<bool> = (0..8).map(|place| pattern >> place & 1 == 1).collect();
        let tokens: Vec<u32> =
            mask.iter().map(|&there| if there { *words.next().expect("five bits") } else { word(padding) }).collect();
        let passage = Passage { mask: Some(mask), ..Passage::new(tokens.clone()) };
        let padded = finish(&mut stages, subject.start(&[Input::Embed(passage.clone())]));
        subject.assert_same(&plain, &padded, "a text and the same with padding");
        let together = finish(&mut stages, subject.start(&[Input::Embed(passage), Input::embed(tokens)]));
        subject.assert_same(&plain, &together[..1], "a text, and the same with padding in a batch");
    }
}
