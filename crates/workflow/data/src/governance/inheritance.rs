use std::collections::{BTreeMap, BTreeSet};

use ropewalk_catalog::Catalog;
use ropewalk_lineage::upstream;
use ropewalk_types::{DatasetName, Timestamp, Uri};
use serde::Serialize;

use super::declaration::{Classification, DatasetFacts, Declaration, Retention, declaration_history};
use crate::DataError;

/// Why something is declared where nobody gives a reason.
pub const NO_REASON: &str = "said by the project file";

/// A fact that a thing has by its own declaration, or by those of what it was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inherited<T> {
    /// What holds; none when nobody said anything.
    pub value: Option<T>,
    /// The datasets, and stages of runs, whose declarations say it; the thing itself when it has its own.
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
    /// The same, each with the datasets that it owns.
    pub owned_by: Vec<Inherited<String>>,
    /// Its own description, or else those of what it was made from, sorted.
    pub described_as: Vec<Inherited<String>>,
    /// Who declared the classification, and why, where a reason was given.
    pub reasons: Vec<Reason>,
    /// First sources on the way whose classification nobody declared: the answer says nothing about them.
    pub undeclared: Vec<Uri>,
}

impl EffectiveFacts {
    /// Takes in what is declared of `of`, another name of the same thing: it holds where nothing is declared of the thing
    /// itself.
    pub fn add_name(&mut self, of: &Uri, declaration: &Declaration) {
        let own = self.declared.as_ref().map(|own| own.facts.clone()).unwrap_or_default();
        let DatasetFacts { owner, description, classification, retention } = declaration.facts.clone();
        if classification.is_some() {
            self.undeclared.clear();
            self.inherited = self.inherited.max(classification);
            if own.classification.is_none() && self.classification.value <= classification {
                if self.classification.value < classification {
                    self.classification = Inherited { value: classification, from: Vec::new() };
                    self.reasons.clear();
                }
                self.classification.from.push(of.clone());
                self.reasons.extend(reason_of(of, declaration));
            }
        }
        if let Some(value) = retention
            && own.retention.is_none()
            && self.retention.value.is_none_or(|held| value <= held)
        {
            if self.retention.value != retention {
                self.retention = Inherited { value: retention, from: Vec::new() };
            }
            self.retention.from.push(of.clone());
        }
        for (held, said, texts) in
            [(own.owner, owner, &mut self.owned_by), (own.description, description, &mut self.described_as)]
        {
            let (None, Some(text)) = (held, said) else { continue };
            match texts.iter_mut().find(|one| one.value.as_ref() == Some(&text)) {
                Some(one) => one.from.push(of.clone()),
                None => texts.push(Inherited { value: Some(text), from: vec![of.clone()] }),
            }
            texts.sort_by(|a, b| a.value.cmp(&b.value));
        }
        self.owners = self.owned_by.iter().filter_map(|owner| owner.value.clone()).collect();
    }
}

/// Why a classification was declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Of what.
    pub of: Uri,
    /// Who declared it.
    pub who: String,
    /// Why.
    pub why: String,
    /// When.
    pub at: Timestamp,
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
    let own = of_dataset(uri, declared);
    let search = Search { parents, declared };
    let above = search.above(uri, |declaration| declaration.facts.classification);
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
    let texts = |fact: fn(&Declaration) -> Option<String>| match own.and_then(fact) {
        Some(text) => vec![Inherited { value: Some(text), from: vec![uri.clone()] }],
        None => by_text(search.above(uri, fact)),
    };
    let owned_by = texts(|declaration| declaration.facts.owner.clone());
    let described_as = texts(|declaration| declaration.facts.description.clone());
    let owners = owned_by.iter().filter_map(|owner| owner.value.clone()).collect();
    let undeclared =
        if own.is_some_and(|own| own.facts.classification.is_some()) { Vec::new() } else { search.undeclared(uri) };
    let reasons = classification.from.iter().filter_map(|of| reason(of, declared)).collect();
    let declared = own.cloned();
    EffectiveFacts {
        declared,
        classification,
        inherited,
        retention,
        owners,
        owned_by,
        described_as,
        reasons,
        undeclared,
    }
}

fn of_dataset<'a>(uri: &Uri, declared: &'a Declared) -> Option<&'a Declaration> {
    match uri {
        Uri::Data { name, .. } => declared.get(name),
        _ => None,
    }
}

/// What a stage declares of what its runs leave behind.
fn of_stage<'a>(uri: &Uri, declared: &'a Declared) -> Option<&'a Declaration> {
    let Uri::Stage { name, .. } = uri else { return None };
    let found = declared.get(&DatasetName::new(name.as_str()).ok()?)?;
    (found.stage.as_ref() == Some(name)).then_some(found)
}

/// What is declared of `parent`, from which `child` came. What a stage that makes a dataset declares is said of that, and so
/// stands at the dataset; of what a run leaves behind it stands at the stage that the run executed.
fn declaration<'a>(child: &Uri, parent: &Uri, declared: &'a Declared) -> Option<&'a Declaration> {
    match child {
        Uri::Run { .. } => of_stage(parent, declared).or_else(|| of_dataset(parent, declared)),
        _ => of_dataset(parent, declared),
    }
}

fn reason(of: &Uri, declared: &Declared) -> Option<Reason> {
    reason_of(of, of_dataset(of, declared).or_else(|| of_stage(of, declared))?)
}

fn reason_of(of: &Uri, declaration: &Declaration) -> Option<Reason> {
    let Declaration { who, why, at, .. } = declaration;
    let reason = || Reason { of: of.clone(), who: who.clone(), why: why.clone(), at: *at };
    (why != NO_REASON).then(reason)
}

/// Each text once, with all that say it.
fn by_text(said: Vec<(String, Uri)>) -> Vec<Inherited<String>> {
    let mut texts: BTreeMap<String, Vec<Uri>> = BTreeMap::new();
    for (text, uri) in said {
        texts.entry(text).or_default().push(uri);
    }
    texts.into_iter().map(|(text, from)| Inherited { value: Some(text), from }).collect()
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
    /// The nearest facts on every way up from `uri`, itself left out; a way ends at the dataset that has one.
    fn above<T>(self, uri: &Uri, fact: impl Fn(&Declaration) -> Option<T>) -> Vec<(T, Uri)> {
        let mut found = Vec::new();
        self.walk(uri, |child, parent| match declaration(child, parent, self.declared).and_then(&fact) {
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
        let mut judge = |one: &Uri, said: Option<&Declaration>| {
            if said.is_some_and(|said| said.facts.classification.is_some()) {
                return false;
            }
            if matches!(one, Uri::Data { .. }) && !self.has_dataset_above(one) {
                found.push(one.clone());
            }
            true
        };
        judge(uri, of_dataset(uri, self.declared));
        self.walk(uri, |child, parent| judge(parent, declaration(child, parent, self.declared)));
        found
    }

    fn has_dataset_above(self, uri: &Uri) -> bool {
        let mut has = false;
        self.walk(uri, |_, parent| {
            has |= matches!(parent, Uri::Data { .. });
            !has
        });
        has
    }

    /// Meets everything above `uri` once, in a fixed order, with what came from it; goes on above a thing where `goes_on`
    /// says so.
    fn walk(self, uri: &Uri, mut goes_on: impl FnMut(&Uri, &Uri) -> bool) {
        let mut met = BTreeSet::from([uri]);
        let mut open = vec![uri];
        while let Some(next) = open.pop() {
            for parent in self.parents.get(next).into_iter().flatten() {
                if met.insert(parent) && goes_on(next, parent) {
                    open.push(parent);
                }
            }
        }
    }
}
