//! What people come to do, from beginning to end.

use std::io::Write as _;

use ota_core::number::ReleaseId;

use crate::browser::{Browser, Network};
use crate::devices::{self, Fate};
use crate::support::{World, envelope, gate, machine, plan};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("lamp-{number:03}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_goes_from_a_dropped_file_to_a_finished_rollout() {
    let world = World::new().await;
    let Some(browser) = Browser::open(&world).await else { return };
    let lamps = names(24);
    world.register(&lamps).await;
    world.release("1.0", b"the old one").await;
    devices::run(&world.link, &lamps, "1.0", "2.0", 9, |_| Fate::Confirms);

    // Olga uploads, fixes and signs.
    browser.sign_in("olga").await;
    browser.click("a[href='/products/lamp']").await;
    browser.click("a[href='/products/lamp/releases/new']").await;
    let mut file = tempfile::Builder::new().prefix("app").suffix(".bin").tempfile().unwrap();
    file.write_all(b"brand new").unwrap();
    browser.find("#choose").await.send_keys(file.path().to_str().unwrap()).await.unwrap();
    browser.until_it_says("9 bytes, uploaded").await;
    browser.fill("[name=file-0-name]", "app.bin").await;
    browser.fill("[name=file-0-revision]", "2.0").await;
    browser.fill("[name=file-0-target]", "app").await;
    // Something is wrong: it is said beside the field, and nothing that was typed or sent is lost.
    browser.click("form[data-upload] button.first").await;
    browser.until_it_says("Name at least one hardware revision that it runs on.").await;
    assert_eq!(
        browser.find("[name=file-0-revision]").await.prop("value").await.unwrap().as_deref(),
        Some("2.0")
    );
    browser.until_it_says("9 bytes, uploaded").await;
    browser.fill("#hardware", "rev-a").await;
    browser.click("form[data-upload] button.first").await;
    browser.click("#verb-fix").await;
    browser.click("main form button.first").await;
    browser.until_it_says("waits for signatures").await;
    let path = browser.path().await;
    let id = path.trim_start_matches("/releases/").split('?').next().unwrap().to_owned();
    let body = world.server.release_body(&machine(), &ReleaseId::from_hex(&id).unwrap()).await.unwrap();
    browser.click("#verb-sign").await;
    browser.fill("#envelope", "00ff").await;
    browser.click("main form button.first").await;
    browser.until_it_says("the envelope is malformed").await;
    let mut signed = tempfile::NamedTempFile::new().unwrap();
    signed.write_all(&envelope(body.to_vec())).unwrap();
    browser.find("#envelope-file").await.send_keys(signed.path().to_str().unwrap()).await.unwrap();
    browser.click("main form button.first").await;
    browser.until_it_says("The signatures were checked and taken in.").await;

    // She tries a plan out and submits it.
    browser.click(&format!("a[href='/products/lamp/campaigns/new?release={id}']")).await;
    browser.fill("#title", "Winter light").await;
    browser.fill("#trial_devices", "lamp-000 lamp-001 lamp-002").await;
    browser.fill("#trial_sample", "1").await;
    browser.fill("#stage-1-until", "100").await;
    browser.choose("#stage-1-pace", "at_once").await;
    browser.fill("#stage-2-until", "").await;
    browser.fill("#sample_min", "20").await;
    browser.fill("#soak", "0s").await;
    browser.fill("#failures_bad", "200").await;
    browser.click("#dry-run").await;
    browser.until_it_says("Expected a share from 0% to 100%").await;
    assert_eq!(browser.find("#title").await.prop("value").await.unwrap().as_deref(), Some("Winter light"));
    assert!(world.server.campaigns(&machine(), &world.product).await.unwrap().is_empty());
    browser.fill("#failures_bad", "20").await;
    browser.click("#dry-run").await;
    browser.until_it_says("What it would do").await;
    browser.until_it_says("24 devices looked at").await;
    browser.click("#submit-draft").await;
    // She sees that its name is wrong: the form comes back with all that she had typed.
    browser.click("#edit").await;
    assert_eq!(browser.find("#title").await.prop("value").await.unwrap().as_deref(), Some("Winter light"));
    assert_eq!(browser.find("#sample_min").await.prop("value").await.unwrap().as_deref(), Some("20"));
    browser.fill("#title", "Winter light 2.0").await;
    browser.click("#submit-draft").await;
    browser.until_it_says("Winter light 2.0").await;
    browser.until_it_says("A draft: nothing is offered yet").await;
    let campaign = browser.path().await;
    assert!(!browser.has("#verb-approve").await, "its author cannot approve");
    browser.sign_out().await;

    // Anna finds it, reads what it does, and approves.
    browser.sign_in("anna").await;
    browser.go("/approvals").await;
    browser.click("a[href$='/approve']").await;
    browser
        .until_it_says("It counts as one approval of exactly this content, which is for 24 devices.")
        .await;
    browser.click("main form button.first").await;
    browser.until_it_says("Your approval is noted.").await;
    browser.sign_out().await;

    // Olga starts it, watches the trial, and Anna's role promotes it; nobody loads the page again.
    browser.sign_in("olga").await;
    browser.go(&campaign).await;
    browser.click("#verb-start").await;
    browser.until_it_says("The trial begins at once: 3 devices may have it.").await;
    browser.click("main form button.first").await;
    browser.until_it_says("The campaign was started.").await;
    browser.run("window.sameOne = true").await;
    browser.until_it_says("The trial has passed: a person must promote it to the fleet").await;
    assert_eq!(browser.run("return window.sameOne").await, true, "the page was loaded again");
    browser.sign_out().await;
    browser.sign_in("anna").await;
    browser.go(&campaign).await;
    browser.click("#verb-promote").await;
    browser.until_it_says("up to 24 devices").await;
    browser.click("main form button.first").await;
    browser.until_it_says("The campaign goes to the fleet.").await;
    browser.run("window.sameOne = true").await;
    browser.until_it_says("completed").await;
    browser.until_it_says("100 % of the fleet").await;
    assert_eq!(browser.run("return window.sameOne").await, true, "the page was loaded again");
    browser.photograph("story-finished").await;

    // And the audit chain holds all of it.
    browser.go("/audit").await;
    browser.until_it_says("campaign.promote").await;
    browser.click("#verify").await;
    browser.until_it_says("entries are intact").await;
    browser.driver.clone().quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_gate_pauses_and_each_device_tells_why() {
    let world = World::new().await;
    let Some(browser) = Browser::open(&world).await else { return };
    let lamps = names(20);
    world.register(&lamps).await;
    world.release("1.0", b"the old one").await;
    let release = world.release("2.0", b"brand new").await;
    let campaign = world.campaign("Bad light", release, plan(gate(10, 50_000))).await;
    browser.sign_in("vera").await;
    browser.go(&format!("/campaigns/{campaign}")).await;
    browser.until_it_says("0 of 10 devices have ended").await;
    // The last one is never connected.
    devices::run(&world.link, &lamps[..19], "1.0", "2.0", 9, |_| Fate::RollsBack);
    browser.until_it_says("Paused: nothing is offered until somebody resumes it").await;
    browser.until_it_says("devices failed").await;
    browser.until_it_says("self test failed").await;
    assert!(!browser.has("#verb-resume").await, "a viewer can do nothing");
    browser.photograph("story-paused").await;
    // The release is to blame wherever it went, and whose it is stands beside that.
    browser.go(&format!("/releases/{release}")).await;
    browser.until_it_says("Success by hardware and former revision").await;
    let row = browser.find("#release-outcomes tbody tr").await.text().await.unwrap();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["rev-a", "1.0", "0", "19", "0", "%"], "{row}");
    browser.until_it_says("1 of 1 that root 1 wants").await;
    browser.go(&format!("/campaigns/{campaign}")).await;
    // From the count of failures to one device, to what it said.
    browser.click("#campaign-phases a[href*='phase=8']").await;
    browser.until_it_says("the lamp stayed dark").await;
    browser.click("tbody a").await;
    browser.until_it_says("Its attempt ended").await;
    browser.until_it_says("It said: “the lamp stayed dark”").await;
    // And why one device has nothing at all.
    browser.go("/products/lamp/devices").await;
    browser.fill("#id", "lamp-019").await;
    browser.click("form[action='/devices'] button").await;
    browser.until_it_says("has not got it").await;
    browser.until_it_says("The campaign is paused").await;
    browser.sign_out().await;
    // Olga wants to stop it: first she is told what that does, then asked why.
    browser.sign_in("olga").await;
    browser.go(&format!("/campaigns/{campaign}")).await;
    browser.until_it_says("can try again yet: the gate of their stage still judges").await;
    assert!(!browser.has("#verb-retry").await, "there is nothing to retry");
    browser.go(&format!("/campaigns/{campaign}/retry")).await;
    browser.until_it_says("None of the devices that have failed can try again yet").await;
    assert!(!browser.has("main form").await, "there is nothing to retry");
    browser.go(&format!("/campaigns/{campaign}/stop")).await;
    browser.until_it_says("It cannot be started again.").await;
    browser.click("main form button.first").await;
    browser.until_it_says("Say why, in one line").await;
    browser.fill("#reason", "<b>dark</b> lamps").await;
    browser.click("main form button.first").await;
    browser.until_it_says("Stopped for good").await;
    browser.until_it_says("<b>dark</b> lamps").await;
    browser.driver.clone().quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_too_small_for_its_gate_goes_on_with_the_consent_of_two() {
    let world = World::new().await;
    let Some(browser) = Browser::open(&world).await else { return };
    let lamps = names(5);
    world.register(&lamps).await;
    world.release("1.0", b"the old one").await;
    let release = world.release("2.0", b"brand new").await;
    let campaign = world.campaign("Few lamps", release, plan(gate(64, 50_000))).await;
    devices::run(&world.link, &lamps, "1.0", "2.0", 9, |_| Fate::Confirms);
    browser.sign_in("olga").await;
    browser.go(&format!("/campaigns/{campaign}")).await;
    browser.until_it_says("5 of 64 devices have ended").await;
    browser.until_it_says("A person must accept what was seen.").await;
    browser.go("/").await;
    browser.until_it_says("its stage is too small for its gate").await;
    browser.go(&format!("/campaigns/{campaign}/accept")).await;
    browser.until_it_says("5 confirmed, 0 failed").await;
    browser.fill("#reason", "all five of them shine").await;
    browser.click("main form button.first").await;
    browser.until_it_says("A change waits for consent").await;
    assert!(!browser.has("#verb-consent").await, "whoever wants it cannot consent");
    browser.sign_out().await;
    browser.sign_in("anna").await;
    browser.go("/approvals").await;
    browser.until_it_says("to take the gate of the present stage as passed").await;
    browser.until_it_says("all five of them shine").await;
    browser.click("#approvals-mine a[href$='/consent']").await;
    browser.until_it_says("With enough consents it is made at once.").await;
    browser.click("main form button.first").await;
    browser.until_it_says("completed").await;
    // Completed campaigns go on for devices that come later, so they can be stopped, too.
    browser.go("/products/lamp").await;
    browser.click("a[href='/products/lamp/stop-everything']").await;
    browser.until_it_says("1 campaign, those that are completed too: stopped for good.").await;
    browser.until_it_says("Other products are left alone.").await;
    browser.fill("#reason", "enough for today").await;
    browser.click("main form button.first").await;
    browser.go(&format!("/campaigns/{campaign}")).await;
    browser.until_it_says("Stopped for good").await;
    browser.driver.clone().quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_form_stands_beside_the_field_and_what_was_typed_stays() {
    let world = World::new().await;
    let Some(browser) = Browser::open(&world).await else { return };
    let invitation = world.server.invite(&machine(), "vera").await.unwrap();
    browser.go(&ota_server::http::invitation_link(&invitation)).await;
    browser.fill("#password", "short").await;
    browser.fill("#again", "short").await;
    browser.click("main button").await;
    assert!(said(&browser, "password").await.contains("at least 12 characters"));

    browser.sign_in("adam").await;
    browser.go("/administration/products/new").await;
    browser.fill("#id", "a lamp").await;
    browser.fill("#title", "<i>Lamp</i>").await;
    browser.click("main form button.first").await;
    assert!(said(&browser, "id").await.contains("letters, digits, dots, dashes and underscores"));
    let kept = browser.find("#title").await.prop("value").await.unwrap();
    assert_eq!(kept.as_deref(), Some("<i>Lamp</i>"));
    browser.go("/").await;
    browser.sign_out().await;

    browser.sign_in("olga").await;
    browser.go("/products/lamp/releases/new").await;
    browser.run("document.getElementById('expires').value = '2001-01-01'").await;
    browser.fill("#epoch", "-3").await;
    browser.click("form[data-upload] button.first").await;
    assert!(said(&browser, "expires").await.contains("over"));
    assert!(said(&browser, "epoch").await.contains("number from 0"));
    assert!(said(&browser, "hardware").await.contains("at least one"));
    browser.photograph("story-refused").await;
    browser.width(360).await;
    browser.photograph("story-refused-narrow").await;
    browser.driver.clone().quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_cannot_be_renewed_says_so_and_goes_on_afterwards() {
    let world = World::new().await;
    let Some(browser) = Browser::open(&world).await else { return };
    world.register(&names(2)).await;
    browser.sign_in("vera").await;
    browser.until_it_says("Live, as of").await;
    browser.network(Network::Gone).await;
    browser.until_it_says("No connection: what you see may be old. Trying again.").await;
    browser.until_it_says("Street lamp").await;
    browser.photograph("story-cut-off").await;
    browser.network(Network::There).await;
    world.register(&names(3)[2..]).await;
    browser.until_it_says("Live, as of").await;
    browser.until("return document.querySelector('#fleet-tiles dd').textContent.trim() === '3'").await;
    browser.driver.clone().quit().await.unwrap();
}

/// What stands beside a field that is wrong.
pub(crate) async fn said(browser: &Browser, field: &str) -> String {
    browser.find(&format!(".field.has-wrong:has(#{field}) .wrong")).await.text().await.unwrap()
}
