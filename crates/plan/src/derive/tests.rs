use super::*;
use crate::intra_op::OperatorKind;
use proptest::prelude::*;
use statmux_core::links::Bandwidth;

const MIB: u64 = 1 << 20;

fn measured(name: &str, ms: f64, weights: u64) -> LayerCosts {
    let by_batch = |share: f64| BTreeMap::from([(1, ms * share * 1e-3), (4, 3.0 * ms * share * 1e-3)]);
    LayerCosts {
        name: name.to_owned(),
        seconds: BTreeMap::from([(1, by_batch(1.0)), (2, by_batch(0.6))]),
        weights: Bytes::new(weights * MIB),
        activations: BTreeMap::from([(1, Bytes::new(3 * MIB)), (4, Bytes::new(12 * MIB))]),
        outputs: BTreeMap::from([(1, Bytes::new(MIB))]),
        ..LayerCosts::default()
    }
}

/// An embedding, eight blocks, and a head that takes as long as three blocks.
fn model() -> Vec<LayerCosts> {
    let mut layers = vec![measured("embedding", 1.0, 200)];
    layers.extend((0..8).map(|i| measured(&format!("block {i}"), 4.0, 50)));
    layers.push(measured("head", 12.0, 200));
    layers
}

fn links() -> Links {
    Links { rate: LinkRate::new(Bandwidth::new(10e9).unwrap()), latency: Span::from_nanos(10_000), efficiency: 0.9 }
}

fn wanted(memory: Option<Bytes>) -> Wanted {
    Wanted { ops: vec![1, 2], pps: vec![1, 2, 4, 16], batches: vec![1, 4], memory }
}

#[test]
fn a_profile_is_derived_and_says_so() {
    let profile = derive_profile("toy", "unit test", &model(), &links(), &wanted(None)).unwrap().profile;
    assert!(profile.provenance.starts_with("derived"));
    let configs: Vec<_> = profile.configs().map(|(config, _)| (config.op, config.pp)).collect();
    assert_eq!(configs, [(1, 1), (1, 2), (1, 4), (2, 1), (2, 2), (2, 4)]);
    assert!((profile.single_device_seconds().unwrap() - 0.045).abs() < 1e-12);

    let four = profile.config(ParallelConfig::new(1, 4)).unwrap();
    let transfer = MIB as f64 / 10e9 + 10e-6;
    // Embedding and two blocks; three blocks; three blocks; the head.
    let expected = [0.009, 0.012 + transfer, 0.012 + transfer, 0.012 + transfer];
    for (stage, expected) in four.stage_seconds[&1].iter().zip(expected) {
        assert!((stage - expected).abs() < 2e-9, "{stage} {expected}");
    }
    assert_eq!(four.stage_weights, [300, 150, 150, 200].map(|mib| Bytes::new(mib * MIB)));
    assert_eq!(four.stage_activations[&4], [Bytes::new(12 * MIB); 4]);
    let two = profile.config(ParallelConfig::new(2, 1)).unwrap();
    assert_eq!(two.stage_weights, [Bytes::new(400 * MIB)]);
    assert!((two.stage_seconds[&4][0] - 0.6 * 3.0 * 0.045).abs() < 1e-9);
}

#[test]
fn a_limit_decides_the_cut_where_it_can_be_kept() {
    let largest = |limit: u64, config| {
        let derived = derive_profile("toy", "", &model(), &links(), &wanted(Some(Bytes::new(limit * MIB)))).unwrap();
        assert_eq!(derived.profile.configs().count(), 6);
        derived.profile.config(config).unwrap().largest_stage_weight().get() / MIB
    };
    let two = ParallelConfig::new(1, 2);
    // For speed alone: the embedding and five blocks, three blocks and the head.
    assert_eq!(largest(4000, two), 450);
    assert_eq!(largest(400, two), 400);
    assert_eq!(largest(399, two), 450, "no cut keeps it");
    assert_eq!(largest(400, ParallelConfig::SINGLE), 800, "times of one device are asked for where it does not fit");
}

#[test]
fn what_was_not_measured_is_named() {
    let refused = |ops: &[u32], batches: &[u32]| {
        let wanted = Wanted { ops: ops.to_vec(), batches: batches.to_vec(), ..wanted(None) };
        derive_profile("toy", "", &model(), &links(), &wanted).unwrap_err()
    };
    let unmeasured = |op, batch| DeriveError::Unmeasured { layer: "embedding".to_owned(), op, batch };
    assert_eq!(refused(&[2], &[1, 8]), unmeasured(2, 8));
    assert_eq!(refused(&[4], &[1, 8]), unmeasured(4, 8));
    assert_eq!(refused(&[0], &[1]), DeriveError::Wanted);
    assert_eq!(refused(&[1], &[4]), DeriveError::Wanted);
}

