//! The scheduling options that a plan may choose along with its placement.

use statmux_core::Named;
use statmux_core::files::{FileError, SchedulingEntry};
use statmux_sched::{AnyDiscipline, Dispatch};
use statmux_sim::SimulationSettings;
use std::path::Path;

/// The part of the scheduler's settings that a plan may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduling {
    /// Which group takes an arrival.
    pub dispatch: Dispatch,
    /// In what order waiting requests run.
    pub discipline: AnyDiscipline,
    /// The most requests that run together.
    pub max_batch: u32,
}

/// Whether a search may choose them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SchedulingChoice {
    /// The scenario's options stand.
    Fixed,
    /// Dispatch, discipline and largest batch are searched together with the placement.
    #[default]
    Search,
}

impl SchedulingChoice {
    /// Both, in the order of the documentation.
    pub const ALL: [Self; 2] = [Self::Fixed, Self::Search];

    /// Its name in a scenario.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Search => "search",
        }
    }
}

impl Named for SchedulingChoice {
    const KIND: &'static str = "choice";
    const OPTIONS: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.name()
    }
}

impl Scheduling {
    /// The options that `settings` have.
    pub fn of(settings: &SimulationSettings) -> Self {
        let scheduler = &settings.scheduler;
        Self { dispatch: scheduler.dispatch, discipline: scheduler.discipline, max_batch: scheduler.max_batch.max(1) }
    }

    /// The options that a placement file names; `path` is named in errors.
    pub fn read(entry: &SchedulingEntry, path: &Path) -> Result<Self, FileError> {
        let dispatch = FileError::option(path, "scheduling.dispatch", &entry.dispatch)?;
        let discipline = FileError::option(path, "scheduling.discipline", &entry.discipline)?;
        if entry.max_batch == 0 {
            return Err(FileError::at_field(path, "scheduling.max_batch", "is 0: 1 turns batching off"));
        }
        Ok(Self { dispatch, discipline, max_batch: entry.max_batch })
    }

    /// The options as a placement file names them.
    pub fn entry(&self) -> SchedulingEntry {
        SchedulingEntry {
            dispatch: self.dispatch.name().to_owned(),
            discipline: self.discipline.name().to_owned(),
            max_batch: self.max_batch,
        }
    }

    /// `settings` with these options instead of their own.
    pub fn apply(&self, settings: &SimulationSettings) -> SimulationSettings {
        let mut settings = settings.clone();
        settings.scheduler.dispatch = self.dispatch;
        settings.scheduler.discipline = self.discipline;
        settings.scheduler.max_batch = self.max_batch;
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_found_by_its_name_and_by_no_other() {
        fn check<T: Named + PartialEq + std::fmt::Debug>() {
            for &option in T::OPTIONS {
                assert_eq!(T::find(option.name()), Some(option));
            }
            assert_eq!(T::find("none of them"), None);
        }
        check::<Dispatch>();
        check::<statmux_sched::Admission>();
        check::<AnyDiscipline>();
        check::<SchedulingChoice>();
    }

    #[test]
    fn options_survive_a_file_and_wrong_names_do_not() {
        let path = Path::new("p.json");
        let scheduling =
            Scheduling { dispatch: Dispatch::LateBinding, discipline: AnyDiscipline::LeastSlack, max_batch: 4 };
        let entry = scheduling.entry();
        assert_eq!(Scheduling::read(&entry, path).expect("its own names are known"), scheduling);
        let wrong = SchedulingEntry { discipline: "ebf".to_owned(), ..entry.clone() };
        let message = Scheduling::read(&wrong, path).expect_err("no such discipline").to_string();
        assert!(message.contains("scheduling.discipline") && message.contains("edf"), "{message}");
        let none = SchedulingEntry { max_batch: 0, ..entry };
        assert!(Scheduling::read(&none, path).is_err());
    }
}
