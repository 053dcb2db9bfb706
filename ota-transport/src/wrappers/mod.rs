//! Links around links: they inject faults or count, and keep everything else that the inner link promises.

mod faulty;
mod metered;

pub use faulty::{FaultyLink, InjectedFaults, LinkFaults};
pub use metered::{LinkCounts, MeteredLink};
