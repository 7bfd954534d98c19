//! Writes figures: data, pictures, scenarios, and the page that lists them.

use crate::artwork::Artwork;
use crate::error::FiguresError;
use crate::figure::FigureInfo;
use crate::lab::Lab;
use crate::sheet;
use statmux_core::files::write_atomically;
use statmux_report::html::{Page, Section};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What was written.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// The page that lists all figures.
    pub index: PathBuf,
    /// Each figure's name and message, in the order of the list.
    pub figures: Vec<(String, String)>,
    /// Figures that were asked for and not made, because the work was asked to stop.
    pub missing: Vec<&'static str>,
}

/// Writes all of `figures`, and says which are `missing`.
pub(crate) fn write(
    lab: &Lab,
    figures: &[(&FigureInfo, Artwork)],
    missing: Vec<&'static str>,
) -> Result<Written, FiguresError> {
    let out = &lab.options.out;
    let quick = if lab.quick() { "Quick run: shorter workloads, fewer points, fewer seeds. " } else { "" };
    let interrupted = match missing.as_slice() {
        [] => String::new(),
        missing => format!("Interrupted: not made yet are {}. ", missing.join(", ")),
    };
    let mut page = Page::new("The figures of the AlpaServe experiments, made anew").lead(format!(
        "{interrupted}{quick}Everything here was planned and simulated by statmux; published numbers stand beside ours where there \
         are any. Each figure comes as CSV, SVG and PNG with the scenario files that make it again."
    ));
    let mut written = Written { index: out.join("index.html"), figures: Vec::new(), missing };
    if figures.is_empty() {
        return Ok(written);
    }
    for (info, artwork) in figures {
        let name = info.name;
        write_atomically(&out.join(format!("{name}.csv")), artwork.table.to_csv().as_bytes())?;
        write_atomically(&out.join(format!("{name}.txt")), artwork.text().as_bytes())?;
        if !artwork.panels.is_empty() {
            let svg = sheet::svg(&artwork.panels, artwork.columns);
            write_atomically(&out.join(format!("{name}.svg")), svg.as_bytes())?;
            write_atomically(&out.join(format!("{name}.png")), &sheet::png(&artwork.panels, artwork.columns)?)?;
        }
        let scenarios = write_scenarios(lab, name)?;
        page = page.section(section(name, artwork, scenarios));
        written.figures.push((name.to_owned(), artwork.message.clone()));
    }
    let footer = format!("statmux {} figures{}", env!("CARGO_PKG_VERSION"), if lab.quick() { " --quick" } else { "" });
    write_atomically(&written.index, page.footer(footer).to_html().as_bytes())?;
    Ok(written)
}

fn section(name: &str, artwork: &Artwork, scenarios: usize) -> Section {
    let mut section = Section::new(format!("{name}: {}", artwork.title)).text(&artwork.message);
    for panel in &artwork.panels {
        section = section.chart(panel, "");
    }
    if artwork.panels.is_empty() {
        section = section.table(&artwork.table);
    }
    if let Some(summary) = &artwork.summary {
        section = section.table(summary);
    }
    let picture = if artwork.panels.is_empty() { String::new() } else { format!(", {name}.svg, {name}.png") };
    let files = match scenarios {
        0 => format!("Files: {name}.csv{picture}."),
        count => format!("Files: {name}.csv{picture}; {count} scenarios in scenarios/{name}/."),
    };
    section = section.text(&artwork.note).text(&files);
    if artwork.panels.is_empty() { section } else { section.details("the numbers", &artwork.table.to_text()) }
}

/// Writes the scenarios and placements of a figure, and says how many there are.
fn write_scenarios(lab: &Lab, figure: &str) -> Result<usize, FiguresError> {
    let cases: BTreeMap<String, _> = lab.cases(figure).into_iter().map(|case| (case.name.clone(), case)).collect();
    for case in cases.values() {
        let path = lab.scenario_path(figure, case);
        let command = match &case.placement {
            Some(placement) => {
                write_atomically(&path.with_extension("placement.json"), placement.as_bytes())?;
                format!("statmux simulate {0}.toml --placement {0}.placement.json", case.name)
            }
            None => {
                format!("statmux plan {0}.toml -o p.json && statmux simulate {0}.toml --placement p.json", case.name)
            }
        };
        write_atomically(&path, format!("# {command}\n{}", case.scenario).as_bytes())?;
    }
    Ok(cases.len())
}
