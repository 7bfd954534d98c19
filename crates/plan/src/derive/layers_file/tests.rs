use super::*;
use crate::derive::LayerKind;
use crate::intra_op::OperatorKind;
use proptest::prelude::*;
use statmux_core::units::Bytes;

fn parse(text: &str) -> Result<LayersTable, String> {
    parse_layers(Path::new("data/toy.csv"), text).map_err(|error| error.to_string())
}

#[test]
fn a_plain_table_is_read() {
    let text = "layer,batch,time_ms,activation_bytes,weight_bytes\n\
                a,1,5,100,1e6\nb,1,7.5,200,2e6\na,4,15,400,\nb,4,20,800,\n";
    let table = parse(text).expect("good");
    assert_eq!(table.models.len(), 1);
    let ModelLayers { name, layers, tokens } = &table.models[0];
    assert_eq!((name.as_str(), layers.len(), *tokens), ("toy", 2, None));
    assert_eq!(layers[0].seconds[&1], [(1, 0.005), (4, 0.015)].into());
    assert_eq!(layers[1].weights, Bytes::new(2_000_000));
    assert_eq!(layers[1].activations, [(1, Bytes::new(200)), (4, Bytes::new(800))].into());
    assert_eq!(layers[1].outputs, layers[1].activations, "what is not said of the output is its memory");
    assert_eq!(parse(&text.replace(',', " ; ").replace("time_ms", "Time_MS")), Ok(table));
}

#[test]
fn equal_layers_operators_and_models_are_read() {
    let table = parse(
        "model,layer,operator,kind,splits,count,block,tokens,op,batch,time_us,weight_bytes,output_bytes\n\
         m,embedding,,whole,,,,128,,,100,5,\n\
         m,block,,,16,3,0,,,,1000,60,8\n\
         m,block,,,,,,,2,,600,,\n\
         m,block,up,product,8,,,,,,400,30,32\n\
         m,block,act,local,8,,,,,,10,0,32\n\
         m,block,down,,8,,,,,,500,30,8\n\
         n,only,x,,,,,,,,7,3,2\n\
         n,only,y,,,,,,,,8,4,6\n",
    )
    .expect("good");
    let [m, n] = &table.models[..] else { panic!("{table:?}") };
    assert_eq!((m.tokens, m.layers.len()), (Some(128), 4));
    assert_eq!(m.layers[0].kind, LayerKind::One(OperatorKind::Whole));
    let last = &m.layers[3];
    assert_eq!((last.name.as_str(), last.block, last.splits), ("block 2", Some(2), 16));
    assert_eq!(last.seconds, [(1, [(1, 1e-3)].into()), (2, [(1, 6e-4)].into())].into());
    let kinds: Vec<_> = last.operators.iter().map(|operator| operator.kind).collect();
    assert_eq!(kinds, [OperatorKind::Product, OperatorKind::Local, OperatorKind::Product]);
    let only = &n.layers[0];
    assert_eq!((only.weights, &only.outputs), (Bytes::new(7), &[(1, Bytes::new(6))].into()));
    assert_eq!(parse(&layers_csv(&table)).map(|again| again.models.len()), Ok(2));
}

