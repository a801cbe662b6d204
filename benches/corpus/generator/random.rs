//! SplitMix64: small, fast, and the same on every machine. Integers only, so that no `ln` of some libc decides a corpus.

pub(crate) struct Random(u64);

impl Random {
    /// The stream of one application: independent of the thread that makes it and of how many applications there are.
    pub(crate) fn for_application(seed: u64, application: u64) -> Self {
        let mut random =
            Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ application.wrapping_mul(0xd1b5_4a32_d192_ed03));
        random.bits();
        random
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound.max(1)
    }

    /// Uniform in `low..=high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Nearly exponential with this mean: an octave by its probability, uniform inside it. Task durations look like this.
    pub(crate) fn skewed(&mut self, mean: u64) -> u64 {
        let bits = self.bits();
        let octave = u64::from((bits >> 32 | 1).leading_zeros().saturating_sub(32));
        (octave * 1000 + (bits & 0xffff_ffff) % 1000) * mean * 693 / 1_000_000
    }

    /// True once in `1 / rate`.
    pub(crate) fn happens(&mut self, rate: f64) -> bool {
        rate > 0.0 && (self.below(1_000_000) as f64) < rate * 1e6
    }
}
