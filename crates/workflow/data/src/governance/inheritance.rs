use std::collections::{BTreeMap, BTreeSet};

use ropewalk_catalog::Catalog;
use ropewalk_lineage::upstream;
use ropewalk_types::{DatasetName, Uri};
use serde::Serialize;

use super::declaration::{Classification, Declaration, Retention, declaration_history};
use crate::DataError;

/// A fact that a thing has by its own declaration, or by those of what it was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inherited<T> {
    /// What holds; none when nobody said anything.
    pub value: Option<T>,
    /// The datasets whose declarations say it; the thing itself when it has its own.
    pub from: Vec<Uri>,
}

/// The facts that hold for one thing of lineage: a dataset version, a run, a model version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EffectiveFacts {
    /// The declaration of the dataset itself, if it has one.
    pub declared: Option<Declaration>,
    /// Its own classification, or else the most careful one among what it was made from.
    pub classification: Inherited<Classification>,
    /// What it would be without its own declaration: where this is higher, the declaration has lowered it.
    pub inherited: Option<Classification>,
    /// Its own retention, or else the shortest among what it was made from.
    pub retention: Inherited<Retention>,
    /// Its own owner, or else the owners of what it was made from, sorted.
    pub owners: Vec<String>,
    /// First sources on the way whose classification nobody declared: the answer says nothing about them.
    pub undeclared: Vec<Uri>,
}

/// How carefully `uri` must be handled: its own declaration, or the most careful of what it was made from.
///
/// So what is made from personal data is personal, unless it was declared otherwise; [`EffectiveFacts::declared`] of
/// [`facts_effective`] says by whom and why.
pub async fn classification_effective(catalog: &Catalog, uri: &Uri) -> Result<Inherited<Classification>, DataError> {
    Ok(facts_effective(catalog, uri).await?.classification)
}

/// All facts that hold for `uri`. A dataset version is named by its whole digest, as lineage names it.
pub async fn facts_effective(catalog: &Catalog, uri: &Uri) -> Result<EffectiveFacts, DataError> {
    let declared = current(declaration_history(catalog, None).await?);
    effective(catalog, uri, &declared).await
}

/// The declaration that holds for each dataset.
pub(crate) type Declared = BTreeMap<DatasetName, Declaration>;

/// Of a history with the one that holds first in each dataset; what was withdrawn does not hold.
pub(crate) fn current(history: Vec<Declaration>) -> Declared {
    let mut declared = Declared::new();
    for declaration in history {
        declared.entry(declaration.name.clone()).or_insert(declaration);
    }
    declared.retain(|_, declaration| !declaration.facts.is_empty());
    declared
}

pub(crate) async fn effective(catalog: &Catalog, uri: &Uri, declared: &Declared) -> Result<EffectiveFacts, DataError> {
    let mut parents: Parents = BTreeMap::new();
    for step in upstream(catalog, uri).await? {
        parents.entry(step.link.child).or_default().insert(step.link.parent);
    }
    Ok(combined(uri, &parents, declared))
}

type Parents = BTreeMap<Uri, BTreeSet<Uri>>;

fn combined(uri: &Uri, parents: &Parents, declared: &Declared) -> EffectiveFacts {
    let own = declaration(uri, declared);
    let search = Search { parents, declared };
    let above = search.classifications(uri);
    let inherited = above.iter().map(|(value, _)| *value).max();
    let classification = match own.and_then(|own| own.facts.classification) {
        Some(value) => Inherited { value: Some(value), from: vec![uri.clone()] },
        None => inherited_as(inherited, &above),
    };
    let shortest = || {
        let above = search.above(uri, |declaration| declaration.facts.retention);
        inherited_as(above.iter().map(|(value, _)| *value).min(), &above)
    };
    let own_retention = own.and_then(|own| own.facts.retention);
    let retention =
        own_retention.map_or_else(shortest, |value| Inherited { value: Some(value), from: vec![uri.clone()] });
    let owners_above = || {
        let above = search.above(uri, |declaration| declaration.facts.owner.clone());
        above.into_iter().map(|(owner, _)| owner).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let owners = own.and_then(|own| own.facts.owner.clone()).map_or_else(owners_above, |owner| vec![owner]);
    let undeclared =
        if own.is_some_and(|own| own.facts.classification.is_some()) { Vec::new() } else { search.undeclared(uri) };
    EffectiveFacts { declared: own.cloned(), classification, inherited, retention, owners, undeclared }
}

fn declaration<'a>(uri: &Uri, declared: &'a Declared) -> Option<&'a Declaration> {
    match uri {
        Uri::Data { name, .. } => declared.get(name),
        _ => None,
    }
}

fn inherited_as<T: Copy + PartialEq>(value: Option<T>, above: &[(T, Uri)]) -> Inherited<T> {
    let says = above.iter().filter(|(one, _)| Some(*one) == value);
    Inherited { value, from: says.map(|(_, uri)| uri.clone()).collect() }
}

#[derive(Clone, Copy)]
struct Search<'a> {
    parents: &'a Parents,
    declared: &'a Declared,
}

impl Search<'_> {
    fn classifications(self, uri: &Uri) -> Vec<(Classification, Uri)> {
        self.above(uri, |declaration| declaration.facts.classification)
    }

    /// The nearest facts on every way up from `uri`, itself left out; a way ends at the dataset that has one.
    fn above<T>(self, uri: &Uri, fact: impl Fn(&Declaration) -> Option<T>) -> Vec<(T, Uri)> {
        let mut found = Vec::new();
        self.walk(uri, |parent| match declaration(parent, self.declared).and_then(&fact) {
            Some(value) => {
                found.push((value, parent.clone()));
                false
            }
            None => true,
        });
        found
    }

    /// Datasets without a classification above which there is no other dataset.
    fn undeclared(self, uri: &Uri) -> Vec<Uri> {
        let mut found = Vec::new();
        let mut judge = |one: &Uri| {
            if declaration(one, self.declared).is_some_and(|declaration| declaration.facts.classification.is_some()) {
                return false;
            }
            if matches!(one, Uri::Data { .. }) && !self.has_dataset_above(one) {
                found.push(one.clone());
            }
            true
        };
        judge(uri);
        self.walk(uri, judge);
        found
    }

    fn has_dataset_above(self, uri: &Uri) -> bool {
        let mut has = false;
        self.walk(uri, |parent| {
            has |= matches!(parent, Uri::Data { .. });
            !has
        });
        has
    }

    /// Meets everything above `uri` once, in a fixed order; goes on above a thing where `goes_on` says so.
    fn walk(self, uri: &Uri, mut goes_on: impl FnMut(&Uri) -> bool) {
        let mut met = BTreeSet::from([uri]);
        let mut open = vec![uri];
        while let Some(next) = open.pop() {
            for parent in self.parents.get(next).into_iter().flatten() {
                if met.insert(parent) && goes_on(parent) {
                    open.push(parent);
                }
            }
        }
    }
}