#[test]
fn bad_tables_say_where_what_and_what_to_do() {
    const GOOD: &str = "layer,count,op,batch,time_ms,weight_bytes,kind\na,2,1,1,5,10,block\nb,,1,1,6,20,\n";
    assert!(parse(GOOD).is_ok());
    let check = |from: &str, to: &str, expected: &[&str]| {
        assert!(GOOD.contains(from), "{from}");
        let error = parse(&GOOD.replacen(from, to, 1)).expect_err(to);
        assert!(error.contains("help: "), "{error}");
        for part in expected {
            assert!(error.contains(part), "expected `{part}` in: {error}");
        }
    };
    check("layer,", "layr,", &["data/toy.csv:1", "unknown column `layr`", "did you mean `layer`"]);
    check("kind", "batch", &["data/toy.csv:1", "`batch` stands twice"]);
    check("weight_bytes", "activation_bytes", &["data/toy.csv:1", "no column `weight_bytes`"]);
    check("time_ms", "splits", &["data/toy.csv:1", "no column `time_ms`", "time_us"]);
    check("kind", "time_s", &["data/toy.csv:1", "two units"]);
    check("5,10", "x,10", &["data/toy.csv:2", "time_ms is `x`"]);
    check("5,10", ",10", &["data/toy.csv:2", "time_ms is missing"]);
    check("6,20", "0,20", &["data/toy.csv:3", "time_ms is 0"]);
    check("6,20", "-6,20", &["data/toy.csv:3", "time_ms is -6"]);
    check("6,20", "nan,20", &["data/toy.csv:3", "time_ms is nan"]);
    check("6,20", "inf,20", &["data/toy.csv:3", "time_ms is inf"]);
    check("6,20", "6,-1", &["data/toy.csv:3", "weight_bytes is -1"]);
    check("6,20", "6,", &["data/toy.csv:3", "layer `b` has no weight_bytes"]);
    check("b,", ",", &["data/toy.csv:3", "layer is missing"]);
    check("b,,1,1", "a,,1,1", &["data/toy.csv:3", "layer `a`", "a second time at op 1, batch 1"]);
    check("b,,1,1", "a,,1,2", &["data/toy.csv:3", "layer `a`", "weight_bytes differs"]);
    check("b,,1,1", "b,,0,1", &["data/toy.csv:3", "op is 0"]);
    check("b,,1,1", "b,,1,1.5", &["data/toy.csv:3", "batch is 1.5"]);
    check("a,2", "a,4000000000", &["data/toy.csv:2", "count is 4000000000"]);
    check("a,2", "a,1024", &["1025 layers"]);
    check("block\n", "blok\n", &["data/toy.csv:2", "unknown kind `blok`", "block, product"]);
    check("b,,1,1,6", "b,,1,6", &["data/toy.csv:3", "6 fields where the header has 7"]);
    let error = |text: &str| parse(text).expect_err("bad");
    assert!(error("").contains("is empty"));
    assert!(error("layer,time_ms,weight_bytes\n").contains("no rows"));
    let inside = "layer,operator,op,kind,time_ms,weight_bytes\na,x,2,,1,1\n";
    assert!(error(inside).contains("measured on one device"));
    assert!(error(&inside.replace("2,,", "1,block,")).contains("kind is block"));
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "(layer,time_ms,weight_bytes\n)?.{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn tables_survive_a_round_trip(
        layers in prop::collection::vec((1_u64..1_000_000, 0_u64..1 << 40, prop::option::of(0_u64..1 << 30)), 1..20),
        batches in prop::collection::btree_set(1_u32..64, 1..4),
    ) {
        let layer = |(index, (nanos, weights, output)): (usize, &(u64, u64, Option<u64>))| LayerCosts {
            name: format!("layer, {index}"),
            seconds: [(1, batches.iter().map(|&batch| (batch, f64::from(batch) * *nanos as f64 / 1e9)).collect())].into(),
            weights: Bytes::new(*weights),
            activations: batches.iter().map(|&batch| (batch, Bytes::new(u64::from(batch) * 7))).collect(),
            outputs: batches.iter().map(|&batch| (batch, Bytes::new(output.unwrap_or(9)))).collect(),
            block: Some(index),
            tied: Bytes::new(*weights / 3),
            ..LayerCosts::default()
        };
        let layers = layers.iter().enumerate().map(layer).collect();
        let table = LayersTable { models: vec![ModelLayers { name: "m".to_owned(), layers, tokens: Some(32) }] };
        let mut again = parse(&layers_csv(&table)).expect("written by us");
        for (again, layer) in again.models[0].layers.iter_mut().zip(&table.models[0].layers) {
            for (batch, seconds) in again.seconds.get_mut(&1).expect("there") {
                let written = layer.seconds[&1][batch];
                prop_assert!((*seconds - written).abs() <= 1e-15 * written, "{} {}", seconds, written);
                *seconds = written;
            }
        }
        prop_assert_eq!(again, table);
    }
}
