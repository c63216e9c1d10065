use crate::PredictionsError;

/// What could not be done in one go, while the rest was.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    first: Option<PredictionsError>,
    more: u64,
}

impl Troubles {
    /// Notes what is wrong with one thing, so that the rest is done.
    ///
    /// Errors: what the rest would meet, too, is given back.
    pub(super) fn pass(&mut self, problem: PredictionsError) -> Result<(), PredictionsError> {
        if problem.concerns_all() {
            return Err(problem);
        }
        self.note(problem);
        Ok(())
    }

    pub(super) fn note(&mut self, problem: PredictionsError) {
        match self.first {
            Some(_) => self.more += 1,
            None => self.first = Some(problem),
        }
    }

    /// The first of them.
    pub(super) fn into_first(self) -> Option<PredictionsError> {
        self.first
    }

    /// What is told of them; none where there are none.
    pub(super) fn told(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        Some(if self.more == 0 { first.to_string() } else { format!("{first}; and {} more", self.more) })
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_catalog::CatalogError;
    use ropewalk_store::StoreError;
    use ropewalk_types::Digest;

    use super::*;

    #[test]
    fn what_one_thing_lacks_is_passed_over_and_what_all_need_is_not() {
        let mut troubles = Troubles::default();
        assert_eq!(troubles.told(), None);
        let absent = || StoreError::NotFound { digest: Digest::of(b"gone") };
        let said = absent().to_string();
        troubles.pass(absent().into()).unwrap();
        assert_eq!(troubles.told(), Some(said.clone()));
        troubles.pass(PredictionsError::OtherVersion("journal".into())).unwrap();
        assert_eq!(troubles.told(), Some(format!("{said}; and 1 more")));
        troubles.pass(CatalogError::RowAbsent.into()).unwrap_err();
        assert!(matches!(troubles.into_first(), Some(PredictionsError::Store(StoreError::NotFound { .. }))));
    }
}
