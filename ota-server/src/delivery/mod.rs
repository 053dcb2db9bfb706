//! Delivery: permissions to fetch, and the blocks themselves, without a look into a database.

pub mod budget;
pub mod fetch;
pub mod grant;
pub mod shelf;
