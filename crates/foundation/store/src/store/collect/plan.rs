//! What is to become of each piece and pack; nothing is read or written here.

use std::collections::{BTreeMap, HashMap, HashSet};

use ropewalk_types::Digest;

use super::{Amount, Collected};
use crate::index::{Condemned, Entry, Kind, Location, Object, PackEntries, PackId};
use crate::store::reach::Root;
use crate::store::read::Piece;

/// Of a pack that stays as it is, at least this part is in use.
const USED_PART: (u64, u64) = (2, 3);
/// A pack of which less than this is in use is small; a file that shares its blocks with its pack is larger (ADR 007).
const SMALL_PACK: u64 = 8 << 20;
/// So many small packs are merged into one; fewer may stay.
const MERGE_FROM: usize = 8;
/// One collection merges about so many bytes, which lie there twice for a time of grace, and are lost when it is killed.
const MERGE_BYTES: u64 = 1 << 30;

/// The index objects, and what follows from them.
pub(super) struct State {
    /// Name, content, and whether it was written a time of grace ago.
    objects: Vec<(Digest, Object, bool)>,
    sizes: HashMap<PackId, u64>,
    /// Of each piece the copy that is to stay, if one is.
    chosen: HashMap<(Kind, Digest), Rank>,
    young: HashSet<PackId>,
    /// What condemned objects list, and whether one of those is young.
    hidden: HashMap<(PackId, Kind, Digest), bool>,
    /// Packs that are gone already.
    gone: HashSet<PackId>,
}

/// Which of several copies of a piece stays: one that is visible, in the largest pack. All collectors choose alike, so that
/// two of them never condemn the copies that the other one keeps.
type Rank = (bool, u64, PackId);

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

/// A small pack whose content goes to a larger one.
pub(super) struct Merged {
    pub(super) pack: PackId,
    pub(super) size: u64,
    /// What is needed of it, and whether it is a tree.
    pub(super) pieces: Vec<(Piece, bool)>,
    /// What nothing needs.
    rest: Vec<(Found, Verdict)>,
}

/// What is to be done, in the terms of `apply.rs`.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) report: Collected,
    /// Nobody else works with the store, so that nothing has to wait.
    pub(super) at_once: bool,
    pub(super) merge: Vec<Merged>,
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
    /// What is still in its time of grace, or needed by something that is.
    pub(super) waiting: HashSet<(PackId, Kind, Digest)>,
    /// What is removed and was counted as a further copy.
    pub(super) copies: HashSet<(PackId, Kind, Digest)>,
}

impl State {
    pub(super) fn new(objects: Vec<(Digest, Object, bool)>, young: HashSet<PackId>) -> Self {
        let (mut hidden, mut gone) = (HashMap::new(), HashSet::new());
        for (_, object, old) in &objects {
            if let Object::Condemned(condemned) = object {
                gone.extend(&condemned.packs);
                for piece in condemned.each() {
                    *hidden.entry(piece).or_insert(false) |= !old;
                }
            }
        }
        let mut state = Self { objects, sizes: HashMap::new(), chosen: HashMap::new(), young, hidden, gone };
        state.sizes = state.packs().map(|pack| (pack.pack, pack.size())).collect();
        state.chosen = state.choose();
        state
    }

    fn choose(&self) -> HashMap<(Kind, Digest), Rank> {
        let mut chosen = HashMap::new();
        for found in self.pieces() {
            let rank = self.rank(&found);
            let best = chosen.entry(found.name()).or_insert(rank);
            *best = rank.max(*best);
        }
        chosen
    }

    fn rank(&self, found: &Found) -> Rank {
        (!self.is_hidden(found), self.size(&found.pack), found.pack)
    }

    fn size(&self, pack: &PackId) -> u64 {
        self.sizes.get(pack).copied().unwrap_or(0)
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
        let tops = self.pieces().filter(|found| !but.contains(&found.name()));
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
    fn is_chosen(&self, found: &Found) -> bool {
        self.chosen.get(&found.name()).is_some_and(|(_, _, pack)| *pack == found.pack)
    }

    fn verdict(
        &self,
        found: &Found,
        needed: &HashSet<(Kind, Digest)>,
        protected: &HashSet<(Kind, Digest)>,
        grace: bool,
    ) -> Verdict {
        let piece = found.name();
        let chosen = self.is_chosen(found);
        let needed = needed.contains(&piece) && chosen;
        match self.hidden.get(&found.place()) {
            None if needed || self.young.contains(&found.pack) => Verdict::Keep,
            None if grace => Verdict::Condemn,
            Some(_) if needed => Verdict::Restore,
            // What is protected can be read as long as one copy can.
            Some(young) if *young || (chosen && protected.contains(&piece)) => Verdict::Wait,
            None | Some(_) => Verdict::Remove,
        }
    }
}

/// What is kept of a pack, and whether it is a tree.
fn kept_of(pieces: &[(Found, Verdict)]) -> impl Iterator<Item = (Piece, bool)> {
    pieces.iter().filter(|(_, verdict)| *verdict == Verdict::Keep).map(|(found, _)| (found.piece(), found.entry.tree))
}

impl Merged {
    pub(super) fn bytes(&self) -> u64 {
        self.pieces.iter().map(|(piece, _)| u64::from(piece.location.stored_length)).sum()
    }
}

impl Found {
    fn name(&self) -> (Kind, Digest) {
        (self.entry.kind, self.entry.digest)
    }

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
        let mut plan = Self { at_once: !grace, ..Self::default() };
        let mut verdicts: BTreeMap<PackId, Vec<(Found, Verdict)>> = BTreeMap::new();
        let mut seen = HashSet::new();
        for found in state.pieces().filter(|found| seen.insert(found.place())) {
            let verdict = state.verdict(&found, needed, protected, grace);
            plan.count(&found, verdict, needed.contains(&found.name()));
            verdicts.entry(found.pack).or_default().push((found, verdict));
        }
        for (pack, pieces) in &verdicts {
            plan.pack(*pack, state.size(pack), state.young.contains(pack), pieces);
        }
        plan.merge_or_leave();
        // What a collector that was killed had already listed as gone, but not removed.
        plan.hide.packs.extend(state.gone.iter().filter(|pack| state.sizes.contains_key(pack)));
        plan.delete.extend(state.gone.iter().map(|pack| (*pack, 0)));
        plan.hide.packs.extend(plan.delete.keys().filter(|pack| !state.gone.contains(pack)));
        plan.replace(state, &verdicts);
        plan
    }

