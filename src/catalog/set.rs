/// A set of places, one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set(Vec<u64>);

impl Set {
    pub(super) fn new(size: usize) -> Self {
        Self(vec![0; size.div_ceil(64)])
    }

    pub(super) fn full(size: usize) -> Self {
        let mut set = Self(vec![u64::MAX; size.div_ceil(64)]);
        if let (Some(last), 1..) = (set.0.last_mut(), size % 64) {
            *last >>= 64 - size % 64;
        }
        set
    }

    pub(super) fn extend(&mut self, places: &[u32]) {
        for place in places {
            self.0[*place as usize / 64] |= 1 << (place % 64);
        }
    }

    pub(super) fn intersect(&mut self, other: &Self) {
        for (ours, theirs) in self.0.iter_mut().zip(&other.0) {
            *ours &= theirs;
        }
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(ours, theirs)| ours & theirs != 0)
    }

    pub(super) fn contains(&self, place: usize) -> bool {
        self.0[place / 64] >> (place % 64) & 1 == 1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|bits| *bits == 0)
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|bits| bits.count_ones() as usize).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(i, bits)| {
            let mut left = *bits;
            std::iter::from_fn(move || {
                let lowest = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(i * 64 + lowest)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_what_was_put_in() {
        for size in [0, 1, 63, 64, 65, 130] {
            assert_eq!(Set::full(size).iter().collect::<Vec<_>>(), (0..size).collect::<Vec<_>>());
        }
        let (mut odd, mut small) = (Set::new(100), Set::new(100));
        odd.extend(&[1, 63, 65, 99]);
        small.extend(&[0, 1, 63]);
        assert!(odd.meets(&small) && odd.contains(65) && !odd.contains(64));
        odd.intersect(&small);
        assert_eq!((odd.iter().collect::<Vec<_>>(), odd.len(), odd.is_empty()), (vec![1, 63], 2, false));
    }
}
