//! What is to become of each piece and pack; nothing is read or written here.

use std::collections::{BTreeMap, HashMap, HashSet};

use ropewalk_types::Digest;

use super::{Amount, Collected};
use crate::index::{Condemned, Entry, Index, Kind, Location, Object, PackEntries, PackId};
use crate::store::reach::Root;
use crate::store::read::Piece;

/// Of a pack that stays as it is, at least this part is in use.
const USED_PART: (u64, u64) = (2, 3);

/// The index objects, and what follows from them.
pub(super) struct State {
    /// Name, content, and whether it was written a time of grace ago.
    objects: Vec<(Digest, Object, bool)>,
    index: Index,
    young: HashSet<PackId>,
    /// What condemned objects list, and whether one of those is young.
    hidden: HashMap<(PackId, Kind, Digest), bool>,
    /// Packs that are gone already.
    gone: HashSet<PackId>,
}

/// A piece where it lies.
#[derive(Clone, Copy)]
struct Found {
    pack: PackId,
    offset: u64,
    entry: Entry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    Condemn,
    Restore,
    Wait,
    Remove,
}

/// What is to be done, in the terms of `apply.rs`.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) report: Collected,
    /// What is hidden from now on.
    pub(super) condemn: Condemned,
    /// What was hidden before and stays so.
    pub(super) hide: Condemned,
    /// The condemned objects that `hide` replaces.
    pub(super) replaced: Vec<Digest>,
    pub(super) remove: HashSet<(PackId, Kind, Digest)>,
    /// Packs that go, with their sizes.
    pub(super) delete: BTreeMap<PackId, u64>,
    /// Of packs that go, what stays, and whether it is a tree.
    pub(super) rewrite: Vec<(Piece, bool)>,
    /// The objects that say what lies in packs.
    pub(super) objects: Vec<(Digest, Vec<PackEntries>)>,
}

impl State {
    pub(super) fn new(objects: Vec<(Digest, Object, bool)>, young: HashSet<PackId>) -> Self {
        let index = Index::of(objects.iter().map(|(name, object, _)| (*name, object)), 0);
        let (mut hidden, mut gone) = (HashMap::new(), HashSet::new());
        for (_, object, old) in &objects {
            if let Object::Condemned(condemned) = object {
                gone.extend(&condemned.packs);
                for piece in condemned.each() {
                    *hidden.entry(piece).or_insert(false) |= !old;
                }
            }
        }
        Self { objects, index, young, hidden, gone }
    }

    /// Recipes and trees that nobody needs, but that are too young to tell.
    pub(super) fn young_tops(&self, live: &HashSet<(Kind, Digest)>) -> Vec<Root> {
        let young = |found: &Found| self.young.contains(&found.pack);
        self.tops(live, |found| young(found) && !self.is_hidden(found))
    }

    /// Recipes and trees that are about to be condemned.
    pub(super) fn condemned_tops(&self, needed: &HashSet<(Kind, Digest)>) -> Vec<Root> {
        self.tops(needed, |found| !self.is_hidden(found))
    }

    fn tops(&self, but: &HashSet<(Kind, Digest)>, wanted: impl Fn(&Found) -> bool) -> Vec<Root> {
        let top = |found: Found| match found.entry {
            Entry { tree: true, digest, .. } => Some(Root::Tree(digest)),
            Entry { kind: Kind::Recipe, digest, .. } => Some(Root::Blob(digest)),
            Entry { .. } => None,
        };
        let tops = self.pieces().filter(|found| !but.contains(&(found.entry.kind, found.entry.digest)));
        let mut tops: Vec<_> = tops.filter(wanted).filter_map(top).collect();
        tops.sort();
        tops.dedup();
        tops
    }

    fn packs(&self) -> impl Iterator<Item = &PackEntries> {
        let packs = self.objects.iter().filter_map(|(_, object, _)| match object {
            Object::Packs(packs) => Some(packs),
            Object::Condemned(_) => None,
        });
        packs.flatten()
    }

    /// The pieces of packs that are there; one that several objects name comes several times.
    fn pieces(&self) -> impl Iterator<Item = Found> {
        let of_pack = |pack: &PackEntries| {
            let id = pack.pack;
            pack.pieces().map(|(offset, entry)| Found { pack: id, offset, entry: *entry }).collect::<Vec<_>>()
        };
        self.packs().filter(|pack| !self.gone.contains(&pack.pack)).flat_map(of_pack)
    }

    fn is_hidden(&self, found: &Found) -> bool {
        self.hidden.contains_key(&found.place())
    }

    /// Whether this is the copy of the piece that is to stay, if one is.
    fn is_first(&self, found: &Found) -> bool {
        let Entry { kind, digest, .. } = found.entry;
        self.index.find_readable(kind, &digest).is_some_and(|location| location.pack == found.pack)
    }

