//! Every page, light and dark, wide and narrow: accessible, and photographed for people to look at.

use ota_server::{NewEnrolment, Proof};
use serde_json::json;

use crate::browser::Browser;
use crate::devices::{self, Fate};
use crate::support::{World, gate, machine, plan, plan_with_trial};

/// Tables that are wider than their room, and what is in them that has no name of a column beside it.
const PUSHED_TABLES: &str = r#"
    const isSeen = (node) => node.checkVisibility({ contentVisibilityAuto: true, visibilityProperty: true });
    const wide = [...document.querySelectorAll(".scroll, table")].filter((box) => isSeen(box) && box.scrollWidth > box.clientWidth);
    const names = [...document.querySelectorAll(".scroll > table tbody td")].filter((cell) => !("label" in cell.dataset));
    return [...wide, ...names].map((node) => node.outerHTML.slice(0, 200));"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_accessible_in_light_and_dark() {
    let world = World::new().await;
    let Some(browser) = Browser::open(&world).await else { return };
    let lamps: Vec<String> = (0..40).map(|number| format!("lamp-{number:03}")).collect();
    world.register(&lamps).await;
    world.release("1.0", b"the old one").await;
    let release = world.release("2.0", b"brand new").await;
    let campaign = world.campaign("Winter light", release, plan(gate(64, 50_000))).await;
    let fate = |index: usize| if index % 8 == 3 { Fate::RollsBack } else { Fate::Confirms };
    devices::run(&world.link, &lamps[..34], "1.0", "2.0", 9, fate);
    let draft = world.server.campaigns(&machine(), &world.product).await.unwrap()[0].1.clone();
    let draft = ota_server::rules::campaign::Draft {
        product: draft.product,
        title: "Spring light".into(),
        release,
        target: draft.target,
        plan: plan_with_trial(gate(3, 50_000), &["lamp-000", "lamp-001", "lamp-002"]),
    };
    let drafted = world.server.draft_campaign(&machine(), draft).await.unwrap();
    let (server, product) = (&world.server, &world.product);
    server.pin_device(&machine(), &lamps[7].parse().unwrap(), "it is measured in the lab").await.unwrap();
    server.set_group(&machine(), product, "the first ten", "id = lamp-00*").await.unwrap();
    let new = NewEnrolment { tags: vec!["batch=7".into()], uses_max: 100, ..NewEnrolment::default() };
    server.enrol(&machine(), product, &[Proof::Token(b"a token of the factory")], &new).await.unwrap();

    browser.go("/sign-in").await;
    photographs(&browser, "sign-in").await;
    browser.sign_in("olga").await;
    browser.go(&format!("/campaigns/{campaign}")).await;
    browser.until_it_says("self test failed").await;
    let pages = [
        ("fleet", "/".to_owned()),
        ("product", "/products/lamp".to_owned()),
        ("devices", "/products/lamp/devices".to_owned()),
        ("no-devices", "/products/lamp/devices?tag=nowhere".to_owned()),
        ("packages", "/products/lamp/releases".to_owned()),
        ("upload", "/products/lamp/releases/new".to_owned()),
        ("campaigns", "/products/lamp/campaigns".to_owned()),
        ("new-campaign", "/products/lamp/campaigns/new".to_owned()),
        ("campaign", format!("/campaigns/{campaign}")),
        ("campaign-devices", format!("/campaigns/{campaign}/devices?phase=8")),
        ("pause", format!("/campaigns/{campaign}/pause")),
        ("device", "/devices/lamp-003".to_owned()),
        ("revoke", "/devices/lamp-003/revoke".to_owned()),
        ("pinned", "/devices/lamp-007".to_owned()),
        ("retry", format!("/campaigns/{campaign}/retry")),
        ("edit", format!("/campaigns/{drafted}/edit")),
        ("groups", "/products/lamp/groups".to_owned()),
        ("group", "/products/lamp/devices?group=the%20first%20ten".to_owned()),
        ("enrolments", "/products/lamp/enrolments".to_owned()),
        ("keys", "/products/lamp/keys".to_owned()),
        ("release", format!("/releases/{release}")),
        ("withdraw", format!("/releases/{release}/withdraw")),
        ("approvals", "/approvals".to_owned()),
        ("nothing-there", "/devices/no-such-device".to_owned()),
    ];
    for (name, path) in &pages {
        browser.go(path).await;
        photographs(&browser, name).await;
    }
    browser.go("/").await;
    browser.sign_out().await;
    browser.sign_in("adam").await;
    for (name, path) in [
        ("audit", "/audit"),
        ("audit-verified", "/audit/verify"),
        ("administration", "/administration"),
        ("person", "/administration/people/olga"),
        ("new-person", "/administration/people/new"),
        ("new-product", "/administration/products/new"),
        ("stop-everything", "/administration/stop-everything"),
        ("erase", "/devices/lamp-003/erase"),
    ] {
        browser.go(path).await;
        photographs(&browser, name).await;
    }
    // A campaign that has not ended counts on the one, and has not reached the other.
    for (device, says) in
        [("lamp-003", "has not ended and counts on the device"), ("lamp-039", "The device was erased.")]
    {
        browser.go(&format!("/devices/{device}/erase")).await;
        browser.fill("#reason", "its owner asked for it").await;
        browser.click("form.form button").await;
        browser.until_it_says(says).await;
    }
    photographs(&browser, "erased").await;
    browser.driver.clone().quit().await.unwrap();
}

async fn photographs(browser: &Browser, name: &str) {
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        browser.width(1280).await;
        browser.assert_accessible(&format!("{name}, {scheme}")).await;
        browser.photograph(&format!("{name}-{scheme}")).await;
    }
    browser.width(360).await;
    let overflow = browser.run("return document.documentElement.scrollWidth - window.innerWidth").await;
    assert!(overflow.as_i64().unwrap() <= 0, "{name} is {overflow} pixels too wide for a telephone");
    let pushed = browser.run(PUSHED_TABLES).await;
    assert_eq!(pushed, json!([]), "{name} has tables that are pushed to the side on a telephone");
    browser.assert_accessible(&format!("{name}, narrow")).await;
    browser.photograph(&format!("{name}-narrow-dark")).await;
    browser.prefer("light").await;
    browser.width(360).await;
    browser.photograph(&format!("{name}-narrow")).await;
    browser.width(1280).await;
}
