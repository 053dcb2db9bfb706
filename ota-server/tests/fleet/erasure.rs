//! Erasing one device: nothing but a digest stays, evidence is not taken away, and the device is refused.

use ota_core::fleet::records::{CampaignState, Target};
use ota_core::fleet::{Dialect, FleetStore, Query, Table};
use ota_core::number::FileIndex;
use ota_core::text::DeviceIdBuf;
use ota_core::time::Millis;
use ota_core::wire::{Part, RefuseCode};
use ota_server::rules::campaign::Draft;
use ota_server::rules::erasure;
use ota_server::{CommandError, NewEnrolment, Proof};

use crate::support::*;

fn id(name: &str) -> DeviceIdBuf {
    DeviceIdBuf::new(name).unwrap()
}

/// The tables that hold this text in a key or a record.
async fn tables_with(world: &World, text: &str) -> Vec<Table> {
    let mut found = Vec::new();
    for table in Table::ALL {
        let mut after = None;
        loop {
            let page = world.store.scan(&Query::table(*table), after.as_ref(), 1000).await.unwrap();
            for (key, stored) in page.items {
                let bytes = [key.to_bytes(), stored.record.to_bytes()].concat();
                if bytes.windows(text.len()).any(|part| part == text.as_bytes()) && !found.contains(table) {
                    found.push(*table);
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    found
}

#[tokio::test]
async fn of_an_erased_device_a_digest_stays_and_nothing_else() {
    let world = World::new().await;
    world.register(&[("lamp-1", &["owner=jane"]), ("lamp-2", &[])]).await;
    let release = world.release("1.1", &[7; 5000]).await;
    let listed = Target::Devices { ids: vec![id("lamp-1"), id("lamp-2")] };
    let campaign = world.start_campaign(Draft { target: listed, ..draft(&world, release, plan()) }).await;
    let (mut one, mut two) = (Lamp::new("lamp-1", "1.0"), Lamp::new("lamp-2", "1.0"));
    two.update(&world, "1.1", 5000).await;
    let offer = one.offer(&world).await;
    one.fetch(&world, &offer, Part::File(FileIndex(0)), 1024).await;
    let server = &world.server;
    let only = NewEnrolment { device: Some(id("lamp-1")), uses_max: 1, ..NewEnrolment::default() };
    server.enrol(&operator(), &world.product, &[Proof::Token(b"for one")], &only).await.unwrap();
    server.stop_campaign(&operator(), campaign, "the owner asked").await.unwrap();

    let entries = server.audit_entries(&admin(), 1, 1000).await.unwrap().len();
    let erased = server.erase_device(&admin(), &id("lamp-1"), "asked for").await.unwrap();
    assert_eq!((erased.attempts, erased.enrolments, erased.lists), (1, 1, 1));
    assert_eq!(erased.named_in, [""; 0]);
    assert_eq!(tables_with(&world, "lamp-1").await, []);
    assert_eq!(tables_with(&world, "owner=jane").await, []);
    assert!(!tables_with(&world, "lamp-2").await.is_empty());
    world.assert_counters_are_exact().await;

    let new = server.audit_entries(&admin(), 1, 1000).await.unwrap().split_off(entries);
    assert_eq!(new.len(), 1);
    assert_eq!(new[0].draft.action, "device.erase");
    assert_eq!(new[0].draft.subject, erasure::digest_of(&id("lamp-1")).to_string());
    assert!(!new[0].draft.detail.contains("lamp-1"), "{}", new[0].draft.detail);

    assert_eq!(*world.link.closed.lock().unwrap(), [id("lamp-1")]);
    world.heard_by(&id("lamp-1"));
    let want = one.want(&offer, Part::File(FileIndex(0)), 1024, 1024, 1);
    let answers = world.say("lamp-1", Dialect::Native, want).await;
    assert!(
        matches!(answers.as_slice(), [one] if matches!(answer(one), Answer::Refuse(RefuseCode::UnknownDevice))),
        "what it was downloading ends"
    );
    assert!(matches!(one.check_in(&world).await, Answer::Refuse(RefuseCode::UnknownDevice)));
    let again = server.erase_device(&admin(), &id("lamp-1"), "asked for").await;
    assert!(matches!(again, Err(CommandError::NoDevice(_))));
    let claim = server.register_itself(&id("lamp-1"), Proof::Token(b"for one")).await;
    assert!(matches!(claim, Err(CommandError::Claim)), "what let it in is gone as well");
    world.register(&[("lamp-1", &[])]).await;
    let report = server.device(&operator(), &id("lamp-1")).await.unwrap();
    assert!(report.history.is_empty() && report.tags.is_empty(), "it comes back as a new one");
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn a_device_that_a_campaign_still_counts_on_is_not_erased() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[]), ("lamp-2", &[]), ("lamp-3", &[])]).await;
    let release = world.release("1.1", &[7; 5000]).await;
    let campaign = world.start_campaign(draft(&world, release, plan())).await;
    Lamp::new("lamp-1", "1.0").offer(&world).await;
    let listed = Target::Devices { ids: vec![id("lamp-2")] };
    let drafted = Draft { target: listed, ..draft(&world, release, plan()) };
    let drafted = world.server.draft_campaign(&operator(), drafted).await.unwrap();
    let server = &world.server;
    let erase = async |name: &str| server.erase_device(&admin(), &id(name), "asked for").await;
    let before = server.audit_entries(&admin(), 1, 1000).await.unwrap().len();
    for (name, by) in [("lamp-1", campaign), ("lamp-2", drafted)] {
        let refused = erase(name).await;
        assert!(
            matches!(refused, Err(CommandError::StillCounted(found)) if found == by),
            "{name}: {refused:?}"
        );
    }
    server.pause_campaign(&operator(), campaign, "to think").await.unwrap();
    assert!(matches!(erase("lamp-1").await, Err(CommandError::StillCounted(_))), "it may be resumed");
    assert_eq!(server.device(&operator(), &id("lamp-1")).await.unwrap().history.len(), 1);
    assert_eq!(server.audit_entries(&admin(), 1, 1000).await.unwrap().len(), before + 1, "the pause alone");
    // Nothing is judged of one that never had an offer.
    assert_eq!(erase("lamp-3").await.unwrap().attempts, 0);
    server.stop_campaign(&operator(), campaign, "enough").await.unwrap();
    assert_eq!(erase("lamp-1").await.unwrap().attempts, 1);
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn a_completed_campaign_goes_on_without_the_erased_device() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[]), ("lamp-2", &[])]).await;
    let release = world.release("1.1", &[7; 5000]).await;
    let campaign = world.start_campaign(draft(&world, release, plan())).await;
    Lamp::new("lamp-1", "1.0").update(&world, "1.1", 5000).await;
    for _ in 0..3 {
        world.pass(Millis(1000));
        world.server.tick().await.unwrap();
    }
    let state = async || world.server.progress(&operator(), campaign).await.unwrap().campaign.state;
    assert_eq!(state().await, CampaignState::Completed);
    world.server.erase_device(&admin(), &id("lamp-1"), "asked for").await.unwrap();
    world.server.tick().await.unwrap();
    assert_eq!(state().await, CampaignState::Completed);
    Lamp::new("lamp-2", "1.0").update(&world, "1.1", 5000).await;
    world.assert_counters_are_exact().await;
}

#[tokio::test]
async fn what_people_wrote_by_hand_is_told_and_many_traces_take_several_commits() {
    let world = World::new().await;
    world.register(&[("lamp-1", &[]), ("lamp-2", &[])]).await;
    let server = &world.server;
    let tokens: Vec<String> = (0..1200).map(|number| format!("token {number}")).collect();
    let only = NewEnrolment { device: Some(id("lamp-1")), uses_max: 1, ..NewEnrolment::default() };
    for part in tokens.chunks(600) {
        let proofs: Vec<Proof<'_>> = part.iter().map(|token| Proof::Token(token.as_bytes())).collect();
        server.enrol(&operator(), &world.product, &proofs, &only).await.unwrap();
    }
    server.set_group(&operator(), &world.product, "mine", "id = lamp-1 or id = lamp-2").await.unwrap();
    server.set_group(&operator(), &world.product, "all", "id = lamp-*").await.unwrap();
    let erased = server.erase_device(&admin(), &id("lamp-1"), "asked for").await.unwrap();
    assert_eq!(erased.enrolments, 1200);
    assert_eq!(erased.named_in, ["group mine"]);
    assert_eq!(tables_with(&world, "lamp-1").await, [Table::Group]);
    world.assert_counters_are_exact().await;
}
