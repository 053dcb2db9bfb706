//! A row of choices, and what can be made of it. Without further choices each answer is the smallest there is.

/// A type that can be made from choices.
pub trait Generate: Sized {
    /// Makes a value that obeys all rules of its type. The same choices give the same value.
    fn generate(choices: &mut Choices<'_>) -> Self;
}

/// A row of bytes, drawn one by one; zeros follow its end.
pub struct Choices<'c> {
    draw: &'c mut dyn FnMut() -> u8,
}

impl core::fmt::Debug for Choices<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Choices")
    }
}

impl<'c> Choices<'c> {
    /// Draws from `draw`, which gives zeros when it has nothing more.
    pub fn new(draw: &'c mut dyn FnMut() -> u8) -> Self {
        Self { draw }
    }

    /// Makes a value from the bytes of a slice.
    #[must_use]
    pub fn make<T: Generate>(bytes: &[u8]) -> T {
        let mut bytes = bytes.iter();
        let mut draw = || bytes.next().copied().unwrap_or_default();
        T::generate(&mut Choices::new(&mut draw))
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        (self.draw)()
    }

    /// `false` first.
    pub fn flip(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// `None` first.
    pub fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.flip() { Some(make(self)) } else { None }
    }

    /// A number of at most `max`: small ones and the largest are likely, and all lengths of an encoded integer occur.
    pub fn up_to(&mut self, max: u64) -> u64 {
        let value = match self.byte() {
            255 => return max,
            254 => max.saturating_sub(u64::from(self.byte() & 3)),
            width => (0..width % 9).fold(0, |value, _| value << 8 | u64::from(self.byte())),
        };
        if value <= max { value } else { value % (max + 1) }
    }

    /// A number within both bounds.
    pub fn between(&mut self, min: u64, max: u64) -> u64 {
        min + self.up_to(max - min)
    }

    /// 16 bits.
    pub fn u16(&mut self) -> u16 {
        self.up_to(u16::MAX.into()) as u16
    }

    /// 32 bits.
    pub fn u32(&mut self) -> u32 {
        self.up_to(u32::MAX.into()) as u32
    }

    /// 64 bits.
    pub fn u64(&mut self) -> u64 {
        self.up_to(u64::MAX)
    }

    /// A position in a list that is not empty.
    pub fn index(&mut self, length: usize) -> usize {
        usize::from(self.byte()) % length
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.index(values.len())]
    }

    /// Drawn bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        core::array::from_fn(|_| self.byte())
    }

    /// As many bytes as the bounds allow, for contents whose meaning does not matter: a drawn pattern, repeated.
    pub fn filler(&mut self, min: usize, max: usize) -> Vec<u8> {
        let length = self.between(min as u64, max as u64) as usize;
        let pattern: [u8; 7] = self.array();
        (0..length).map(|index| pattern[index % pattern.len()]).collect()
    }

    /// A list of as many values as the bounds allow; mostly few.
    pub fn list<T>(&mut self, min: usize, max: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let mut list: Vec<T> = (0..min).map(|_| make(self)).collect();
        while list.len() < max && !self.byte().is_multiple_of(4) {
            list.push(make(self));
        }
        list
    }

    /// A text of `min` to `max` characters out of `alphabet`.
    pub fn text(&mut self, alphabet: &str, min: usize, max: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        let length = self.between(min as u64, max as u64) as usize;
        (0..length).map(|_| self.one_of(&alphabet)).collect()
    }
}