    fn count(&mut self, found: &Found, verdict: Verdict, needed: bool) {
        let amount: &mut Amount = match verdict {
            Verdict::Condemn | Verdict::Wait | Verdict::Remove if needed => &mut self.report.copies,
            Verdict::Keep => &mut self.report.kept,
            Verdict::Condemn => &mut self.report.condemned,
            Verdict::Restore => &mut self.report.restored,
            Verdict::Wait => &mut self.report.waiting,
            Verdict::Remove => &mut self.report.removed,
        };
        amount.add(found.entry.stored_length);
        if verdict == Verdict::Remove && needed {
            self.copies.insert(found.place());
        }
    }

    fn pack(&mut self, pack: PackId, size: u64, young: bool, pieces: &[(Found, Verdict)]) {
        let bytes = |wanted: &dyn Fn(Verdict) -> bool| -> u64 {
            pieces.iter().filter(|(_, verdict)| wanted(*verdict)).map(|(found, _)| found.bytes()).sum()
        };
        let used = bytes(&|verdict| verdict != Verdict::Remove);
        let kept = bytes(&|verdict| verdict == Verdict::Keep);
        let any = |wanted: &[Verdict]| pieces.iter().any(|(_, verdict)| wanted.contains(verdict));
        let settled = !any(&[Verdict::Condemn, Verdict::Restore, Verdict::Wait]);
        let (part, whole) = USED_PART;
        if pieces.iter().all(|(_, verdict)| *verdict == Verdict::Remove) {
            self.delete.insert(pack, size);
        } else if settled && used * whole < size * part {
            self.delete.insert(pack, size);
            self.rewrite.extend(kept_of(pieces));
        } else if !young && any(&[Verdict::Keep]) && kept < SMALL_PACK && !any(&[Verdict::Restore, Verdict::Wait]) {
            let rest = pieces.iter().filter(|(_, verdict)| *verdict != Verdict::Keep).copied().collect();
            self.merge.push(Merged { pack, size, pieces: kept_of(pieces).collect(), rest });
        } else {
            self.leave(pieces);
        }
    }

    /// Takes what becomes of the pieces of a pack that stays, for now.
    fn leave(&mut self, pieces: &[(Found, Verdict)]) {
        for (found, verdict) in pieces {
            match verdict {
                Verdict::Condemn => self.condemn.add(found.pack, found.entry.kind, found.entry.digest),
                Verdict::Remove => {
                    self.remove.insert(found.place());
                }
                Verdict::Keep | Verdict::Restore | Verdict::Wait => {}
            }
        }
    }

    /// Decides about the small packs, once it is known how many they are.
    fn merge_or_leave(&mut self) {
        let mut small = std::mem::take(&mut self.merge);
        if small.len() < MERGE_FROM {
            for pack in &small {
                self.leave(&pack.rest);
            }
            return;
        }
        let mut bytes = 0;
        small.retain(|pack| {
            let fits = bytes < MERGE_BYTES;
            bytes += if fits { pack.bytes() } else { 0 };
            // Also of one that goes at once: it stays if it cannot be read.
            self.leave(&pack.rest);
            fits
        });
        self.report.merged_packs = small.len() as u64;
        for (piece, _) in small.iter().flat_map(|pack| &pack.pieces) {
            self.report.merged.add(piece.location.stored_length);
        }
        self.merge = small;
    }

    /// Sorts out which condemned objects are replaced, and what stays hidden of them.
    fn replace(&mut self, state: State, verdicts: &BTreeMap<PackId, Vec<(Found, Verdict)>>) {
        let all = verdicts.values().flatten();
        let restored: HashSet<_> =
            all.clone().filter(|(_, verdict)| *verdict == Verdict::Restore).map(|(found, _)| found.place()).collect();
        self.waiting = all.filter(|(_, verdict)| *verdict == Verdict::Wait).map(|(found, _)| found.place()).collect();
        let mut hide: HashSet<_> = self.remove.iter().copied().collect();
        for (name, object, old) in state.objects {
            match object {
                Object::Packs(packs) => self.objects.push((name, packs)),
                Object::Condemned(condemned) if old || condemned.each().any(|piece| restored.contains(&piece)) => {
                    hide.extend(condemned.each().filter(|piece| self.waiting.contains(piece)));
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
    }
}

impl Plan {
    /// Bytes and packs that go when it is carried out, as far as all that is to be written anew can be read.
    pub(super) fn freed(&self) -> (u64, u64) {
        let at_once = if self.at_once { self.merge.as_slice() } else { &[] };
        let written: u64 = self.rewrite.iter().map(|(piece, _)| u64::from(piece.location.stored_length)).sum();
        let written = written + at_once.iter().map(Merged::bytes).sum::<u64>();
        let merged = at_once.iter().map(|merged| merged.size);
        let sizes = || self.delete.values().copied().filter(|size| *size > 0).chain(merged.clone());
        (sizes().sum::<u64>().saturating_sub(written), sizes().count() as u64)
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
