//! How a campaign and a fleet develop over time, as charts are drawn from it.

use ota_core::fleet::records::{AttemptPhase, Pace, Plan, Stage};
use ota_core::time::Millis;
use ota_core::wire::{Part, Phase, ReportCode};

use crate::support::*;

const MINUTE: Millis = Millis(60_000);

#[tokio::test]
async fn progress_over_time_tells_phases_causes_and_an_end_that_comes_true() {
    let world = World::new().await;
    let names: Vec<String> = (0..30).map(|number| format!("lamp-{number}")).collect();
    let new: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &[][..])).collect();
    world.register(&new).await;
    let release = world.release("1.1", &[1; 100]).await;
    let stages = vec![Stage { pace: Pace::AtOnce, ..plan().stages[0].clone() }];
    let campaign = world.start_campaign(draft(&world, release, Plan { stages, ..plan() })).await;
    world.server.tick().await.unwrap();
    for (number, name) in names.iter().enumerate() {
        world.pass(Millis(10 * MINUTE.0));
        let mut lamp = Lamp::new(name, "1.0");
        if number == 7 {
            let offer = lamp.offer(&world).await;
            lamp.fetch(&world, &offer, Part::ReleaseBody, u64::from(offer.body)).await;
            lamp.report(&world, &offer, 0, Phase::Failed, ReportCode::IntegrityMismatch).await;
            world.pass(MINUTE);
            let offer = lamp.offer(&world).await;
            lamp.report(&world, &offer, 0, Phase::Failed, ReportCode::IntegrityMismatch).await;
        } else {
            lamp.update(&world, "1.1", 100).await;
        }
        world.server.tick().await.unwrap();
        if number == 20 {
            let report = world.server.progress(&operator(), campaign).await.unwrap();
            let left = report.projected_end.unwrap().since(world.now());
            assert!(
                (80 * MINUTE.0..120 * MINUTE.0).contains(&left.0),
                "9 devices at one in ten minutes: {left:?}"
            );
        }
    }
    let report = world.server.progress(&operator(), campaign).await.unwrap();
    assert_eq!(report.projected_end, None, "everybody has ended");
    let last = report.samples.last().unwrap();
    assert_eq!((last.confirmed, last.failed, last.causes), (29, 1, Some([0, 1, 0, 0])));
    let confirmed = |sample: &ota_core::fleet::records::Sample| {
        let phases = sample.phases.as_ref().unwrap();
        phases.iter().find(|line| line.phase == AttemptPhase::Confirmed).map_or(0, |line| line.devices)
    };
    assert!(report.samples.len() > 25);
    assert!(report.samples.windows(2).all(|pair| confirmed(&pair[0]) <= confirmed(&pair[1])));
    assert!(report.samples.iter().all(|sample| confirmed(sample) == sample.confirmed));
    world.pass(Millis(50 * HOUR.0));
    world.server.tick().await.unwrap();
    let later = world.server.progress(&operator(), campaign).await.unwrap();
    assert_eq!(later.campaign.samples, report.campaign.samples, "a campaign at rest writes nothing");
    assert_eq!(later.samples.last().unwrap().at, world.now(), "and its chart still ends now");
}

#[tokio::test]
async fn the_spread_of_revisions_over_time_is_kept_and_survives_a_restart() {
    let mut world = World::new().await;
    world.register(&[("lamp-1", &[]), ("lamp-2", &[])]).await;
    let old = world.release("1.0", &[0; 100]).await;
    let release = world.release("1.1", &[1; 100]).await;
    assert_ne!(old, release);
    world.start_campaign(draft(&world, release, plan())).await;
    world.server.tick().await.unwrap();
    for name in ["lamp-1", "lamp-2"] {
        Lamp::new(name, "1.0").check_in(&world).await;
    }
    world.pass(HOUR);
    world.server.tick().await.unwrap();
    Lamp::new("lamp-1", "1.0").update(&world, "1.1", 100).await;
    world.pass(Millis(3 * HOUR.0));
    world.server.tick().await.unwrap();
    world.restart().await;
    Lamp::new("lamp-2", "1.0").update(&world, "1.1", 100).await;
    world.pass(MINUTE);
    let course = world.server.fleet_course(&operator(), &world.product).await.unwrap();
    assert_eq!(course.devices.last(), Some(&(world.now(), 2)));
    let [file] = course.files.as_slice() else { panic!("{course:?}") };
    assert_eq!(&*file.file, "app.bin");
    let having = |revision: &str| -> Vec<u64> {
        let of = |point: &ota_server::FilePoint| {
            let found = point.revisions.iter().find(|(name, _)| name.as_deref() == Some(revision));
            found.map_or(0, |(_, devices)| *devices)
        };
        file.points.iter().map(of).collect()
    };
    assert_eq!(having("1.0"), [2, 2, 1, 0], "two, still two just before the change, one, and none now");
    assert_eq!(having("1.1"), [0, 0, 1, 2]);
    assert_eq!(world.server.fleet_sizes(&operator()).await.unwrap(), [(world.product.clone(), 2)]);
    assert!(world.server.fleet_course(&person("x", &[]), &world.product).await.is_err());
}
