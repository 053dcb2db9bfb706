//! An operator's day with a keyboard alone: every stop shows its focus, in the order of the page, and none holds it fast.

use std::io::Write as _;

use serde_json::json;

use crate::browser::{Browser, Key};
use crate::devices::{self, Fate};
use crate::support::{PASSWORD, World, gate, machine, plan};

/// The most stops of one page.
const STOPS_MAX: usize = 150;
/// Where the focus is: what has it, whether that is what is sought, and what is wrong with the stop.
const STOP: &str = r#"
    const now = document.activeElement;
    if (!now || now === document.body) return { name: "nothing", isSought: false, wrong: "the focus is nowhere" };
    const before = window.stopBefore;
    window.stopBefore = now;
    // The field for files is not seen; the box around it is.
    const shown = now.matches("input[type=file]") ? now.closest(".drop") ?? now : now;
    const style = getComputedStyle(shown);
    const box = shown.getBoundingClientRect();
    const isInSight = box.width > 1 && box.height > 1 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
    const order = before?.isConnected ? before.compareDocumentPosition(now) : 0;
    const goesOn = arguments[0].back ? Node.DOCUMENT_POSITION_PRECEDING : Node.DOCUMENT_POSITION_FOLLOWING;
    // Fields for times have a stop for each of their parts.
    const hasParts = now.matches("input[type=date], input[type=time], input[type=datetime-local]");
    const wrong = style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2 ? "its focus is not visible"
        : !isInSight ? "it is out of sight"
        : before === now && !hasParts ? "it holds the focus fast"
        : order && !(order & goesOn) ? "it does not follow the stop before"
        : now.tabIndex > 0 ? "it wants another order than the page has"
        : "";
    return { name: now.outerHTML.slice(0, 200), isSought: now.matches(arguments[0].sought), wrong };"#;

/// Presses a key until the focus is on what is sought, and looks at each stop on the way.
async fn walk(browser: &Browser, key: Key, sought: &str) {
    browser.find(sought).await;
    for _ in 0..STOPS_MAX {
        browser.press(key).await;
        let stop = browser.ask(STOP, json!({ "sought": sought, "back": key == Key::ShiftTab })).await;
        let (name, wrong) = (&stop["name"], &stop["wrong"]);
        assert_eq!(wrong, "", "{name} on the way to {sought} at {}", browser.path().await);
        if stop["isSought"] == true {
            return;
        }
    }
    panic!("{sought} is not reached at {}", browser.path().await);
}

async fn tab_to(browser: &Browser, sought: &str) {
    walk(browser, Key::Tab, sought).await;
}

/// Over the frame of the page to its content, by the link that is there for it.
async fn skip(browser: &Browser) {
    tab_to(browser, "a.skip").await;
    browser.press(Key::Enter).await;
    browser.until("return document.activeElement.id === 'content'").await;
    browser.run("window.stopBefore = document.activeElement").await;
}

