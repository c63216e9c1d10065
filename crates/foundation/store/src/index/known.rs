//! What this process knows of the index objects.

use std::collections::{HashMap, HashSet};

use ropewalk_types::Digest;

use super::Object;
use super::condemned::Condemned;
use super::entry::{Entry, Kind, PackEntries};
use super::pack_id::PackId;
use crate::chunk::Encoding;

/// Where a piece lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) pack: PackId,
    pub(crate) offset: u64,
    pub(crate) stored_length: u32,
    pub(crate) raw_length: u32,
    pub(crate) encoding: Encoding,
    /// The blob that it is, or is the recipe of, was added as a tree.
    pub(crate) tree: bool,
}

impl Location {
    pub(crate) fn new(pack: PackId, offset: u64, entry: &Entry) -> Self {
        let &Entry { stored_length, raw_length, encoding, tree, .. } = entry;
        Self { pack, offset, stored_length, raw_length, encoding, tree }
    }

    /// The first byte after the piece.
    pub(crate) fn end(&self) -> u64 {
        self.offset + u64::from(self.stored_length)
    }
}

/// All that this process knows to be visible.
#[derive(Debug, Default)]
pub(crate) struct Index {
    visible: Pieces,
    /// What can still be read, but is not to be relied upon.
    condemned: Pieces,
    hidden: Hidden,
    packs: HashSet<PackId>,
    /// The index objects that are in here.
    objects: HashMap<Digest, Shape>,
    /// How often something that was visible may have gone.
    losses: u64,
}

#[derive(Debug, Default)]
struct Pieces {
    chunks: HashMap<Digest, Location>,
    recipes: HashMap<Digest, Location>,
}

#[derive(Debug, Default)]
struct Hidden {
    packs: HashSet<PackId>,
    pieces: HashSet<(PackId, Kind, Digest)>,
}

/// As much of an index object as tells whether others replace it: its packs, and how much of each it names.
#[derive(Debug, PartialEq, Eq)]
enum Shape {
    Packs(Vec<(PackId, usize)>),
    Condemned,
}

impl Index {
    /// The index of these objects, in any order.
    pub(crate) fn of<'a>(objects: impl Iterator<Item = (Digest, &'a Object)> + Clone, losses: u64) -> Self {
        let mut index = Self { losses, ..Self::default() };
        for (name, object) in objects.clone() {
            if let Object::Condemned(condemned) = object {
                index.hidden.add(condemned);
                index.objects.insert(name, Shape::Condemned);
            }
        }
        for (name, object) in objects {
            if let Object::Packs(packs) = object {
                index.insert(name, packs);
            }
        }
        index
    }

    /// Takes in what the index object called `name` says.
    pub(crate) fn insert(&mut self, name: Digest, packs: &[PackEntries]) {
        self.objects.insert(name, Shape::of(packs));
        for pack in packs.iter().filter(|pack| !self.hidden.packs.contains(&pack.pack)) {
            self.packs.insert(pack.pack);
            for (offset, entry) in pack.pieces() {
                let hidden = self.hidden.pieces.contains(&(pack.pack, entry.kind, entry.digest));
                let pieces = if hidden { &mut self.condemned } else { &mut self.visible };
                let location = Location::new(pack.pack, offset, entry);
                pieces.of_mut(entry.kind).entry(entry.digest).or_insert(location);
            }
        }
    }

    /// Whether only a new index can show the change from the objects that are known to `new` ones without `vanished`.
    pub(crate) fn loses(&self, new: &[(Digest, Object)], vanished: &[Digest]) -> bool {
        let condemned = new.iter().any(|(_, object)| matches!(object, Object::Condemned(_)));
        let gone: HashSet<_> = vanished.iter().collect();
        let stay = self.objects.iter().filter(|(name, _)| !gone.contains(name)).map(|(_, shape)| shape);
        let come: Vec<_> = new.iter().map(|(_, object)| Shape::of_object(object)).collect();
        condemned
            || !vanished.is_empty() && {
                let kept: HashSet<_> = stay.chain(&come).flat_map(Shape::packs).collect();
                // A merged object is gone without loss when others say as much of each of its packs.
                let lost =
                    |shape: &Shape| *shape == Shape::Condemned || shape.packs().iter().any(|pack| !kept.contains(pack));
                vanished.iter().filter_map(|name| self.objects.get(name)).any(lost)
            }
    }

    pub(crate) fn forget(&mut self, vanished: &[Digest]) {
        for name in vanished {
            self.objects.remove(name);
        }
    }

    /// Where a visible piece lies.
    pub(crate) fn find(&self, kind: Kind, digest: &Digest) -> Option<Location> {
        self.visible.of(kind).get(digest).copied()
    }

    /// Where a piece lies, also one that is not to be relied upon.
    pub(crate) fn find_readable(&self, kind: Kind, digest: &Digest) -> Option<Location> {
        self.find(kind, digest).or_else(|| self.condemned.of(kind).get(digest).copied())
    }

    /// The chunks that are visible.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (&Digest, &Location)> {
        self.visible.chunks.iter()
    }

    pub(crate) fn has_blob(&self, digest: &Digest) -> bool {
        self.find(Kind::Chunk, digest).or_else(|| self.find(Kind::Recipe, digest)).is_some()
    }

    pub(crate) fn has_object(&self, name: &Digest) -> bool {
        self.objects.contains_key(name)
    }

    /// The names of the objects that are in here.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Digest> {
        self.objects.keys()
    }

    pub(crate) fn has_pack(&self, pack: &PackId) -> bool {
        self.packs.contains(pack)
    }

    /// How often something that was visible may have gone; see [`Index::loses`].
    pub(crate) fn losses(&self) -> u64 {
        self.losses
    }
}

