use std::collections::BTreeSet;

/// The columns of a sheet by their place, as its header names them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Header {
    names: Vec<String>,
    /// Whether the name comes from the header, by column.
    named: Vec<bool>,
    taken: BTreeSet<String>,
    notes: Vec<String>,
}

impl Header {
    /// Names columns by the texts of the header row; white space at the ends is dropped.
    ///
    /// A column without a text is called `column_N` with its number from 1, the second of two equal names gets `_2`.
    pub(crate) fn new(texts: Vec<String>) -> Self {
        let mut header = Self::default();
        for text in texts {
            header.push(text.trim());
        }
        header
    }

    fn push(&mut self, text: &str) {
        let place = self.names.len() + 1;
        let name = if text.is_empty() { format!("column_{place}") } else { text.to_owned() };
        let unique = self.unique(&name);
        if unique != name {
            self.notes.push(format!("two columns are called `{name}`; column {place} is read as `{unique}`"));
        }
        self.taken.insert(unique.clone());
        self.names.push(unique);
        self.named.push(!text.is_empty());
    }

    fn unique(&self, name: &str) -> String {
        let mut unique = name.to_owned();
        let mut count = 1;
        while self.taken.contains(&unique) {
            count += 1;
            unique = format!("{name}_{count}");
        }
        unique
    }

    /// Makes sure that there is a column at `place`, counted from 0.
    pub(crate) fn cover(&mut self, place: usize) {
        while self.names.len() <= place {
            self.push("");
        }
    }

    /// Makes sure that there is a column at `place`, and that its name `column_N` is one that was asked for.
    pub(crate) fn cover_named(&mut self, place: usize) {
        let known = self.names.len();
        self.cover(place);
        self.named.iter_mut().skip(known).for_each(|named| *named = true);
    }

    /// How many columns there are.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// The name of the column at `place`, and whether the header gave it.
    pub(crate) fn name(&self, place: usize) -> Option<(&str, bool)> {
        Some((self.names.get(place)?.as_str(), *self.named.get(place)?))
    }

    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }
}

#[cfg(test)]
mod tests {
    use super::Header;

    #[test]
    fn empty_and_equal_names() {
        let mut header = Header::new(["id", " id ", "", "id_2", "id"].map(str::to_owned).to_vec());
        header.cover(6);
        let names: Vec<_> = (0..7).map(|place| header.name(place).unwrap()).collect();
        assert_eq!(
            names,
            [
                ("id", true),
                ("id_2", true),
                ("column_3", false),
                ("id_2_2", true),
                ("id_3", true),
                ("column_6", false),
                ("column_7", false)
            ]
        );
        assert_eq!(header.notes().len(), 3);
    }
}
