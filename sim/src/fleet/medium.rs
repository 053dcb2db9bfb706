//! A disk in memory that knows what was synced: when the power goes, of everything else any part may be left.
//!
//! The store on it is the real one. A cut falls between two operations of the store or inside one; afterwards the disk
//! refuses everything, so nothing that the dying server does reaches what the next one finds.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

use crate::random::Dice;

/// A disk; clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    written: Vec<u8>,
    synced: Vec<u8>,
    /// What was done since the last sync, in order.
    pending: Vec<Change>,
    /// How many more operations there are before the power goes.
    left: Option<u64>,
    is_cut: bool,
}

#[derive(Debug)]
enum Change {
    Length(usize),
    Write { offset: usize, bytes: Vec<u8> },
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Length(length) => to.resize(*length, 0),
            Self::Write { offset, bytes } => {
                if to.len() < offset + bytes.len() {
                    to.resize(offset + bytes.len(), 0);
                }
                to[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

impl Disk {
    /// The power goes behind so many more changes.
    pub(super) fn cut_after(&self, operations: u64) {
        self.platter().left = Some(operations);
    }

    /// The power stays on after all, if it has not gone yet.
    pub(super) fn stays_on(&self) {
        self.platter().left = None;
    }

    /// Whether the power is gone.
    pub(super) fn is_cut(&self) -> bool {
        self.platter().is_cut
    }

    /// Another disk with what is durable on this one.
    pub(super) fn copy(&self) -> Self {
        let durable = self.platter().synced.clone();
        let found = Platter { written: durable.clone(), synced: durable, ..Platter::default() };
        Self(Arc::new(Mutex::new(found)))
    }

    /// The power goes now, if it has not. What the next server finds: all that was synced, and of the rest what chance
    /// leaves of it, whole or in part.
    pub(super) fn after_the_cut(&self, dice: &mut Dice) -> Self {
        let mut platter = self.platter();
        platter.is_cut = true;
        let mut left = platter.synced.clone();
        for change in &platter.pending {
            match (dice.below(4), change) {
                (0 | 1, change) => change.apply(&mut left),
                (2, Change::Write { offset, bytes }) => {
                    let torn = Change::Write { offset: *offset, bytes: bytes[..bytes.len() / 2].to_vec() };
                    torn.apply(&mut left);
                }
                _ => {}
            }
        }
        let found = Platter { written: left.clone(), synced: left, ..Platter::default() };
        Self(Arc::new(Mutex::new(found)))
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().expect("no panic holds it")
    }

    /// The disk for one operation, unless the power is gone.
    fn change(&self) -> io::Result<MutexGuard<'_, Platter>> {
        let mut platter = self.platter();
        match platter.left {
            Some(0) => platter.is_cut = true,
            Some(left) => platter.left = Some(left - 1),
            None => {}
        }
        if platter.is_cut { Err(io::Error::other("the power is gone")) } else { Ok(platter) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.platter().written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.platter();
        if platter.is_cut {
            return Err(io::Error::other("the power is gone"));
        }
        let offset = offset as usize;
        let found = platter.written.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platter = self.change()?;
        let change = Change::Length(len as usize);
        change.apply(&mut platter.written);
        platter.pending.push(change);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.change()?;
        let pending = core::mem::take(&mut platter.pending);
        for change in pending {
            change.apply(&mut platter.synced);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.change()?;
        let change = Change::Write { offset: offset as usize, bytes: data.to_vec() };
        change.apply(&mut platter.written);
        platter.pending.push(change);
        Ok(())
    }
}
