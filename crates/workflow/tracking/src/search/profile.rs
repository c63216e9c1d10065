use crate::filter::{Entity, EntityRule, Key, Keys, Kind, Operator, Profile, Rule, operators};

const TEXT: Rule = Rule::new(Kind::Text, operators::TEXT_OR_LIST);
const TIME: Rule = Rule::new(Kind::Integer, operators::NUMERIC);

/// Texts that a run may have or not.
const OPTIONAL: Keys = Keys::Any { rule: Rule::new(Kind::Text, operators::TEXT_OR_LIST_OR_NULL), order: true };

/// What runs are searched by, as in MLflow's `SearchUtils`.
pub const RUNS: Profile = Profile {
    name: "run",
    entities: &[
        EntityRule {
            entity: Entity::Metric,
            names: &["metrics", "metric"],
            keys: Keys::Any { rule: Rule::new(Kind::Number, operators::NUMERIC), order: true },
        },
        EntityRule { entity: Entity::Param, names: &["params", "param", "parameters", "parameter"], keys: OPTIONAL },
        EntityRule { entity: Entity::Tag, names: &["tags", "tag"], keys: OPTIONAL },
        EntityRule {
            entity: Entity::Attribute,
            names: &["attribute", "attributes", "attr", "run"],
            keys: Keys::Known(&[
                Key::new("run_id", TEXT).ordered(),
                Key::new("run_name", TEXT).ordered().alias(&["run name", "Run name", "Run Name"]),
                Key::new("user_id", TEXT).ordered(),
                Key::new("status", TEXT).ordered(),
                Key::new("artifact_uri", TEXT).ordered(),
                Key::new("start_time", TIME).ordered().alias(&["created", "Created"]),
                Key::new("end_time", TIME).ordered(),
            ]),
        },
        EntityRule {
            entity: Entity::Dataset,
            names: &["dataset", "datasets"],
            keys: Keys::Known(&[Key::new("name", TEXT), Key::new("digest", TEXT), Key::new("context", TEXT)]),
        },
    ],
};

/// What experiments are searched by, as in MLflow's `SearchExperimentsUtils`.
pub const EXPERIMENTS: Profile = Profile {
    name: "experiment",
    entities: &[
        EntityRule {
            entity: Entity::Attribute,
            names: &["attribute", "attributes", "attr"],
            keys: Keys::Known(&[
                Key::new("name", TEXT).ordered(),
                Key::new("experiment_id", IDENTITY).ordered(),
                Key::new("creation_time", TIME).ordered(),
                Key::new("last_update_time", TIME).ordered(),
            ]),
        },
        EntityRule {
            entity: Entity::Tag,
            names: &["tags", "tag"],
            keys: Keys::Any { rule: Rule::new(Kind::Text, operators::TEXT_OR_LIST_OR_NULL), order: false },
        },
    ],
};

/// A number that is written as a text and has no order.
const IDENTITY: Rule = Rule::new(Kind::Text, &[Operator::Equal, Operator::NotEqual, Operator::In, Operator::NotIn]);
