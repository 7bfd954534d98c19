//! Which keys belong to which kind of workload.

use super::{Site, WorkloadKind, WorkloadTable};
use statmux_core::files::FileError;

/// Lists every key but `kind` and `train` once: its name, whether it is given, and how it is inherited.
macro_rules! keys {
    ($($key:ident),* $(,)?) => {
        impl WorkloadTable {
            fn given(&self) -> Vec<&'static str> {
                let mut given = Vec::new();
                $(if self.$key.is_some() { given.push(stringify!($key)); })*
                given
            }

            /// This table with the keys it lacks taken from `base`, as far as they belong to its kind.
            pub(super) fn inherit(&self, base: &Self) -> Self {
                let kind = self.kind.or(base.kind);
                let mut table = Self { kind, train: None, ..self.clone() };
                let belongs = |key: &str| kind.is_some_and(|kind| keys_of(kind).contains(&key));
                $(if table.$key.is_none() && belongs(stringify!($key)) { table.$key.clone_from(&base.$key); })*
                table
            }
        }
    };
}

keys!(
    seed,
    max_requests,
    duration,
    file,
    columns,
    rate,
    cv,
    shape,
    split,
    state_rates,
    state_durations,
    format,
    files,
    window,
    mapping,
    resample,
    time_scale,
    thin,
    min_function_requests,
    top_functions,
);

/// The keys that a kind takes.
fn keys_of(kind: WorkloadKind) -> &'static [&'static str] {
    match kind {
        WorkloadKind::Requests => &["file", "columns", "window", "duration", "seed", "max_requests"],
        WorkloadKind::Gamma => &["rate", "cv", "duration", "split", "seed", "max_requests"],
        WorkloadKind::Poisson | WorkloadKind::Deterministic => &["rate", "duration", "split", "seed", "max_requests"],
        WorkloadKind::Pareto | WorkloadKind::Weibull => {
            &["rate", "cv", "shape", "duration", "split", "seed", "max_requests"]
        }
        WorkloadKind::Mmpp => &["rate", "state_rates", "state_durations", "duration", "split", "seed", "max_requests"],
        WorkloadKind::Trace => &[
            "format",
            "files",
            "columns",
            "window",
            "mapping",
            "resample",
            "time_scale",
            "thin",
            "min_function_requests",
            "top_functions",
            "seed",
            "max_requests",
        ],
    }
}

impl WorkloadTable {
    /// Refuses keys that mean nothing for this kind.
    pub(super) fn check_keys(&self, site: &Site<'_>, kind: WorkloadKind) -> Result<(), FileError> {
        let known = keys_of(kind);
        match self.given().into_iter().find(|key| !known.contains(key)) {
            None => Ok(()),
            Some(key) => Err(site
                .error(key, format!("does not belong to kind = \"{}\"", kind.name()))
                .with_help(format!("it takes {}", known.join(", ")))),
        }
    }
}
