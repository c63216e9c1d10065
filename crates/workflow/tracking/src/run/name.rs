use ropewalk_types::{Digest, RunId};

/// How rope, wood and weather can be.
const ADJECTIVES: [&str; 64] = [
    "amber", "ample", "ashen", "bold", "braided", "brave", "bright", "brisk", "calm", "clever", "coiled", "copper",
    "crisp", "curious", "deep", "eager", "early", "even", "fair", "fine", "firm", "fleet", "gentle", "golden", "grand",
    "hardy", "hempen", "humble", "jolly", "keen", "kind", "lively", "long", "loyal", "lucid", "mellow", "merry",
    "mild", "nimble", "noble", "oaken", "patient", "placid", "plain", "proud", "quick", "quiet", "rapid", "rugged",
    "salty", "silver", "slender", "smooth", "sober", "spare", "spry", "steady", "stout", "sturdy", "supple", "tarred",
    "taut", "tidy", "windy",
];

/// What is made of rope, or found where rope is used.
const NOUNS: [&str; 64] = [
    "anchor", "barge", "beacon", "bight", "block", "bollard", "boom", "bowline", "breeze", "buoy", "cable", "capstan",
    "cleat", "clipper", "cog", "cord", "cove", "cutter", "davit", "deck", "dock", "ferry", "gaff", "galley", "grommet",
    "gull", "halyard", "harbor", "hawser", "heron", "hitch", "jetty", "jib", "keel", "ketch", "knot", "lanyard",
    "lighter", "mast", "oar", "osprey", "painter", "pelican", "pier", "pulley", "quay", "ratline", "reef", "rigger",
    "rudder", "sail", "schooner", "sheave", "shroud", "skiff", "sloop", "spar", "splice", "strand", "tiller", "toggle",
    "twine", "wharf", "yarn",
];

/// A name that a person can say, made from the run's id: `tarred-hawser-417`.
pub(crate) fn from_id(id: RunId) -> String {
    let digest = Digest::of(id.to_string().as_bytes());
    let [first, second, high, low, ..] = *digest.as_bytes();
    let adjective = ADJECTIVES.get(usize::from(first) % ADJECTIVES.len()).copied().unwrap_or_default();
    let noun = NOUNS.get(usize::from(second) % NOUNS.len()).copied().unwrap_or_default();
    format!("{adjective}-{noun}-{}", u16::from_be_bytes([high, low]) % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_ids_and_fit_in_twenty_characters() {
        let id: RunId = "0123456789abcdef0123456789abcdef".parse().expect("id");
        let name = from_id(id);
        assert_eq!(name, from_id(id));
        assert_eq!(name.split('-').count(), 3);
        let longest = |words: &[&str]| words.iter().map(|word| word.len()).max().unwrap_or(0);
        assert!(longest(&ADJECTIVES) + longest(&NOUNS) + 5 <= 20);
    }

    #[test]
    fn no_word_stands_twice() {
        for words in [&ADJECTIVES, &NOUNS] {
            assert!(words.is_sorted_by(|a, b| a < b), "{words:?}");
        }
    }
}
