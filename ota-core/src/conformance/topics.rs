//! The table of what a device may do with which topic: asked of the rules themselves, and of every broker.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::fleet::{TopicAccess, TopicAction, TopicRules};
use crate::wire::topic::TopicPrefix;

/// The device that is asking.
pub const DEVICE: &str = "device-a";
/// The device whose topics it must not reach.
pub const OTHER: &str = "device-b";

/// One question and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What [`DEVICE`] wants to do.
    pub action: TopicAction,
    /// With which topic or filter.
    pub topic: String,
    /// Whether it may.
    pub allowed: bool,
}

/// The rules that the table is about: updates, and an application with topics both ways.
///
/// # Panics
/// Never: the patterns are constants.
#[must_use]
pub fn rules() -> TopicRules {
    TopicRules::new(TopicPrefix::DEFAULT)
        .with_application_topic("app/{device}/out/#", TopicAccess::Publish)
        .and_then(|rules| rules.with_application_topic("app/{device}/in/+", TopicAccess::Subscribe))
        .expect("the patterns are valid")
}

/// The table.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut all = |action, allowed, topics: &[String]| {
        cases.extend(topics.iter().map(|topic| Case { action, topic: topic.clone(), allowed }));
    };
    let (a, b) = (DEVICE, OTHER);
    let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();

    let own_up = [format!("ota/1/{a}/up"), format!("xi/ctrl/v1/{a}/svc"), format!("app/{a}/out/x/y")];
    let own_down = [format!("ota/1/{a}/down"), format!("xi/ctrl/v1/{a}/cln"), format!("app/{a}/in/x")];
    all(TopicAction::Publish, true, &own_up);
    all(TopicAction::Receive, true, &own_down);
    all(TopicAction::Subscribe, true, &own_down);
    all(TopicAction::Subscribe, true, &[format!("$share/g/ota/1/{a}/down"), format!("app/{a}/in/+")]);

    // Nothing is retained, and the two directions are not interchangeable.
    all(TopicAction::Retain, false, &own_up);
    all(TopicAction::Retain, false, &own_down);
    all(TopicAction::Publish, false, &own_down);
    all(TopicAction::Receive, false, &own_up);
    all(TopicAction::Subscribe, false, &own_up);

    let foreign_up = [format!("ota/1/{b}/up"), format!("xi/ctrl/v1/{b}/svc"), format!("app/{b}/out/x")];
    let foreign_down = [format!("ota/1/{b}/down"), format!("xi/ctrl/v1/{b}/cln"), format!("app/{b}/in/x")];
    for foreign in [&foreign_up, &foreign_down] {
        for action in
            [TopicAction::Publish, TopicAction::Retain, TopicAction::Receive, TopicAction::Subscribe]
        {
            all(action, false, foreign);
        }
        let shared: Vec<String> = foreign.iter().map(|topic| format!("$share/g/{topic}")).collect();
        all(TopicAction::Subscribe, false, &shared);
    }

    let wildcards = texts(&[
        "#",
        "+",
        "+/#",
        "+/+/+/+",
        "ota/#",
        "ota/1/#",
        "ota/1/+/down",
        "ota/1/+/up",
        "ota/+/+/+",
        "xi/#",
        "xi/ctrl/v1/+/cln",
        "xi/ctrl/v1/+/svc",
        "app/#",
        "app/+/in/x",
        "$SYS/#",
        "$share/g/#",
        "$share/g/ota/1/+/down",
        "$share/g/xi/ctrl/v1/+/cln",
    ]);
    all(TopicAction::Subscribe, false, &wildcards);
    all(
        TopicAction::Subscribe,
        false,
        &[format!("ota/1/{a}/#"), format!("ota/1/{a}/+"), format!("app/{a}/#")],
    );

    // Texts that look like the device's own topic.
    let look_alikes = [
        format!("ota/1/{a}/up/"),
        format!("/ota/1/{a}/up"),
        format!("ota/1/{a}//up"),
        format!("ota/1/{a} /up"),
        format!("ota/1/{}/up", a.to_uppercase()),
        format!("OTA/1/{a}/up"),
        format!("ota/2/{a}/up"),
        format!("ota/1/../1/{b}/up"),
        "up".to_string(),
    ];
    all(TopicAction::Publish, false, &look_alikes);
    all(TopicAction::Subscribe, false, &look_alikes);
    cases
}
