//! Writing tables of layers.

use super::super::{LayerCosts, LayerKind};
use super::row::KINDS;
use super::{LayersTable, ModelLayers};
use crate::intra_op::OperatorKind;
use statmux_core::units::Bytes;
use std::collections::BTreeMap;

/// The columns, in the order in which they are written.
const COLUMNS: [&str; 14] = [
    "model",
    "layer",
    "operator",
    "kind",
    "splits",
    "block",
    "tokens",
    "op",
    "batch",
    "time_ms",
    "weight_bytes",
    "activation_bytes",
    "output_bytes",
    "tied_bytes",
];

type Record = [String; COLUMNS.len()];

/// The text of a file that holds `table`; columns with nothing to say are left out.
pub fn layers_csv(table: &LayersTable) -> String {
    let records: Vec<Record> =
        table.models.iter().flat_map(|model| model.layers.iter().flat_map(|layer| records(model, layer))).collect();
    let used: Vec<usize> =
        (0..COLUMNS.len()).filter(|&column| records.iter().any(|record| !record[column].is_empty())).collect();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write = |record: &[&str]| {
        let fields = used.iter().map(|&column| record[column]);
        writer.write_record(fields).expect("every record is as long as the header, and memory takes it");
    };
    write(&COLUMNS);
    for record in &records {
        write(&record.each_ref().map(String::as_str));
    }
    String::from_utf8(writer.into_inner().expect("memory takes it")).expect("only text was written")
}

fn records(model: &ModelLayers, layer: &LayerCosts) -> Vec<Record> {
    let kind_of = |kind: LayerKind| KINDS.iter().find(|(_, known)| *known == kind).map_or("", |(name, _)| name);
    let splits_of = |splits: u32| if splits == 0 { String::new() } else { splits.to_string() };
    let bytes = |by_batch: &BTreeMap<u32, Bytes>, batch| {
        by_batch.get(&batch).map(|bytes| bytes.get().to_string()).unwrap_or_default()
    };
    let record = |op: u32, batch: u32, seconds: f64| -> Record {
        [
            model.name.clone(),
            layer.name.clone(),
            String::new(),
            if layer.kind == LayerKind::default() { String::new() } else { kind_of(layer.kind).to_owned() },
            splits_of(layer.splits),
            layer.block.map(|block| block.to_string()).unwrap_or_default(),
            model.tokens.map(|tokens| tokens.to_string()).unwrap_or_default(),
            op.to_string(),
            batch.to_string(),
            (seconds * 1e3).to_string(),
            layer.weights.get().to_string(),
            bytes(&layer.activations, batch),
            bytes(&layer.outputs, batch),
            if layer.tied == Bytes::ZERO { String::new() } else { layer.tied.get().to_string() },
        ]
    };
    let mut records: Vec<Record> = Vec::new();
    for (&op, by_batch) in &layer.seconds {
        records.extend(by_batch.iter().map(|(&batch, &seconds)| record(op, batch, seconds)));
    }
    for operator in &layer.operators {
        for (&batch, &seconds) in &operator.seconds {
            let mut record = record(1, batch, seconds);
            record[2].clone_from(&operator.name);
            record[3] = if operator.kind == OperatorKind::Product {
                String::new()
            } else {
                kind_of(LayerKind::One(operator.kind)).to_owned()
            };
            record[4] = splits_of(operator.splits);
            record[10] = operator.weights.get().to_string();
            record[11] = String::new();
            record[12] = bytes(&operator.outputs, batch);
            record[13] = String::new();
            records.push(record);
        }
    }
    records
}
