//! The `[planner]` table of a scenario: which policy, and its parameters.

use crate::parameters::Parameters;
use crate::policy::{self, Policy, PolicyInfo};
use crate::scheduling::SchedulingChoice;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use statmux_core::files::{FileError, Quantity};
use statmux_core::{Share, Span};
use std::fmt;
use std::path::Path;

/// `[planner]`, as written.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlannerTable {
    policy: Option<String>,
    group_size: Option<u32>,
    interval: Option<Quantity<Span>>,
    max_pp: Option<u32>,
    max_op: Option<u32>,
    beam: Option<u32>,
    budget: Option<Budget>,
    time_limit: Option<Quantity<Span>>,
    moves: Option<u64>,
    smaller: Option<u32>,
    scheduling: Option<String>,
    op: Option<u32>,
    pp: Option<u32>,
    floor: Option<Quantity<Share>>,
}

/// How much a search may cost: a whole number counts simulations, a text is a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Budget {
    Simulations(u64),
    Time(Span),
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Budget;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as \"10 s\", or a number of simulations")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Budget, E> {
                text.parse().map(Budget::Time).map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Budget, E> {
                u64::try_from(number)
                    .map(Budget::Simulations)
                    .map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Budget, E> {
                Ok(Budget::Simulations(number))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Budget {
    fn is_zero(self) -> bool {
        self == Self::Simulations(0) || self == Self::Time(Span::ZERO)
    }
}

impl PlannerTable {
    /// The name of the policy asked for, or of the default.
    pub fn policy(&self) -> &str {
        self.policy.as_deref().unwrap_or(policy::DEFAULT)
    }

    /// The same table with another time for the search.
    #[must_use]
    pub fn with_search_time(mut self, time: Span) -> Self {
        self.budget = Some(Budget::Time(time));
        self
    }

    /// The same table with another floor, if one is given.
    #[must_use]
    pub fn with_floor(mut self, floor: Option<Share>) -> Self {
        self.floor = floor.map(Quantity).or(self.floor);
        self
    }

    /// The attainment that every model is to reach. Policies that do not take it are judged by it all the same.
    pub fn floor(&self) -> Option<Share> {
        self.floor.map(|quantity| quantity.0)
    }

    /// The same table with a `share` of the search: of its time, or of the neighbours to try where their number is given.
    #[must_use]
    pub fn with_share_of_search(mut self, share: f64) -> Self {
        match (self.moves, self.budget) {
            (Some(moves), _) => self.moves = Some(((moves as f64 * share).ceil() as u64).max(1)),
            (None, Some(Budget::Simulations(_))) => {}
            (None, _) => {
                let time = self.search_seconds().unwrap_or_default();
                self.budget = Span::from_seconds(time * share).map(Budget::Time);
            }
        }
        self
    }

    /// How long a search by the clock takes, in seconds; absent where the number of neighbours ends it.
    pub fn search_seconds(&self) -> Option<f64> {
        match (self.moves, self.budget) {
            (Some(_), _) => None,
            (None, Some(Budget::Time(time))) => Some(time.seconds()),
            (None, _) => Some(policy::statmux::Statmux::default().time.as_secs_f64()),
        }
    }

    /// The policy asked for; `path` is named in errors.
    pub fn build(&self, path: &Path) -> Result<Box<dyn Policy>, FileError> {
        self.build_each(path, &[self.policy()]).map(|mut built| built.remove(0))
    }

    /// The policies of these names instead, to be compared. The table's own policy need not be among them; each
    /// takes the keys that it uses.
    pub fn build_each(&self, path: &Path, names: &[&str]) -> Result<Vec<Box<dyn Policy>>, FileError> {
        let infos = names.iter().map(|name| named(path, name)).collect::<Result<Vec<_>, _>>()?;
        self.policy.as_deref().map(|name| named(path, name)).transpose()?;
        let parameters = self.parameters(path)?;
        Ok(infos.into_iter().map(|info| (info.build)(&parameters)).collect())
    }

    /// The keys that were given but that neither the table's own policy nor any of `names` uses, each with the
    /// policies that do: a scenario may keep them for the day its policy changes, but its writer should know.
    pub fn unused(&self, names: &[&str]) -> Vec<(&'static str, Vec<&'static str>)> {
        let infos: Vec<_> = names.iter().copied().chain([self.policy()]).filter_map(policy::find).collect();
        let used = |key| infos.iter().any(|info| takes(info, key));
        self.given().into_iter().filter(|&key| !used(key)).map(|key| (key, users(key))).collect()
    }

    /// The values of the keys, each checked by itself.
    fn parameters(&self, path: &Path) -> Result<Parameters, FileError> {
        let zero = [
            ("group_size", self.group_size == Some(0)),
            ("interval", self.interval.is_some_and(|interval| interval.0 == Span::ZERO)),
            ("max_pp", self.max_pp == Some(0)),
            ("max_op", self.max_op == Some(0)),
            ("beam", self.beam == Some(0)),
            ("budget", self.budget.is_some_and(Budget::is_zero)),
            ("time_limit", self.time_limit.is_some_and(|limit| limit.0 == Span::ZERO)),
            ("op", self.op == Some(0)),
            ("pp", self.pp == Some(0)),
        ];
        if let Some((key, _)) = zero.into_iter().find(|&(_, zero)| zero) {
            return Err(FileError::at_field(path, format!("planner.{key}"), "is 0: it must be positive"));
        }
        let sizes = [
            ("group_size", self.group_size),
            ("max_pp", self.max_pp),
            ("max_op", self.max_op),
            ("op", self.op),
            ("pp", self.pp),
        ];
        const LARGEST: u32 = 1 << 12;
        if let Some((key, Some(size))) = sizes.into_iter().find(|(_, size)| size.is_some_and(|size| size > LARGEST)) {
            let what = format!("is {size}: more than {LARGEST} is not supported");
            return Err(FileError::at_field(path, format!("planner.{key}"), what));
        }
        Ok(Parameters {
            group_size: self.group_size,
            interval: self.interval.map(|quantity| quantity.0),
            max_pp: self.max_pp,
            max_op: self.max_op,
            beam: self.beam,
            budget: self.budget.and_then(|budget| match budget {
                Budget::Simulations(number) => Some(number),
                Budget::Time(_) => None,
            }),
            search_time: self.budget.and_then(|budget| match budget {
                Budget::Simulations(_) => None,
                Budget::Time(time) => Some(time),
            }),
            time_limit: self.time_limit.map(|quantity| quantity.0),
            moves: self.moves,
            smaller: self.smaller,
            scheduling: self.scheduling(path)?,
            op: self.op,
            pp: self.pp,
            floor: self.floor(),
        })
    }

    fn scheduling(&self, path: &Path) -> Result<Option<SchedulingChoice>, FileError> {
        let named = |name: &String| FileError::option(path, "planner.scheduling", name);
        self.scheduling.as_ref().map(named).transpose()
    }

    /// The keys that were given, but for the policy's name.
    fn given(&self) -> Vec<&'static str> {
        let keys = [
            ("group_size", self.group_size.is_some()),
            ("interval", self.interval.is_some()),
            ("max_pp", self.max_pp.is_some()),
            ("max_op", self.max_op.is_some()),
            ("beam", self.beam.is_some()),
            ("budget", self.budget.is_some()),
            ("time_limit", self.time_limit.is_some()),
            ("moves", self.moves.is_some()),
            ("smaller", self.smaller.is_some()),
            ("scheduling", self.scheduling.is_some()),
            ("op", self.op.is_some()),
            ("pp", self.pp.is_some()),
        ];
        keys.into_iter().filter(|&(_, given)| given).map(|(key, _)| key).collect()
    }
}

fn named(path: &Path, name: &str) -> Result<&'static PolicyInfo, FileError> {
    let known = policy::ALL.iter().map(|info| info.name);
    policy::find(name).ok_or_else(|| FileError::unknown_name(path, "planner.policy", "policy", name, known))
}

/// The policies that use `key`.
fn users(key: &str) -> Vec<&'static str> {
    policy::ALL.iter().filter(|info| takes(info, key)).map(|info| info.name).collect()
}

fn takes(info: &PolicyInfo, key: &str) -> bool {
    info.parameters.iter().any(|parameter| parameter.key == key)
}
