use std::collections::BTreeMap;
use std::fmt;
use std::iter::Map;
use std::ops::Index;
use std::slice::Iter;

use serde::ser::{Serialize, Serializer};

/// Keys and their values, by key: cheap to build for thousands of runs, and read as a map is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&String> {
        let place = self.0.binary_search_by(|(known, _)| known.as_str().cmp(key)).ok()?;
        self.0.get(place).map(|(_, value)| value)
    }

    /// Whether there is a value for a key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// All pairs, by key.
    pub fn iter(&self) -> PairsIter<'_> {
        let halves: fn(&(String, String)) -> (&String, &String) = halves;
        self.0.iter().map(halves)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a pair at the end; [`Pairs::sort`] must follow before anything is looked up.
    pub(crate) fn push(&mut self, key: String, value: String) {
        self.0.push((key, value));
    }

    pub(crate) fn sort(&mut self) {
        self.0.sort_unstable();
    }
}

/// The pairs of [`Pairs`], by key.
pub type PairsIter<'p> = Map<Iter<'p, (String, String)>, fn(&(String, String)) -> (&String, &String)>;

fn halves((key, value): &(String, String)) -> (&String, &String) {
    (key, value)
}

impl<'p> IntoIterator for &'p Pairs {
    type Item = (&'p String, &'p String);
    type IntoIter = PairsIter<'p>;

    fn into_iter(self) -> PairsIter<'p> {
        self.iter()
    }
}

/// Of two pairs with one key the last counts.
impl FromIterator<(String, String)> for Pairs {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect::<BTreeMap<String, String>>().into_iter().collect())
    }
}

impl Index<&str> for Pairs {
    type Output = String;

    /// The value of a key that must be there.
    fn index(&self, key: &str) -> &String {
        match self.get(key) {
            Some(value) => value,
            None => panic!("no value for key `{key}`"),
        }
    }
}

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_found_by_key_and_the_last_of_two_counts() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let pairs: Pairs = [pair("b", "1"), pair("a", "2"), pair("b", "3")].into_iter().collect();
        assert_eq!((pairs.len(), &pairs["b"], pairs.get("c")), (2, &"3".to_owned(), None));
        assert_eq!(pairs.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let mut pushed = Pairs::default();
        pushed.push("b".to_owned(), "3".to_owned());
        pushed.push("a".to_owned(), "2".to_owned());
        pushed.sort();
        assert_eq!(pushed, pairs);
    }
}
