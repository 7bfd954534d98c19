//! Identifiers: small integers that index vectors, each its own type.

use std::fmt;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($repr:ty), $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);

        impl $name {
            /// The position this id stands for in a vector.
            pub const fn index(self) -> usize {
                self.0 as usize
            }

            /// The id of the thing at `index`.
            ///
            /// # Panics
            /// If there are more things than ids.
            pub fn from_index(index: usize) -> Self {
                Self(<$repr>::try_from(index).expect("fewer things than ids"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    )*};
}

ids! {
    /// A request: its position in the workload, or the order in which the server met it.
    RequestId(u64), "r";
    /// A model instance: its position in the scenario's list of models.
    ModelId(u32), "m";
    /// A group of devices: its position in the placement.
    GroupId(u32), "g";
    /// A device: its position in the cluster.
    DeviceId(u32), "d";
    /// A batch that was launched: counted from zero by the scheduler.
    BatchId(u64), "b";
}
