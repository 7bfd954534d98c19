//! Options that are chosen by name.

/// One of a list of options, each with the name that files call it by.
pub trait Named: Copy + 'static {
    /// What such an option is called in an error.
    const KIND: &'static str;

    /// All of them, in the order of the documentation.
    const OPTIONS: &'static [Self];

    /// The name of this one; no other has it.
    fn name(self) -> &'static str;

    /// The option of this name.
    fn find(name: &str) -> Option<Self> {
        Self::OPTIONS.iter().copied().find(|option| option.name() == name)
    }
}
