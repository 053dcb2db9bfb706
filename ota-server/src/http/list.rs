//! Lists page by page: what a list can be asked for, and how a page says where the next one begins.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Problem;
use super::body::Items;
use crate::server::PAGE_MAX;

/// Which page of a list.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    /// What the page before answered as `next`; nothing for the first one.
    #[serde(default)]
    pub(super) after: Option<String>,
    /// How many entries at most, from 1 to 1000.
    #[serde(default = "entries")]
    #[schemars(range(min = 1, max = 1000))]
    pub(super) limit: usize,
}

/// Entries of a page unless it says otherwise.
pub(super) const fn entries() -> usize {
    100
}

/// A number of entries that a page can have.
///
/// # Errors
/// [`Problem`] names the range.
pub(super) fn limit(limit: usize) -> Result<usize, Problem> {
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::invalid(format!("limit: expected a number from 1 to {PAGE_MAX}")))
}

/// A page of what comes whole from the server, in its order; `key` tells entries apart.
///
/// # Errors
/// [`Problem`] if the entry after which it begins is not in the list any more.
pub(super) fn page<E, T>(
    all: Vec<E>,
    (after, most): (Option<&str>, usize),
    key: impl Fn(&E) -> String,
    view: impl Fn(E) -> T,
) -> Result<Items<T>, Problem> {
    let most = limit(most)?;
    let begin = match after {
        None => 0,
        Some(after) => {
            let place = all.iter().position(|entry| key(entry) == after);
            place.ok_or_else(|| {
                Problem::invalid("after: that entry is not in this list; begin with the first page")
            })? + 1
        }
    };
    let next =
        all.get(begin..).filter(|rest| rest.len() > most).and_then(|rest| rest.get(most - 1)).map(&key);
    Ok(Items { items: all.into_iter().skip(begin).take(most).map(view).collect(), next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_joined_are_the_list() {
        let (mut after, mut all) = (None, Vec::new());
        loop {
            let list = (0..10).collect::<Vec<u32>>();
            let page = page(list, (after.as_deref(), 3), u32::to_string, |entry| entry).unwrap();
            assert!(page.items.len() <= 3);
            all.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(all, (0..10).collect::<Vec<u32>>());
    }

    #[test]
    fn a_page_behind_nothing_and_a_page_of_nothing_are_refused() {
        let of = |after: Option<&str>, limit| page(vec![1, 2], (after, limit), i32::to_string, |entry| entry);
        assert!(of(Some("3"), 10).is_err());
        assert!(of(None, 0).is_err());
        assert!(of(None, PAGE_MAX + 1).is_err());
        assert_eq!(of(Some("2"), 10).unwrap().items, Vec::<i32>::new());
        assert_eq!(of(None, 2).unwrap().next, None);
    }
}
