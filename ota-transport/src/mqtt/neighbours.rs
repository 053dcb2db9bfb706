//! Which servers of the same group are well, as they tell each other through the broker that they share.
//!
//! A server whose store does not answer leaves its share of the messages to the others, but only to one that is well: where
//! nobody is, devices are better off with a server that tells them to wait and sends what it has in memory than with
//! nobody at all. What is heard here comes from servers alone, for the broker lets no device publish it; whoever forged it
//! could make ailing servers leave, and nothing else.

use core::hash::{BuildHasher, Hasher};
use core::time::Duration;
use std::collections::HashMap;
use std::hash::RandomState;

use bytes::Bytes;
use ota_core::fleet::Share;
use tokio::time::Instant;

/// How often a server says that it is well.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// For how long that is believed: two words may be lost.
const BELIEVED_FOR: Duration = Duration::from_secs(3);
/// How many are known at once. What is said beyond that is not heard.
const NEIGHBOURS_MAX: usize = 64;

/// What a word begins with; the name of who says it follows.
const WELL: u8 = b'+';
const AILING: u8 = b'-';

/// A name that no other server draws.
type Name = [u8; 8];

/// What is known of the other servers of the group.
#[derive(Debug)]
pub(super) struct Neighbours {
    own: Name,
    /// When each that is well has said so last.
    well: HashMap<Name, Instant>,
    /// What was said of this one last, and when.
    told: Option<(Share, Instant)>,
}

impl Neighbours {
    pub(super) fn new() -> Self {
        let own = RandomState::new().build_hasher().finish().to_be_bytes();
        Self { own, well: HashMap::new(), told: None }
    }

    /// What a server that wants this share has to say now; nothing while what it has said is still known.
    ///
    /// That it is well is said again and again, that it is not once and at once: so of servers that fall ill together the
    /// last one knows that it is.
    pub(super) fn word(&mut self, wanted: Share, now: Instant) -> Option<Bytes> {
        let is_known = self.told.is_some_and(|(told, at)| {
            told == wanted && (wanted == Share::Left || now.duration_since(at) < TELL_EVERY)
        });
        if is_known {
            return None;
        }
        self.told = Some((wanted, now));
        let state = match wanted {
            Share::Taken => WELL,
            Share::Left => AILING,
        };
        Some([&[state], self.own.as_slice()].concat().into())
    }

    /// What a server of the group has said; anything else says nothing.
    pub(super) fn hear(&mut self, word: &[u8], now: Instant) {
        let Some((state, name)) = word.split_first() else { return };
        let Ok(name) = Name::try_from(name) else { return };
        self.well.retain(|_, at| now.duration_since(*at) < BELIEVED_FOR);
        match *state {
            WELL if name != self.own && self.well.len() < NEIGHBOURS_MAX => {
                self.well.insert(name, now);
            }
            AILING => {
                self.well.remove(&name);
            }
            _ => {}
        }
    }

    /// The share of a server that wants this one: it leaves none while nobody could do anything with it.
    pub(super) fn share(&self, wanted: Share, now: Instant) -> Share {
        let is_well = |at: &Instant| now.duration_since(*at) < BELIEVED_FOR;
        if self.well.values().any(is_well) { wanted } else { Share::Taken }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Instant {
        static BEGUN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        *BEGUN + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_share_is_left_to_somebody_who_has_just_said_to_be_well_and_to_nobody_else() {
        let (mut one, mut other) = (Neighbours::new(), Neighbours::new());
        assert_eq!(one.share(Share::Left, at(0)), Share::Taken, "nobody is there");
        let own = one.word(Share::Taken, at(0)).unwrap();
        one.hear(&own, at(0));
        assert_eq!(one.share(Share::Left, at(0)), Share::Taken, "it is alone");
        one.hear(&other.word(Share::Taken, at(0)).unwrap(), at(0));
        assert_eq!(one.share(Share::Taken, at(0)), Share::Taken);
        assert_eq!(one.share(Share::Left, at(2_999)), Share::Left);
        assert_eq!(one.share(Share::Left, at(3_000)), Share::Taken, "it has gone without a word");
        one.hear(&other.word(Share::Taken, at(4_000)).unwrap(), at(4_000));
        assert_eq!(one.share(Share::Left, at(4_000)), Share::Left);
        one.hear(&other.word(Share::Left, at(4_100)).unwrap(), at(4_100));
        assert_eq!(one.share(Share::Left, at(4_100)), Share::Taken, "both are ailing");
    }

    #[test]
    fn to_be_well_is_said_every_second_and_to_ail_once() {
        let mut one = Neighbours::new();
        let mut says = |wanted, milliseconds| one.word(wanted, at(milliseconds)).map(|word| word[0]);
        assert_eq!(says(Share::Taken, 0), Some(WELL));
        assert_eq!(says(Share::Taken, 999), None);
        assert_eq!(says(Share::Taken, 1_000), Some(WELL));
        assert_eq!(says(Share::Left, 1_001), Some(AILING));
        assert_eq!(says(Share::Left, 9_000), None);
        assert_eq!(says(Share::Taken, 9_001), Some(WELL));
    }

    #[test]
    fn words_of_strangers_change_nothing_and_fill_no_memory() {
        let mut one = Neighbours::new();
        for word in [&b""[..], b"+", b"-", b"+1234567", b"+123456789", b"?12345678"] {
            one.hear(word, at(0));
            assert_eq!(one.share(Share::Left, at(0)), Share::Taken, "{word:?}");
        }
        for number in 0..1_000_u64 {
            one.hear(&[&[WELL], number.to_be_bytes().as_slice()].concat(), at(0));
        }
        assert_eq!(one.well.len(), NEIGHBOURS_MAX);
        one.hear(&[&[WELL], [9; 8].as_slice()].concat(), at(4_000));
        assert_eq!(one.well.len(), 1, "who is silent is forgotten");
    }
}
