//! Published placements on the published requests: ours and the published attainment.

use statmux_figures::case::Case;
use statmux_figures::cell;
use statmux_figures::published::{Row, rows};
use statmux_figures::setting::{PUBLISHED_RULES, Setting, Slo, placement};
use statmux_figures::support::V100_LAYERS;
use statmux_figures::traces::{Planned, Source};
use statmux_figures::{Lab, Options};
use statmux_scenario::Workloads;

fn lab() -> (tempfile::TempDir, Lab) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = Options { out: folder.path().to_owned(), quick: true, ..Options::default() };
    let lab = Lab::open(&options).expect("the folder is ours");
    (folder, lab)
}

fn attainment(lab: &Lab, case: &Case) -> f64 {
    let path = lab.options.out.join("scenarios/test/case.toml");
    std::fs::create_dir_all(path.parent().expect("it has one")).expect("the folder is ours");
    cell::run(case, &path, &Workloads::default()).unwrap_or_else(|error| panic!("{}: {error}", case.name)).attainment
}

fn evaluated(lab: &Lab, row: &Row) -> f64 {
    let file = lab.requests(&row.arrivals().expect("a synthetic row")).expect("the folder is ours");
    let setting = Setting {
        slo: Slo::Scale(row.slo_scale),
        workload: format!("kind = \"requests\"\nfile = \"../../data/{file}\"\nduration = \"200 s\"\n"),
        simulation: format!("{PUBLISHED_RULES}warmup = \"10 s\"\n"),
        profile: V100_LAYERS.to_owned(),
        ..Setting::new(row.num_devices, row.models())
    };
    let groups = row.groups().expect("it is read").expect("it was recorded");
    attainment(lab, &Case::placed("row", setting.to_toml(), placement(&groups)))
}

#[test]
fn published_placements_attain_what_was_published() {
    let (_folder, lab) = lab();
    let rows = rows().expect("the embedded table is whole");
    let synthetic: Vec<&Row> = rows.iter().filter(|row| row.workload == "gamma" && row.mode == "simulate").collect();
    let (mut replicated, mut all) = (Vec::new(), Vec::new());
    for row in synthetic.iter().step_by(13) {
        let off = (evaluated(&lab, row) - row.attainment).abs();
        all.push(off);
        if row.policy == "sr-greedy" {
            // Nothing of the profile is derived here: all that is left is the rounding of the published numbers.
            assert!(off <= 0.0016, "row {}: off by {off}", row.row_id);
            replicated.push(off);
        }
    }
    assert!(replicated.len() > 5);
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    assert!(mean < 0.004, "{mean} over {} rows", all.len());
}

#[test]
fn alpaserve_is_ahead_of_clockwork_and_replication_and_alone_below_the_latency() {
    let (_folder, lab) = lab();
    for seed in 0..3 {
        let run = |policy: &str, slo: f64, devices: u32| {
            let (workload, train) = lab.traces.workload(Source::Maf1, 3, Planned::OnItself, 0.3, 4.0);
            let planner = format!("policy = \"{policy}\"\n");
            let setting = Setting {
                seed,
                slo: Slo::Scale(slo),
                workload,
                train,
                planner,
                ..Setting::new(devices, vec!["bert-1.3b"; 32])
            };
            attainment(&lab, &Case::planned(policy, setting.to_toml()))
        };
        let [alpaserve, clockwork, replication] =
            ["alpaserve", "clockwork++", "selective-replication"].map(|policy| run(policy, 5.0, 8));
        assert!(alpaserve > clockwork && clockwork > replication, "seed {seed}: {alpaserve} {clockwork} {replication}");
        assert!(run("alpaserve", 0.75, 16) > 0.2);
        assert_eq!(run("selective-replication", 0.75, 16), 0.0);
        assert!(run("alpaserve", 5.0, 8) < run("alpaserve", 5.0, 16), "more devices help");
    }
}
