//! A host of files elsewhere, and the part of an application that fetches from it: block by block, as the engine asks.

use std::collections::BTreeMap;

use ota_core::number::{ByteLength, ByteOffset};
use ota_core::time::{Instant, Millis};
use ota_device::{Input, Misuse, Profile, Updater};

/// What a host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// It serves what was put there.
    Honest,
    /// Behind so many bytes the connection breaks, and the application notices.
    BreaksAt(u64),
    /// Behind so many bytes nothing comes any more, and nobody notices.
    SilentAt(u64),
    /// Behind so many bytes it serves others.
    LiesFrom(u64),
}

/// A host of files.
#[derive(Debug, Clone)]
pub struct Host {
    files: BTreeMap<String, Vec<u8>>,
    behaviour: Behaviour,
    /// How long a block takes.
    pub block_time: Millis,
    /// How many bytes were taken from it.
    pub served_bytes: u64,
    /// The application does not fetch now.
    pub is_paused: bool,
    fetch: Option<Fetch>,
}

#[derive(Debug, Clone)]
struct Fetch {
    url: String,
    next: u64,
    block: u64,
    at: Instant,
}

impl Host {
    /// A host of these files by their URLs.
    #[must_use]
    pub const fn new(files: BTreeMap<String, Vec<u8>>, behaviour: Behaviour) -> Self {
        Self { files, behaviour, block_time: Millis(1), served_bytes: 0, is_paused: false, fetch: None }
    }

    /// The engine asks for a file from here on.
    ///
    /// # Panics
    /// If the host has no such file, or not of this length.
    pub fn begin(&mut self, url: &str, offset: ByteOffset, size: ByteLength, block: u32, now: Instant) {
        assert_eq!(self.files[url].len() as u64, size.0, "the release says how long {url} is");
        self.fetch = Some(Fetch { url: url.into(), next: offset.0, block: block.into(), at: now });
    }

    /// When the next block is there.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        self.fetch.as_ref().filter(|_| !self.is_paused).map(|fetch| fetch.at)
    }

    /// Gives the engine the block that is there now, if one is. Says whether the connection broke.
    ///
    /// # Panics
    /// If the engine refuses a block that it asked for.
    #[must_use]
    pub fn deliver<P: Profile>(&mut self, updater: &mut Updater<'_, P>, now: Instant) -> bool {
        let Some(mut fetch) = self.fetch.take_if(|fetch| fetch.at <= now) else { return false };
        match self.behaviour {
            Behaviour::BreaksAt(most) if fetch.next >= most => return true,
            Behaviour::SilentAt(most) if fetch.next >= most => return false,
            _ => {}
        }
        let file = &self.files[&fetch.url];
        let end = (fetch.next + fetch.block).min(file.len() as u64);
        let mut bytes = file[fetch.next as usize..end as usize].to_vec();
        if let Behaviour::LiesFrom(from) = self.behaviour
            && fetch.next >= from
        {
            bytes.fill(0x5a);
        }
        match updater.handle_input(Input::External { offset: ByteOffset(fetch.next), bytes: &bytes }, now) {
            Ok(()) => {
                self.served_bytes += bytes.len() as u64;
                fetch.next = end;
            }
            // There is no room yet.
            Err(Misuse::NoRoom | Misuse::NotPolled) => {}
            // It takes blocks from the server now.
            Err(Misuse::NotNow) => return false,
            Err(other) => panic!("{other}"),
        }
        fetch.at = now.plus(self.block_time);
        if fetch.next < file.len() as u64 {
            self.fetch = Some(fetch);
        }
        false
    }

    /// The device has restarted: whatever was on its way is gone.
    pub fn forget(&mut self) {
        self.fetch = None;
    }
}
