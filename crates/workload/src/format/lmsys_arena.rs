//! LMSYS Chatbot Arena, re-timed: `req_id,arrival_s,model_index,prompt_len,output_len`.
//!
//! A function is a model, named by its index. Sheng et al., Fairness in Serving Large Language Models, OSDI 2024.

use crate::clock::{Clock, Unit};
use crate::names::Names;
use crate::recorded::{Instants, Trace};
use crate::rows::Rows;
use statmux_core::Lengths;
use statmux_core::files::FileError;
use std::path::PathBuf;

pub(super) fn read(files: &[PathBuf]) -> Result<Trace, FileError> {
    let mut names = Names::default();
    let mut instants = Instants::default();
    let mut clock = Clock::new("arrival_s", Unit::Seconds);
    for path in files {
        let mut rows = Rows::open(path)?;
        let [at, model] = [rows.column("arrival_s")?, rows.column("model_index")?];
        let [prompt_len, output_len] = [rows.column("prompt_len")?, rows.column("output_len")?];
        while let Some(row) = rows.next()? {
            let arrived = row.time(at, &mut clock)?;
            let function = names.id(row.bytes(model)).ok_or_else(|| row.error("model_index is not UTF-8 text"))?;
            let prompt = row.count(prompt_len, "prompt_len")?;
            let output = row.count(output_len, "output_len")?;
            instants.push(arrived, function);
            instants.lengths.push(Lengths { prompt, output });
        }
    }
    Ok(Trace::of_instants(names.into_list(), instants, &clock))
}
