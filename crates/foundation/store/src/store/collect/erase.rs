//! Packs without gaps: what was removed is not left lying between what stays.

use std::collections::{BTreeMap, HashSet};

use super::plan::Plan;
use crate::index::{Condemned, Location, PackId};
use crate::store::read::Piece;

impl Plan {
    /// Of packs from which something is removed, writes anew what stays, however much of them that is.
    ///
    /// Where something else of the pack is condemned or still in its time of grace, the removal waits for that: a gap
    /// that has been made is never looked at again.
    pub(super) fn erase(&mut self) {
        let waiting = self.waiting.iter().copied();
        let busy: HashSet<PackId> = self.condemn.each().chain(waiting).map(|(pack, ..)| pack).collect();
        // What is merged at once goes as a whole.
        let merged: HashSet<PackId> = self.merge.iter().filter(|_| self.at_once).map(|merged| merged.pack).collect();
        let stays = |pack: &PackId| busy.contains(pack) || merged.contains(pack);
        let erased: HashSet<PackId> = self.remove.iter().map(|(pack, ..)| *pack).filter(|pack| !stays(pack)).collect();
        // A piece of no bytes shares the place of its neighbour.
        let mut rewrite: BTreeMap<(PackId, u64, bool), (Piece, bool)> = BTreeMap::new();
        let mut postponed = HashSet::new();
        for pack in self.objects.iter().flat_map(|(_, packs)| packs) {
            let id = pack.pack;
            for (offset, entry) in pack.pieces() {
                let place = (id, entry.kind, entry.digest);
                let removed = self.remove.contains(&place);
                if erased.contains(&id) && !removed {
                    let location = Location::new(id, offset, entry);
                    let piece = Piece { kind: entry.kind, digest: entry.digest, location };
                    rewrite.insert((id, offset, entry.stored_length > 0), (piece, entry.tree));
                }
                // A copy of what is needed counts as one whether it is removed now or later.
                if busy.contains(&id) && removed && !self.copies.contains(&place) && postponed.insert(place) {
                    let (bytes, report) = (u64::from(entry.stored_length), &mut self.report);
                    report.removed.pieces -= 1;
                    report.removed.bytes -= bytes;
                    report.waiting.pieces += 1;
                    report.waiting.bytes += bytes;
                }
            }
            if erased.contains(&id) {
                self.delete.insert(id, pack.size());
            }
        }
        // What is written anew here need not be merged with other small packs as well.
        self.merge.retain(|merged| !erased.contains(&merged.pack));
        self.rewrite.extend(rewrite.into_values());
        // What waits stays hidden.
        self.remove.retain(|(pack, ..)| !busy.contains(pack) && !erased.contains(pack));
        let mut hide = Condemned { packs: std::mem::take(&mut self.hide.packs), ..Condemned::default() };
        for (pack, kind, digest) in self.hide.each().filter(|(pack, ..)| !erased.contains(pack)) {
            hide.add(pack, kind, digest);
        }
        hide.packs.extend(erased);
        hide.packs.sort();
        self.hide = hide;
    }
}