#[test]
fn degrees_are_predicted_from_operators() {
    let product = |name: &str, output| OperatorCosts {
        name: name.to_owned(),
        kind: OperatorKind::Product,
        seconds: BTreeMap::from([(1, 2e-3)]),
        weights: Bytes::new(50 * MIB),
        outputs: BTreeMap::from([(1, Bytes::new(output))]),
        splits: 64,
    };
    let layer =
        LayerCosts { operators: vec![product("up", 40 * MIB), product("down", 10 * MIB)], ..LayerCosts::default() };
    let wanted = Wanted { ops: vec![1, 8], pps: vec![1, 2], batches: vec![1], memory: None };
    let links = Links { efficiency: 1.0, ..links() };
    let profile = derive_profile("mlp", "", &[layer.clone(), layer], &links, &wanted).unwrap().profile;
    let split = profile.config(ParallelConfig::new(8, 1)).unwrap();
    let all_reduce = 2.0 * 7.0 / 8.0 * (10 * MIB) as f64 / 10e9 + 14.0 * 10e-6;
    assert!((split.stage_seconds[&1][0] - 2.0 * (0.5e-3 + all_reduce)).abs() < 1e-8);
    assert_eq!(split.stage_weights, [Bytes::new(200 * MIB / 8)]);
    let single = profile.single_device_seconds().unwrap();
    assert!((intra_op_overhead(single, split.stage_seconds[&1][0], 8) - 16.0 * all_reduce).abs() < 1e-7);
}

#[test]
fn a_block_is_taken_for_attention_and_an_mlp() {
    let fast = Links { rate: "nvlink4".parse().unwrap(), latency: Span::ZERO, efficiency: 1.0 };
    let layer = LayerCosts { seconds: BTreeMap::from([(1, BTreeMap::from([(1, 6e-3)]))]), ..measured("a", 1.0, 6) };
    let derive = |layer: &LayerCosts, links: &Links| {
        let wanted = Wanted { ops: vec![1, 4], pps: vec![1], batches: vec![1], memory: None };
        let derived = derive_profile("toy", "", std::slice::from_ref(layer), links, &wanted).unwrap();
        assert_eq!(derived.predicted, [4]);
        derived.profile.config(ParallelConfig::new(4, 1)).unwrap().clone()
    };
    let all_reduce = 2.0 * 3.0 / 4.0 * MIB as f64 / 360e9;
    let split = derive(&layer, &fast);
    assert!((split.stage_seconds[&1][0] - (1.5e-3 + 2.0 * all_reduce)).abs() < 1e-8);
    assert_eq!(split.stage_weights, [Bytes::new(6 * MIB / 4)]);
    // Over links this slow nothing is split, and heads that do not divide cannot be.
    let slow = Links { rate: "1 MB/s".parse().unwrap(), ..fast };
    assert_eq!(derive(&layer, &slow).stage_weights, [Bytes::new(6 * MIB)]);
    assert_eq!(derive(&LayerCosts { splits: 6, ..layer.clone() }, &fast).stage_seconds[&1], [6e-3]);
    let whole = LayerCosts { kind: LayerKind::One(OperatorKind::Whole), ..layer };
    assert_eq!(derive(&whole, &fast).stage_seconds[&1], [6e-3]);
}

#[test]
fn servers_are_told_where_to_cut_by_their_own_layers() {
    let mut layers = model();
    layers.iter_mut().enumerate().skip(1).take(8).for_each(|(index, layer)| layer.block = Some(index - 1));
    let cuts = |layers: &[LayerCosts], pp| {
        let wanted = Wanted { ops: vec![1], pps: vec![pp], batches: vec![1], memory: None };
        let derived = derive_profile("toy", "", layers, &links(), &wanted).unwrap();
        derived.profile.cuts().get(&ParallelConfig::new(1, pp)).cloned()
    };
    assert_eq!(cuts(&layers, 2), Some(vec![5]));
    assert_eq!(cuts(&layers, 4), None, "the head has a stage to itself, which no server can do");
    assert_eq!(cuts(&model(), 2), None);
}

/// Every way to cut `layers` layers into `stages` stages, as the first layer of each stage.
fn all_cuts(layers: usize, stages: usize) -> Vec<Vec<usize>> {
    if stages == 1 {
        return vec![vec![0]];
    }
    let longer = |last: usize| {
        all_cuts(last, stages - 1).into_iter().map(move |mut cut| {
            cut.push(last);
            cut
        })
    };
    (stages - 1..layers).flat_map(longer).collect()
}

fn any_layer() -> impl Strategy<Value = LayerCosts> {
    let kinds = [
        LayerKind::Block,
        LayerKind::One(OperatorKind::Product),
        LayerKind::One(OperatorKind::Local),
        LayerKind::One(OperatorKind::Whole),
    ];
    let bytes = (0_u64..1 << 30, 0_u64..1 << 24);
    (1_u64..20_000_000, 0_u64..40_000_000, bytes, prop::sample::select(kinds.to_vec()), any::<bool>()).prop_map(
        |(nanos, more, (weights, output), kind, measured_split)| {
            let by_batch = |share: f64| {
                BTreeMap::from([(1, share * nanos as f64 / 1e9), (4, share * (nanos + more) as f64 / 1e9)])
            };
            let mut seconds = BTreeMap::from([(1, by_batch(1.0))]);
            if measured_split {
                seconds.insert(2, by_batch(0.7));
            }
            LayerCosts {
                seconds,
                weights: Bytes::new(weights),
                outputs: BTreeMap::from([(1, Bytes::new(output))]),
                kind,
                ..LayerCosts::default()
            }
        },
    )
}

