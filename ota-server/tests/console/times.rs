//! Times are shown, and taken, in the zone of whoever looks: half hours, daylight saving, and travelling in between.

use ota_core::fleet::records::Schedule;
use ota_core::time::Timestamp;
use serde_json::json;

use crate::browser::{Browser, Scripts};
use crate::devices::{self, Fate};
use crate::stories::said;
use crate::support::{World, gate, machine, plan};

/// Times that do not say what the browser's own calendar says, or do not have UTC in their title; and whether there is any.
const WRONG_TIMES: &str = r#"
    const months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
    const two = (number) => String(number).padStart(2, "0");
    const times = [...document.querySelectorAll("time[data-local]")];
    const wrong = times.filter((time) => {
        const at = new Date(time.dateTime);
        const day = `${at.getDate()} ${months[at.getMonth()]} ${at.getFullYear()}`;
        const isTold = time.textContent === `${day}, ${two(at.getHours())}:${two(at.getMinutes())}`;
        return !isTold || !time.title.includes(`${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:`) || !time.title.endsWith(" UTC");
    });
    return times.length ? wrong.map((time) => time.outerHTML) : ["no time at all"];"#;
/// Whether the labels below a chart are times of the browser's own clock, within the ten minutes that the chart shows.
const CHART_IS_LOCAL: &str = r#"
    const first = [...document.querySelectorAll('#campaign-course table time')].map((time) => new Date(time.dateTime)).at(-1);
    const labels = [...document.querySelectorAll('#campaign-course .chart text')].map((text) => text.textContent.trim())
        .filter((text) => /^\d\d:\d\d:\d\d$/.test(text));
    if (!first || labels.length < 2) return false;
    const begin = (first.getHours() * 60 + first.getMinutes()) * 60 + first.getSeconds();
    return labels.every((label) => {
        const [hours, minutes, seconds] = label.split(":").map(Number);
        return ((hours * 60 + minutes) * 60 + seconds - begin + 86400 + 1) % 86400 <= 601;
    });"#;

fn at(text: &str) -> Timestamp {
    let moment: jiff::Timestamp = text.parse().unwrap();
    Timestamp(moment.as_millisecond().try_into().unwrap())
}

async fn set(browser: &Browser, field: &str, value: &str) {
    let script = "document.getElementById(arguments[0].field).value = arguments[0].value";
    browser.ask(script, json!({ "field": field, "value": value })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_are_shown_in_the_zone_of_whoever_looks() {
    let world = World::new().await;
    let Some(browser) = Browser::open(&world).await else { return };
    let lamps: Vec<String> = (0..6).map(|number| format!("lamp-{number:03}")).collect();
    world.register(&lamps).await;
    let release = world.release("2.0", b"brand new").await;
    let campaign = world.campaign("Winter light", release, plan(gate(64, 50_000))).await;
    devices::run(&world.link, &lamps, "1.0", "2.0", 9, |_| Fate::Confirms);
    let page = format!("/campaigns/{campaign}");

    browser.travel_to("Australia/Adelaide").await;
    browser.sign_in("vera").await;
    browser.go(&page).await;
    browser.until_it_says("Times in Australia/Adelaide").await;
    browser.until_it_says("The numbers").await;
    assert_eq!(browser.run(WRONG_TIMES).await, json!([]));
    browser.until(CHART_IS_LOCAL).await;

    // The cookie still names the former zone when the first page is asked for: that page is right all the same.
    browser.travel_to("America/St_Johns").await;
    browser.go(&page).await;
    browser.until_it_says("Times in America/St_Johns").await;
    assert_eq!(browser.run(WRONG_TIMES).await, json!([]));
    browser.until(CHART_IS_LOCAL).await;
    browser.go(&format!("/releases/{release}")).await;
    assert_eq!(browser.run(WRONG_TIMES).await, json!([]));

    // Nobody tells the server a zone.
    browser.driver.delete_cookie("ota_zone").await.unwrap();
    browser.scripts(Scripts::Off).await;
    browser.go(&page).await;
    let footer = browser.find("footer").await.text().await.unwrap();
    assert!(footer.contains("Times in UTC"), "{footer}");
    browser.scripts(Scripts::On).await;
    browser.driver.clone().quit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_is_entered_in_the_zone_that_the_form_names() {
    let world = World::new().await;
    let Some(browser) = Browser::open(&world).await else { return };
    world.release("2.0", b"brand new").await;
    let stored = async || -> Schedule {
        let campaigns = world.server.campaigns(&machine(), &world.product).await.unwrap();
        campaigns[0].1.plan.schedule.clone()
    };
    let (start, end) = (at("2031-01-15T01:30:00Z"), at("2031-07-15T02:30:00Z"));

    // Noon in summer and in winter: 10 hours and a half from Greenwich, and 9 and a half.
    browser.travel_to("Australia/Adelaide").await;
    browser.sign_in("olga").await;
    browser.go("/products/lamp/campaigns/new").await;
    browser.until_it_says("Time in Australia/Adelaide.").await;
    browser.fill("#title", "Winter light").await;
    browser.choose("#trial", "none").await;
    set(&browser, "start", "2031-01-15T12:00").await;
    set(&browser, "end", "2031-07-15T12:00").await;
    browser.click("#submit-draft").await;
    browser.until_it_says("A draft: nothing is offered yet").await;
    assert_eq!((stored().await.start, stored().await.end), (start, Some(end)));
    browser.until_it_says("from 15 Jan 2031, 12:00, until 15 Jul 2031, 12:00").await;
    let campaign = browser.path().await;

    // Another window tells the server another zone while this form is open: what was typed means what the form says.
    browser.go(&format!("{campaign}/edit")).await;
    let shown = browser.find("#start").await.prop("value").await.unwrap();
    assert_eq!(shown.as_deref(), Some("2031-01-15T12:00"));
    browser.run("document.cookie = 'ota_zone=America%2FSt_Johns; path=/; samesite=strict'").await;
    browser.fill("#title", "Winter light again").await;
    browser.click("#submit-draft").await;
    browser.until_it_says("Winter light again").await;
    assert_eq!((stored().await.start, stored().await.end), (start, Some(end)));

    // Who has travelled gets the same form in the new zone, 3 hours and a half behind.
    browser.travel_to("America/St_Johns").await;
    browser.go(&format!("{campaign}/edit")).await;
    browser.until_it_says("Time in America/St_Johns.").await;
    let shown = browser.find("#start").await.prop("value").await.unwrap();
    assert_eq!(shown.as_deref(), Some("2031-01-14T22:00"));

    // An hour that no clock shows there.
    set(&browser, "start", "2031-03-09T02:30").await;
    browser.click("#submit-draft").await;
    assert!(said(&browser, "start").await.contains("Clocks are set forward then"));
    let kept = browser.find("#start").await.prop("value").await.unwrap();
    assert_eq!(kept.as_deref(), Some("2031-03-09T02:30"));
    assert_eq!(stored().await.start, start, "what is refused changes nothing");
    browser.driver.clone().quit().await.unwrap();
}