async fn follow(browser: &Browser, link: &str) {
    tab_to(browser, link).await;
    browser.press(Key::Enter).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_needs_nothing_but_a_keyboard() {
    let world = World::new().await;
    let Some(browser) = Browser::open(&world).await else { return };
    let lamps: Vec<String> = (0..6).map(|number| format!("lamp-{number:03}")).collect();
    world.register(&lamps).await;
    let release = world.release("2.0", b"brand new").await;
    let campaign = world.campaign("Winter light", release, plan(gate(64, 50_000))).await;

    browser.go("/sign-in").await;
    skip(&browser).await;
    tab_to(&browser, "#name").await;
    browser.type_in("olga").await;
    tab_to(&browser, "#password").await;
    browser.type_in(PASSWORD).await;
    browser.press(Key::Enter).await;
    browser.until_it_says("Signed in as olga").await;

    // She opens a campaign and reads its numbers while devices change them.
    skip(&browser).await;
    follow(&browser, &format!("#fleet-running a[href='/campaigns/{campaign}']")).await;
    browser.until_it_says("0 of 64 devices have ended").await;
    skip(&browser).await;
    tab_to(&browser, "#campaign-course summary").await;
    browser.press(Key::Space).await;
    browser.run("window.kept = document.activeElement").await;
    devices::run(&world.link, &lamps, "1.0", "2.0", 9, |_| Fate::Confirms);
    browser.until_it_says("6 of 64 devices have ended").await;
    browser.until("return document.querySelector('#campaign-course tbody td').textContent === '6'").await;
    let kept = "return document.activeElement === window.kept && window.kept.isConnected && window.kept.parentNode.open";
    assert_eq!(
        browser.run(kept).await,
        true,
        "what changes beside it takes the focus away, or closes what is open"
    );

    // She pauses it: the page says first what that does.
    walk(&browser, Key::ShiftTab, "#verb-pause").await;
    browser.press(Key::Enter).await;
    browser.until_it_says("What it does").await;
    skip(&browser).await;
    tab_to(&browser, "#reason").await;
    browser.type_in("it is late").await;
    browser.press(Key::Enter).await;
    browser.until_it_says("The campaign is paused").await;
    // Somebody else resumes it, and the button on which she is goes away: she stays where it was.
    skip(&browser).await;
    tab_to(&browser, "#verb-resume").await;
    world.server.resume_campaign(&machine(), campaign).await.unwrap();
    browser.find("#verb-pause").await;
    browser.until("return document.activeElement.id === 'campaign-head'").await;
    browser.run("window.stopBefore = document.activeElement").await;
    tab_to(&browser, "#verb-pause").await;

    // She looks for a device.
    walk(&browser, Key::ShiftTab, ".crumbs a[href='/products/lamp']").await;
    browser.press(Key::Enter).await;
    follow(&browser, ".tabs a[href='/products/lamp/devices']").await;
    tab_to(&browser, "#id").await;
    browser.type_in("lamp-003").await;
    browser.press(Key::Enter).await;
    browser.until_it_says("Why it has or has not the update").await;

    // She uploads a package.
    follow(&browser, ".crumbs a[href='/products/lamp']").await;
    follow(&browser, "a[href='/products/lamp/releases/new']").await;
    tab_to(&browser, "#choose").await;
    let mut file = tempfile::Builder::new().prefix("app").suffix(".bin").tempfile().unwrap();
    file.write_all(b"brand new").unwrap();
    // The dialog that the key opens belongs to the system: WebDriver answers it in its place.
    browser.find("#choose").await.send_keys(file.path().to_str().unwrap()).await.unwrap();
    browser.until_it_says("9 bytes, uploaded").await;
    // Who comes into a field by the keyboard writes over what is there.
    for (field, text) in [("name", "app.bin"), ("revision", "3.0"), ("target", "app")] {
        tab_to(&browser, &format!("[name=file-0-{field}]")).await;
        browser.type_in(text).await;
    }
    tab_to(&browser, "#hardware").await;
    browser.type_in("rev-a").await;
    browser.press(Key::Enter).await;
    browser.until_it_says("Nobody can sign it yet.").await;

    // She makes a campaign and submits it for approval.
    follow(&browser, ".crumbs a[href='/products/lamp']").await;
    follow(&browser, "a[href='/products/lamp/campaigns/new']").await;
    tab_to(&browser, "#title").await;
    browser.type_in("By keyboard").await;
    browser.press(Key::Escape).await;
    tab_to(&browser, "#trial").await;
    browser.press(Key::Down).await;
    browser.press(Key::Down).await;
    browser.until("return document.getElementById('trial').value === 'none'").await;
    tab_to(&browser, "#submit-draft").await;
    browser.press(Key::Space).await;
    browser.until_it_says("A draft: nothing is offered yet").await;
    let campaigns = world.server.campaigns(&machine(), &world.product).await.unwrap();
    assert!(campaigns.iter().any(|(_, campaign)| &*campaign.title == "By keyboard"));
    browser.driver.clone().quit().await.unwrap();
}