proptest! {
    #[test]
    fn stages_are_the_best_cut_and_lose_no_layer(layers in prop::collection::vec(any_layer(), 1..8)) {
        let wanted = Wanted::all(&layers, 8, 8);
        prop_assert_eq!(&wanted.batches, &[1, 4]);
        let pps: Vec<u32> = (1..=layers.len() as u32).collect();
        let wanted = Wanted { pps, ..wanted };
        let derived = derive_profile("toy", "", &layers, &links(), &wanted).unwrap();
        let weights: u64 = layers.iter().map(|layer| layer.weights.get()).sum();
        let config = |op, pp| derived.profile.config(ParallelConfig::new(op, pp)).unwrap();
        for (&op, &pp) in wanted.ops.iter().flat_map(|op| wanted.pps.iter().map(move |pp| (op, pp))) {
            let profile = config(op, pp);
            for batch in [1, 4] {
                let alone = config(op, 1).stage_seconds[&batch][0];
                let sum: f64 = profile.stage_seconds[&batch].iter().sum();
                // Hand-overs only add to the layers.
                prop_assert!(sum >= alone * (1.0 - 1e-12), "{op} x {pp}: {sum} {alone}");
            }
            prop_assert!(profile.stage_seconds[&1].iter().zip(&profile.stage_seconds[&4]).all(|(one, four)| one <= four));
            // Splitting is never slower than not splitting, and no device holds more for it.
            prop_assert!(config(op, 1).stage_seconds[&1][0] <= config(1, 1).stage_seconds[&1][0] + 1e-8);
            let held: u64 = profile.stage_weights.iter().map(|bytes| bytes.get()).sum();
            prop_assert!(held * u64::from(op) >= weights && held <= weights);
            if op == 1 {
                prop_assert_eq!(held, weights);
            }
            // No other cut has a faster slowest stage; times are whole nanoseconds there.
            let hand_over = |start: usize| match start.checked_sub(1) {
                Some(before) => links().hand_over(layers[before].outputs[&1]).seconds(),
                None => 0.0,
            };
            let single: Vec<f64> = layers
                .iter()
                .map(|layer| SplitLayer::of(layer, op, &links(), &[1]).unwrap().seconds[&1])
                .collect();
            let slowest = |starts: &Vec<usize>| {
                let ends = starts[1..].iter().copied().chain([layers.len()]);
                let stage = |(start, end): (&usize, usize)| single[*start..end].iter().sum::<f64>() + hand_over(*start);
                starts.iter().zip(ends).map(stage).fold(0.0, f64::max)
            };
            let best = all_cuts(layers.len(), pp as usize).iter().map(slowest).fold(f64::INFINITY, f64::min);
            let found = profile.stage_seconds[&1].iter().copied().fold(0.0, f64::max);
            prop_assert!((found - best).abs() < 1e-8, "{op} x {pp}: {found} {best}");
        }
        let sum: f64 = layers.iter().map(|layer| layer.seconds[&1][&1]).sum();
        prop_assert!((derived.profile.single_device_seconds().unwrap() - sum).abs() < 1e-12);
    }

    #[test]
    fn faster_links_and_longer_pipelines_never_slow_the_slowest_stage(
        layers in prop::collection::vec(any_layer(), 4..8),
        slow in 1.0_f64..1e9,
        faster in 1.0_f64..1000.0,
    ) {
        let slowest = |bandwidth: f64, latency: u64, op: u32, pp: u32| {
            let rate = LinkRate::new(Bandwidth::new(bandwidth).unwrap());
            let links = Links { rate, latency: Span::from_nanos(latency), efficiency: 0.9 };
            let wanted = Wanted { ops: vec![op], pps: vec![pp], batches: vec![1], memory: None };
            let derived = derive_profile("toy", "", &layers, &links, &wanted).unwrap();
            derived.profile.config(ParallelConfig::new(op, pp)).unwrap().stage_seconds[&1].iter().copied().fold(0.0, f64::max)
        };
        for (op, pp) in [(1, 2), (2, 2), (4, 3), (8, 4)] {
            prop_assert!(slowest(slow * faster, 10, op, pp) <= slowest(slow, 10, op, pp) + 1e-8, "{} {}", op, pp);
            // Where hand-overs are all but free, more stages only help.
            let free = |pp| slowest(1e300, 0, op, pp);
            prop_assert!(free(pp) <= free(pp - 1) + 1e-8);
        }
    }
}
