//! Fetching one part in blocks, as fast as the link allows and no faster than the application wants.

mod cells;
mod pace;
mod transfer;
mod window;

pub(crate) use pace::Pace;
pub(crate) use transfer::{Sink, Transfer, Under, UnitSink, cell_bytes};
pub(crate) use window::BITMAP_BYTES;