impl Pieces {
    fn of(&self, kind: Kind) -> &HashMap<Digest, Location> {
        match kind {
            Kind::Chunk => &self.chunks,
            Kind::Recipe => &self.recipes,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut HashMap<Digest, Location> {
        match kind {
            Kind::Chunk => &mut self.chunks,
            Kind::Recipe => &mut self.recipes,
        }
    }
}

impl Hidden {
    fn add(&mut self, condemned: &Condemned) {
        self.packs.extend(&condemned.packs);
        self.pieces.extend(condemned.each());
    }
}

impl Shape {
    fn of(packs: &[PackEntries]) -> Self {
        Self::Packs(packs.iter().map(|pack| (pack.pack, pack.pieces().count())).collect())
    }

    fn of_object(object: &Object) -> Self {
        match object {
            Object::Packs(packs) => Self::of(packs),
            Object::Condemned(_) => Self::Condemned,
        }
    }

    fn packs(&self) -> &[(PackId, usize)] {
        match self {
            Self::Packs(packs) => packs,
            Self::Condemned => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Slot;

    fn entry(text: &str, kind: Kind) -> Entry {
        let (stored_length, raw_length) = (text.len() as u32, text.len() as u32);
        let digest = Digest::of(text.as_bytes());
        Entry { digest, kind, tree: false, encoding: Encoding::Plain, stored_length, raw_length }
    }

    fn pack(texts: &[&str]) -> PackEntries {
        let slots = texts.iter().map(|text| Slot::Piece(entry(text, Kind::Chunk))).collect();
        PackEntries { pack: PackId::random(), slots }
    }

    fn name(object: &Object) -> Digest {
        Digest::of(&object.encode())
    }

    fn index(objects: &[Object]) -> Index {
        let named: Vec<_> = objects.iter().map(|object| (name(object), object)).collect();
        Index::of(named.iter().copied(), 0)
    }

    fn condemned(pack: &PackEntries, text: &str) -> Object {
        let mut condemned = Condemned::default();
        condemned.add(pack.pack, Kind::Chunk, Digest::of(text.as_bytes()));
        Object::Condemned(condemned)
    }

    #[test]
    fn offsets_follow_from_lengths() {
        let id = PackId::random();
        let pieces = [entry("abc", Kind::Chunk), entry("de", Kind::Recipe), entry("f", Kind::Chunk)];
        let packs = vec![PackEntries { pack: id, slots: pieces.map(Slot::Piece).to_vec() }];
        let index = index(&[Object::Packs(packs)]);
        assert_eq!(index.find(Kind::Chunk, &Digest::of(b"abc")).unwrap().offset, 5);
        assert_eq!(index.find(Kind::Chunk, &Digest::of(b"f")).unwrap().offset, 10);
        assert!(index.find(Kind::Chunk, &Digest::of(b"de")).is_none());
        assert!(index.has_blob(&Digest::of(b"de")) && index.has_pack(&id));
    }

    #[test]
    fn what_is_condemned_can_be_read_but_is_not_there() {
        let (one, two) = (pack(&["a", "b"]), pack(&["b"]));
        let objects = [Object::Packs(vec![one.clone()]), condemned(&one, "b")];
        let hidden = index(&objects);
        let b = Digest::of(b"b");
        assert!(hidden.find(Kind::Chunk, &b).is_none() && !hidden.has_blob(&b));
        assert_eq!(hidden.find_readable(Kind::Chunk, &b).unwrap().pack, one.pack);
        // A copy elsewhere is not condemned, whichever comes first.
        let index = index(&[objects[0].clone(), Object::Packs(vec![two.clone()]), objects[1].clone()]);
        assert_eq!(index.find(Kind::Chunk, &b).unwrap().pack, two.pack);
        let gone = Object::Condemned(Condemned { packs: vec![one.pack], pieces: Vec::new() });
        let index = super::tests::index(&[objects[0].clone(), gone]);
        assert!(index.find_readable(Kind::Chunk, &b).is_none() && !index.has_pack(&one.pack));
    }

    #[test]
    fn merging_loses_nothing_and_replacing_does() {
        let (one, two) = (pack(&["a", "b"]), pack(&["c"]));
        let objects = [Object::Packs(vec![one.clone()]), Object::Packs(vec![two.clone()])];
        let index = index(&objects);
        let vanished: Vec<_> = objects.iter().map(name).collect();
        let new = |object: &Object| vec![(name(object), object.clone())];
        assert!(!index.loses(&[], &[]));
        assert!(!index.loses(&new(&Object::Packs(vec![one.clone(), two.clone()])), &vanished));
        assert!(index.loses(&new(&Object::Packs(vec![one.clone()])), &vanished));
        assert!(index.loses(&new(&condemned(&one, "a")), &[]));
        let mut less = one;
        less.remove(|entry| entry.digest == Digest::of(b"a"));
        assert!(index.loses(&new(&Object::Packs(vec![less, two])), &vanished));
    }
}
