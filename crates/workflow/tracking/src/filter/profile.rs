use super::{Entity, Operator};

/// What may stand in the filters of one kind of thing.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// What is searched, for messages: `run`.
    pub name: &'static str,
    /// What its keys may belong to.
    pub entities: &'static [EntityRule],
}

/// The keys of one entity.
#[derive(Clone, Copy, Debug)]
pub struct EntityRule {
    /// The entity.
    pub entity: Entity,
    /// All its spellings; the first is shown in messages.
    pub names: &'static [&'static str],
    /// Its keys.
    pub keys: Keys,
}

/// Which keys an entity has.
#[derive(Clone, Copy, Debug)]
pub enum Keys {
    /// Any: of tags, params and metrics.
    Any {
        /// How they are compared.
        rule: Rule,
        /// Whether they may stand in an order.
        order: bool,
    },
    /// Only these: of attributes.
    Known(&'static [Key]),
    /// These, and any below a prefix: of spans.
    KnownOrUnder {
        /// The keys that are known.
        known: &'static [Key],
        /// What begins all others, with its dot; the key keeps it.
        prefix: &'static str,
        /// How the others are compared.
        rule: Rule,
    },
}

/// One key that is known.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Other spellings, which are translated.
    pub aliases: &'static [&'static str],
    /// How it is compared.
    pub rule: Rule,
    /// Whether it may stand in an order.
    pub order: bool,
}

impl Key {
    /// Without aliases, and not for orders.
    pub const fn new(name: &'static str, rule: Rule) -> Self {
        Self { name, aliases: &[], rule, order: false }
    }

    /// Has these other spellings.
    #[must_use]
    pub const fn alias(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// May stand in an order.
    #[must_use]
    pub const fn ordered(self) -> Self {
        Self { order: true, ..self }
    }
}

/// How a key is compared.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// With what.
    pub kind: Kind,
    /// How; none if it can only stand in an order.
    pub operators: &'static [Operator],
}

impl Rule {
    /// For a key that can only stand in an order.
    pub const ORDER_ONLY: Self = Self { kind: Kind::Text, operators: &[] };

    /// Compared so.
    pub const fn new(kind: Kind, operators: &'static [Operator]) -> Self {
        Self { kind, operators }
    }
}

/// What a key is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A quoted text; a list of them after `IN` and `NOT IN`.
    Text,
    /// A number, which becomes [`Literal::Number`](super::Literal::Number).
    Number,
    /// A number, which becomes [`Literal::Integer`](super::Literal::Integer) if it is written as one.
    Integer,
    /// `<`, `<=`, `>`, `>=` take a number, the others a text.
    TextOrNumber,
    /// A number or a text under any operator; a text of digits becomes an integer.
    Either,
}

/// The operators that usually go together.
pub mod operators {
    use super::super::Operator::{
        self, Equal, Greater, GreaterEqual, Ilike, In, IsNotNull, IsNull, Less, LessEqual, Like, NotEqual, NotIn,
    };

    /// For numbers.
    pub const NUMERIC: &[Operator] = &[Equal, NotEqual, Less, LessEqual, Greater, GreaterEqual];
    /// For texts.
    pub const TEXT: &[Operator] = &[Equal, NotEqual, Like, Ilike];
    /// For texts that may be absent.
    pub const TEXT_OR_NULL: &[Operator] = &[Equal, NotEqual, Like, Ilike, IsNull, IsNotNull];
    /// For texts, and lists of them.
    pub const TEXT_OR_LIST: &[Operator] = &[Equal, NotEqual, Like, Ilike, In, NotIn];
    /// For texts that may be absent, and lists of them.
    pub const TEXT_OR_LIST_OR_NULL: &[Operator] = &[Equal, NotEqual, Like, Ilike, In, NotIn, IsNull, IsNotNull];
}

/// A key that was found in a profile.
pub(super) struct Found {
    pub(super) key: String,
    pub(super) rule: Rule,
    pub(super) order: bool,
}

impl Profile {
    pub(super) fn entity(&self, name: &str) -> Option<&EntityRule> {
        self.entities.iter().find(|rule| rule.names.contains(&name))
    }

    pub(super) fn attributes(&self) -> Option<&EntityRule> {
        self.entities.iter().find(|rule| rule.entity == Entity::Attribute)
    }

    pub(super) fn entity_names(&self) -> String {
        let names: Vec<&str> = self.entities.iter().filter_map(|rule| rule.names.first().copied()).collect();
        names.join(", ")
    }
}

impl EntityRule {
    pub(super) fn key(&self, key: &str) -> Option<Found> {
        let known = |keys: &[Key]| {
            let found = keys.iter().find(|one| one.name == key || one.aliases.contains(&key))?;
            Some(Found { key: found.name.to_owned(), rule: found.rule, order: found.order })
        };
        match self.keys {
            Keys::Any { rule, order } => Some(Found { key: key.to_owned(), rule, order }),
            Keys::Known(keys) => known(keys),
            Keys::KnownOrUnder { known: keys, prefix, rule } => known(keys).or_else(|| {
                let under = key.len() > prefix.len() && key.starts_with(prefix);
                under.then(|| Found { key: key.to_owned(), rule, order: false })
            }),
        }
    }

    /// The keys that are known, of those that may be ordered by or of those that may be compared.
    pub(super) fn key_names(&self, order: bool) -> String {
        let (keys, prefix) = match self.keys {
            Keys::Any { .. } => return "any key".to_owned(),
            Keys::Known(keys) => (keys, None),
            Keys::KnownOrUnder { known, prefix, .. } => (known, Some(prefix)),
        };
        let wanted = keys.iter().filter(|key| if order { key.order } else { !key.rule.operators.is_empty() });
        let mut names: Vec<String> = wanted.map(|key| key.name.to_owned()).collect();
        names.extend(prefix.map(|prefix| format!("{prefix}<name>")));
        names.join(", ")
    }
}
