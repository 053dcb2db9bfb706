//! The window as scripts, and against a plain model.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn ask(window: &mut Window, most: u16) -> Vec<u64> {
    let mut bitmap = [0; BITMAP_BYTES];
    let Some(asked) = window.ask(most, u64::MAX, 256, &mut bitmap) else { return Vec::new() };
    let blocks: Vec<u64> = (0..8 * BITMAP_BYTES)
        .filter(|bit| bitmap[bit / 8] >> (bit % 8) & 1 == 1)
        .map(|bit| asked.first + bit as u64)
        .collect();
    assert_eq!(blocks.len(), usize::from(asked.blocks));
    assert_eq!(blocks.last(), Some(&asked.last));
    blocks
}

fn arrive(window: &mut Window, block: u64) -> bool {
    match window.judge(block) {
        Arrival::Wanted(sequence) => {
            window.take(block, sequence);
            window.finish(block);
            true
        }
        Arrival::Late => {
            window.hold(block);
            window.finish(block);
            true
        }
        _ => false,
    }
}

#[test]
fn a_lost_block_is_asked_for_again_when_three_later_ones_have_come() {
    let mut window = Window::new(10, 0);
    assert_eq!(ask(&mut window, 5), [0, 1, 2, 3, 4]);
    assert!(arrive(&mut window, 1) && arrive(&mut window, 2));
    assert_eq!(window.give_up_overtaken(), 0);
    assert!(arrive(&mut window, 3));
    assert_eq!(window.give_up_overtaken(), 1);
    assert_eq!(ask(&mut window, 2), [0, 5]);
    assert_eq!(window.in_flight(), 3);
}

#[test]
fn where_few_blocks_are_on_their_way_a_lost_one_is_missed_sooner() {
    let mut window = Window::new(10, 0);
    assert_eq!(ask(&mut window, 2), [0, 1]);
    assert!(arrive(&mut window, 1));
    assert_eq!(window.give_up_overtaken(), 1);
    assert_eq!(ask(&mut window, 3), [0, 2, 3]);
    assert!(arrive(&mut window, 2));
    assert_eq!(window.give_up_overtaken(), 0);
    assert!(arrive(&mut window, 3));
    assert_eq!(window.give_up_overtaken(), 1);
}

#[test]
fn a_block_that_nobody_asked_for_is_a_stray() {
    let mut window = Window::new(10, 2);
    assert_eq!(window.judge(1), Arrival::Duplicate);
    assert_eq!(window.judge(2), Arrival::Stray);
    assert_eq!(window.judge(10), Arrival::Stray);
    assert_eq!(window.judge(u64::MAX), Arrival::Stray);
    assert_eq!(ask(&mut window, 1), [2]);
    assert!(arrive(&mut window, 2));
    assert_eq!(window.judge(2), Arrival::Duplicate);
}

#[test]
fn an_empty_part_is_complete_at_once() {
    assert!(Window::new(0, 0).is_complete());
    assert!(Window::new(5, 9).is_complete());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_block_is_taken_exactly_once_whatever_the_link_does(
        blocks in 1_u64..700,
        done in 0_u64..50,
        script in proptest::collection::vec((1_u16..64, any::<u64>()), 1..60),
    ) {
        let mut window = Window::new(blocks, done);
        let mut taken: BTreeSet<u64> = (0..done.min(blocks)).collect();
        let mut in_flight = Vec::new();
        let mut steps = script.into_iter().cycle();
        // A link that repeats one message for ever and delivers no other is not one that anything can finish on.
        for step in 0..20_000_u64 {
            if window.is_complete() {
                break;
            }
            let (most, dice) = steps.next().unwrap();
            let dice = (dice ^ step).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7;
            in_flight.extend(ask(&mut window, most));
            if dice % 7 == 0 {
                in_flight.clear();
                window.give_up_all();
            }
            if !in_flight.is_empty() {
                let block = in_flight[(dice % in_flight.len() as u64) as usize];
                if dice % 3 != 0 {
                    in_flight.retain(|other| *other != block);
                }
                let was_new = !taken.contains(&block);
                if arrive(&mut window, block) {
                    prop_assert!(was_new, "block {} twice", block);
                    taken.insert(block);
                }
            }
            window.give_up_overtaken();
            prop_assert!((0..window.base()).all(|block| taken.contains(&block)));
        }
        prop_assert!(window.is_complete());
        prop_assert_eq!(taken.len() as u64, blocks);
    }
}
