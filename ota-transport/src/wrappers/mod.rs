//! Links around links: they inject faults, count or tell, and keep everything else that the inner link promises.

mod faulty;
mod metered;
mod traced;

pub use faulty::{FaultyLink, InjectedFaults, LinkFaults};
pub use metered::{LinkCounts, MeteredLink};
pub use traced::TracedLink;
