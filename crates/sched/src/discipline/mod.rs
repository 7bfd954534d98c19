//! In what order waiting requests run. To add one: a file here, and a line in the list below.

use statmux_core::{Named, Request, Span, Time};

disciplines! {
    fcfs::Fcfs,
    edf::Edf,
    least_slack::LeastSlack,
}

/// Ranks waiting requests. Lower keys run first; ties go to the earlier arrival, then to the lower id.
pub trait Discipline {
    /// Its name in a scenario.
    const NAME: &'static str;

    /// What it does, in one line.
    const ABOUT: &'static str;

    /// Whether requests run in the order in which they arrive, so that their finish is known on arrival.
    const IN_ORDER: bool = false;

    /// Where the requests of one model, as ranked, stand in the order of their deadlines: of those that an idle group
    /// could have answered in time when they arrived, nobody behind another is due before it. A loop that only looks at
    /// the front of a queue for what has become hopeless rests on it; where nothing is promised, everything goes
    /// through the machine. Tests hold each discipline to its promise.
    const DEADLINE_ORDER: DeadlineOrder = DeadlineOrder::Nowhere;

    /// The key of `request`, whose batch-1 latency on the group it waits for is `latency`.
    fn key(request: &Request, latency: Span) -> Time;
}

/// Where the rank of requests of one model is that of their deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadlineOrder {
    /// Whatever their SLOs.
    Everywhere,
    /// Where all requests of the model have the same SLO.
    AmongEqualSlos,
    /// Nothing is promised.
    Nowhere,
}

impl DeadlineOrder {
    /// Whether the order is that of deadlines among requests of one model that `may_differ` in their SLOs.
    pub const fn holds(self, may_differ: bool) -> bool {
        match self {
            Self::Everywhere => true,
            Self::AmongEqualSlos => !may_differ,
            Self::Nowhere => false,
        }
    }
}

impl Default for AnyDiscipline {
    fn default() -> Self {
        Self::ALL[0]
    }
}

impl Named for AnyDiscipline {
    const KIND: &'static str = "discipline";
    const OPTIONS: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        self.name()
    }
}

/// From a list of files and the type in each: the modules, and [`AnyDiscipline`], which is one of the types.
macro_rules! disciplines {
    ($($file:ident::$name:ident),+ $(,)?) => {
        $(mod $file;)+
        $(pub use $file::$name;)+

        /// A discipline that a scenario can name. The default is the first of [`AnyDiscipline::ALL`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "each says itself what it does")]
        pub enum AnyDiscipline {
            $($name),+
        }

        impl AnyDiscipline {
            /// All of them, in the order of the documentation.
            pub const ALL: [Self; [$(stringify!($name)),+].len()] = [$(Self::$name),+];

            /// [`Discipline::NAME`] of this discipline.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $name::NAME),+ }
            }

            /// [`Discipline::ABOUT`] of this discipline.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$name => $name::ABOUT),+ }
            }

            /// [`Discipline::IN_ORDER`] of this discipline.
            pub const fn in_order(self) -> bool {
                match self { $(Self::$name => $name::IN_ORDER),+ }
            }

            /// [`Discipline::DEADLINE_ORDER`] of this discipline.
            pub const fn deadline_order(self) -> DeadlineOrder {
                match self { $(Self::$name => $name::DEADLINE_ORDER),+ }
            }

            /// [`Discipline::key`] of this discipline.
            #[inline]
            pub fn key(self, request: &Request, latency: Span) -> Time {
                match self { $(Self::$name => $name::key(request, latency)),+ }
            }
        }
    };
}
use disciplines;
