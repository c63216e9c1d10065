/// An error that a person can act on.
///
/// `Display` says what was tried and what is wrong; `code` never changes once released; `hint` says what to do.
pub trait Diagnose: std::error::Error {
    /// A stable identifier such as `store.damaged`: crate, dot, kind.
    fn code(&self) -> &'static str;

    /// What the person can do about it, as a full clause without a full stop.
    fn hint(&self) -> Option<String> {
        None
    }
}

impl<'a, E: Diagnose + Send + Sync + 'a> From<E> for Box<dyn Diagnose + Send + Sync + 'a> {
    fn from(error: E) -> Self {
        Box::new(error)
    }
}