    fn verdict(
        &self,
        found: &Found,
        needed: &HashSet<(Kind, Digest)>,
        protected: &HashSet<(Kind, Digest)>,
        grace: bool,
    ) -> Verdict {
        let piece = (found.entry.kind, found.entry.digest);
        let needed = needed.contains(&piece) && self.is_first(found);
        match self.hidden.get(&found.place()) {
            None if needed || self.young.contains(&found.pack) => Verdict::Keep,
            None if grace => Verdict::Condemn,
            Some(_) if needed => Verdict::Restore,
            Some(young) if *young || protected.contains(&piece) => Verdict::Wait,
            None | Some(_) => Verdict::Remove,
        }
    }
}

impl Found {
    fn place(&self) -> (PackId, Kind, Digest) {
        (self.pack, self.entry.kind, self.entry.digest)
    }
}

impl Plan {
    pub(super) fn new(
        state: State,
        needed: &HashSet<(Kind, Digest)>,
        protected: &HashSet<(Kind, Digest)>,
        grace: bool,
    ) -> Self {
        let mut plan = Self::default();
        let mut verdicts: BTreeMap<PackId, Vec<(Found, Verdict)>> = BTreeMap::new();
        let mut seen = HashSet::new();
        for found in state.pieces().filter(|found| seen.insert(found.place())) {
            let verdict = state.verdict(&found, needed, protected, grace);
            plan.count(&found, verdict);
            verdicts.entry(found.pack).or_default().push((found, verdict));
        }
        let sizes: HashMap<_, _> = state.packs().map(|pack| (pack.pack, pack.size())).collect();
        for (pack, pieces) in &verdicts {
            plan.pack(*pack, sizes.get(pack).copied().unwrap_or(0), pieces);
        }
        // What a collector that was killed had already listed as gone, but not removed.
        plan.hide.packs.extend(state.gone.iter().filter(|pack| sizes.contains_key(pack)));
        plan.delete.extend(state.gone.iter().map(|pack| (*pack, 0)));
        plan.hide.packs.extend(plan.delete.keys().filter(|pack| !state.gone.contains(pack)));
        plan.replace(state, &verdicts);
        plan
    }

    fn count(&mut self, found: &Found, verdict: Verdict) {
        let amount: &mut Amount = match verdict {
            Verdict::Keep => &mut self.report.kept,
            Verdict::Condemn => &mut self.report.condemned,
            Verdict::Restore => &mut self.report.restored,
            Verdict::Wait => &mut self.report.waiting,
            Verdict::Remove => &mut self.report.removed,
        };
        amount.add(found.entry.stored_length);
    }

    fn pack(&mut self, pack: PackId, size: u64, pieces: &[(Found, Verdict)]) {
        let stays = |verdict: &Verdict| *verdict != Verdict::Remove;
        let used: u64 = pieces.iter().filter(|(_, verdict)| stays(verdict)).map(|(found, _)| found.bytes()).sum();
        let settled = pieces.iter().all(|(_, verdict)| matches!(verdict, Verdict::Keep | Verdict::Remove));
        let (part, whole) = USED_PART;
        if !pieces.iter().any(|(_, verdict)| stays(verdict)) {
            self.delete.insert(pack, size);
        } else if settled && used * whole < size * part {
            self.delete.insert(pack, size);
            let kept = pieces.iter().filter(|(_, verdict)| stays(verdict));
            self.rewrite.extend(kept.map(|(found, _)| (found.piece(), found.entry.tree)));
        } else {
            for (found, verdict) in pieces {
                let Entry { kind, digest, .. } = found.entry;
                match verdict {
                    Verdict::Condemn => self.condemn.add(pack, kind, digest),
                    Verdict::Remove => {
                        self.remove.insert(found.place());
                    }
                    Verdict::Keep | Verdict::Restore | Verdict::Wait => {}
                }
            }
        }
    }

    /// Sorts out which condemned objects are replaced, and what stays hidden of them.
    fn replace(&mut self, state: State, verdicts: &BTreeMap<PackId, Vec<(Found, Verdict)>>) {
        let all = verdicts.values().flatten();
        let restored: HashSet<_> =
            all.clone().filter(|(_, verdict)| *verdict == Verdict::Restore).map(|(found, _)| found.place()).collect();
        let waiting: HashSet<_> =
            all.filter(|(_, verdict)| *verdict == Verdict::Wait).map(|(found, _)| found.place()).collect();
        let mut hide: HashSet<_> = self.remove.iter().copied().collect();
        for (name, object, old) in state.objects {
            match object {
                Object::Packs(packs) => self.objects.push((name, packs)),
                Object::Condemned(condemned) if old || condemned.each().any(|piece| restored.contains(&piece)) => {
                    hide.extend(condemned.each().filter(|piece| waiting.contains(piece)));
                    self.replaced.push(name);
                }
                Object::Condemned(_) => {}
            }
        }
        let mut hide: Vec<_> = hide.into_iter().collect();
        hide.sort();
        for (pack, kind, digest) in hide {
            self.hide.add(pack, kind, digest);
        }
        self.hide.packs.sort();
    }
}

impl Found {
    fn bytes(&self) -> u64 {
        u64::from(self.entry.stored_length)
    }

    fn piece(&self) -> Piece {
        let Entry { kind, digest, .. } = self.entry;
        Piece { kind, digest, location: Location::new(self.pack, self.offset, &self.entry) }
    }
}
