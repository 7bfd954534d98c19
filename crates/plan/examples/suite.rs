//! Policies side by side on scenario files: what they reach on the train and the test window, and the bound.
//!
//! `cargo run --release -p statmux-plan --example suite -- [POLICY:KEY=VALUE,…] SCENARIO…`

use serde::Deserialize;
use statmux_core::files::{self, ClusterTable, ModelTable, ProfilesTable};
use statmux_core::{Profile, Seed, Workload};
use statmux_plan::bound::{Assumptions, upper_bound};
use statmux_plan::policy::statmux::Scheduling;
use statmux_plan::{Evaluator, Plan, PlannerTable, Problem, Silent};
use statmux_sim::{SimulationTable, simulate};
use statmux_workload::WorkloadTable;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

#[derive(Deserialize)]
struct ScenarioFile {
    seed: u64,
    cluster: ClusterTable,
    profiles: ProfilesTable,
    models: Vec<ModelTable>,
    workload: WorkloadTable,
    simulation: SimulationTable,
}

fn main() -> Result<(), Box<dyn Error>> {
    let (files, policies): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|arg| arg.ends_with(".toml"));
    println!("{:<28} {:<34} {:>7} {:>7} {:>7} {:>7}", "scenario", "policy", "train", "test", "bound", "s");
    for file in &files {
        for policy in &policies {
            case(Path::new(file), policy)?;
        }
    }
    Ok(())
}

#[allow(clippy::disallowed_methods)] // How long a search took is printed, and decides nothing.
fn case(path: &Path, policy: &str) -> Result<(), Box<dyn Error>> {
    let file: ScenarioFile = {
        let text = files::read_text(path)?;
        let mut table: toml::Table = toml::from_str(&text)?;
        table.remove("version");
        table.remove("planner");
        ScenarioFile::deserialize(table)?
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let profiles = file.profiles.files.iter().map(|name| files::read_profile(&folder.join(name)));
    let profiles: Vec<Profile> = profiles.collect::<Result<_, _>>()?;
    let cluster = file.cluster.build(path)?;
    let models = files::instances(path, &file.models, &profiles)?;
    let names: Vec<String> = models.iter().map(|model| model.name.clone()).collect();
    let settings = file.simulation.build(path)?;
    let seed = Seed(std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(file.seed));
    let test = file.workload.build(path, &names, seed)?;
    let train = file.workload.build_train(path, &names, seed)?.expect("suite scenarios have a train window");
    let problem = Problem {
        cluster: &cluster,
        models: &models,
        settings: &settings,
        train: &train,
        seed: seed.stream("planner"),
    };

    let (name, keys) = policy.split_once(':').unwrap_or((policy, ""));
    let planner: PlannerTable = toml::from_str(&format!("policy = \"{name}\"\n{}", keys.replace(',', "\n")))?;
    let began = Instant::now();
    let plan: Plan = planner.build(path)?.place(&problem, &Evaluator::new(&problem), &Silent)?;
    let seconds = began.elapsed().as_secs_f64();
    let scheduling = plan.scheduling.unwrap_or(Scheduling::of(&settings));
    let settings = scheduling.apply(&settings);
    for window in &plan.windows.0 {
        window.placement.check(&cluster, &models, settings.scheduler.max_batch)?;
    }
    let attainment = |workload: &Workload| -> Result<f64, Box<dyn Error>> {
        let run = simulate(&cluster, &models, &plan.windows, workload, &settings)?;
        Ok(run.outcomes.iter().filter(|outcome| outcome.in_slo()).count() as f64 / workload.len().max(1) as f64)
    };
    let assumptions = Assumptions {
        stage_penalty: settings.stage_penalty,
        fixed_overhead: settings.scheduler.fixed_overhead.seconds(),
        max_batch: settings.scheduler.max_batch,
    };
    let bound = upper_bound(&cluster, &models, &test, &assumptions).attainment;
    let scenario = path.file_stem().unwrap_or_default().to_string_lossy();
    println!(
        "{scenario:<28} {policy:<34} {:>7.4} {:>7.4} {bound:>7.4} {seconds:>7.2}  {} requests, {} evaluations",
        attainment(&train)?,
        attainment(&test)?,
        test.len(),
        plan.evaluations
    );
    Ok(())
}
