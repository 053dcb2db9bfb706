//! The suite of [`FleetStore`]: every sentence of the trait is a case.
//!
//! ```
//! use ota_core::conformance::{fleet_store, memory::MemoryFleetStore};
//! # async fn conforms() {
//! fleet_store(async || MemoryFleetStore::new()).await;
//! # }
//! ```

mod concurrency;
mod leases;
mod reopened;
mod samples;
mod scans;
mod totals;
mod units;

use crate::fleet::FleetStore;

pub use reopened::fleet_store_reopened;

/// Asks a store for everything that [`FleetStore`] promises while a process runs. `fresh` opens an empty store each
/// time; [`fleet_store_reopened`] asks for what survives.
///
/// # Panics
/// At the first broken promise.
pub async fn fleet_store<S: FleetStore>(fresh: impl AsyncFn() -> S) {
    macro_rules! ask {
        ($($area:ident: $($case:ident)+;)+) => { $($($area::$case(&fresh().await).await;)+)+ };
    }
    ask! {
        units:
            a_fresh_store_is_empty
            records_of_every_kind_are_loaded_as_they_were_written
            the_largest_record_is_stored_and_a_larger_one_refused
            versions_rise_by_one
            a_removed_record_is_gone_and_begins_again
            a_unit_in_conflict_does_nothing_and_names_the_record
            a_conflict_does_not_hinder_other_units
            units_of_one_commit_see_each_other_in_order
            the_first_of_two_units_that_expect_the_same_version_wins
            a_record_that_is_only_expected_is_checked_and_left_alone
            a_unit_that_breaks_a_rule_is_refused_with_its_whole_call
            nothing_to_do_is_no_error
            records_are_loaded_in_the_order_of_the_keys;
        scans:
            a_table_is_walked_in_the_order_of_its_keys
            a_prefix_narrows_a_table
            places_follow_what_is_written
            records_with_the_same_place_come_in_the_order_of_their_keys
            a_record_is_found_once_for_each_of_its_places
            an_index_is_walked_between_bounds
            pages_join_without_gap_or_repetition
            a_walk_goes_on_while_others_write
            a_cursor_of_another_query_is_refused;
        totals:
            changes_of_a_counter_add_up
            counters_of_zero_vanish
            a_group_of_counters_holds_no_others
            audit_entries_are_numbered_and_chained
            the_audit_chain_is_read_in_parts;
        leases:
            a_lease_has_one_holder
            asking_again_prolongs_with_the_same_token
            a_returned_lease_is_taken_with_a_higher_token
            a_lease_that_ran_out_is_taken_with_a_higher_token
            only_the_holder_gives_back
            leases_of_other_names_are_apart;
        concurrency:
            one_of_many_calls_that_expect_the_same_version_wins
            counters_of_concurrent_calls_add_up
            a_dropped_commit_happened_whole_or_not_at_all
            a_load_sees_one_state;
    }
}
