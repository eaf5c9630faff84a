//! A table of things by small numbers, in blocks that never move.
//!
//! **Invariant**: a [`Key`] stands for one thing only: the number of a place comes back, its generation does not, so what
//! arrives late for somebody who left reaches nobody.

/// Places in one block. Growing by blocks never copies what is there, as a growing vector would.
const BLOCK: usize = 256;

/// A place and which of its tenants is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    /// Number of the place.
    pub(super) index: u32,
    generation: u32,
}

impl Key {
    /// As one number.
    pub(super) fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// From [`Key::to_u64`].
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    pub(super) fn from_u64(number: u64) -> Self {
        Self { index: number as u32, generation: (number >> 32) as u32 }
    }
}

struct Place<T> {
    generation: u32,
    tenant: Option<T>,
}

/// The table.
pub(super) struct Table<T> {
    blocks: Vec<Box<[Place<T>]>>,
    free: Vec<u32>,
    len: usize,
    first_generation: u32,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::after(0)
    }
}

/// Generations of one table that no key of the next one has.
const GENERATIONS: u32 = 1 << 24;

impl<T> Table<T> {
    /// An empty table, after so many earlier ones whose keys mean nothing to it.
    pub(super) fn after(earlier: u32) -> Self {
        let first_generation = earlier.wrapping_mul(GENERATIONS);
        Self { blocks: Vec::new(), free: Vec::new(), len: 0, first_generation }
    }

    /// Things in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Places it ever had.
    pub(super) fn places(&self) -> usize {
        self.blocks.len() * BLOCK
    }

    fn place(&self, index: u32) -> Option<&Place<T>> {
        let index = usize::try_from(index).ok()?;
        self.blocks.get(index / BLOCK)?.get(index % BLOCK)
    }

    fn place_mut(&mut self, index: u32) -> Option<&mut Place<T>> {
        let index = usize::try_from(index).ok()?;
        self.blocks.get_mut(index / BLOCK)?.get_mut(index % BLOCK)
    }

    /// Puts something in; `None` when there are 2³² already.
    pub(super) fn insert(&mut self, tenant: T) -> Option<Key> {
        if self.free.is_empty() {
            let first = u32::try_from(self.places()).ok()?;
            let last = first.checked_add(u32::try_from(BLOCK).ok()?)?;
            let generation = self.first_generation;
            self.blocks.push((0..BLOCK).map(|_| Place { generation, tenant: None }).collect());
            self.free.extend((first..last).rev());
        }
        let index = self.free.pop()?;
        let place = self.place_mut(index)?;
        place.tenant = Some(tenant);
        let key = Key { index, generation: place.generation };
        self.len += 1;
        Some(key)
    }

    /// The key of whoever has a place now.
    pub(super) fn key_at(&self, index: u32) -> Option<Key> {
        let place = self.place(index)?;
        place.tenant.is_some().then_some(Key { index, generation: place.generation })
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        self.place(key.index).filter(|place| place.generation == key.generation)?.tenant.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.place_mut(key.index).filter(|place| place.generation == key.generation)?.tenant.as_mut()
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.place_mut(key.index).filter(|place| place.generation == key.generation)?;
        let tenant = place.tenant.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.index);
        self.len -= 1;
        Some(tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_somebody_who_left_reaches_nobody_after_the_place_was_given_again() {
        let mut table = Table::default();
        let keys: Vec<_> = (0..BLOCK + 1).map(|number| table.insert(number).unwrap()).collect();
        assert_eq!((table.len(), table.places()), (BLOCK + 1, 2 * BLOCK));
        assert_eq!(table.remove(keys[7]), Some(7));
        assert_eq!(table.get(keys[7]), None);
        assert_eq!(table.remove(keys[7]), None);
        let again = table.insert(1000).unwrap();
        assert_eq!((again.index, table.get(keys[7]), table.get(again)), (keys[7].index, None, Some(&1000)));
        assert_eq!(Key::from_u64(again.to_u64()), again);
        assert_eq!(table.get(keys[BLOCK]), Some(&BLOCK));
    }
}
