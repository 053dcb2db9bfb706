//! The rules against the table that brokers are asked as well, and what may be opened for applications.

use super::*;
use crate::conformance::topics;

fn device(id: &str) -> DeviceId<'_> {
    DeviceId::new(id).unwrap()
}

#[test]
fn the_rules_answer_the_table_as_brokers_must() {
    let rules = topics::rules();
    for case in topics::cases() {
        let allowed = rules.allow(device(topics::DEVICE), case.action, &case.topic);
        assert_eq!(allowed, case.allowed, "{case:?}");
    }
}

#[test]
fn what_is_said_is_told_with_the_device_it_names() {
    let rules = TopicRules::new(TopicPrefix::new("acme/eu").unwrap());
    assert_eq!(rules.said("acme/eu/1/a/up"), Some((Dialect::Native, device("a"))));
    assert_eq!(rules.said("xi/ctrl/v1/a/svc"), Some((Dialect::Sft, device("a"))));
    for silent in ["acme/eu/1/a/down", "xi/ctrl/v1/a/cln", "ota/1/a/up", "acme/eu/1/+/up", ""] {
        assert_eq!(rules.said(silent), None, "{silent:?}");
    }
    assert_eq!(rules.heard(Dialect::Native, device("a")), "acme/eu/1/a/down");
    assert_eq!(rules.heard(Dialect::Sft, device("a")), "xi/ctrl/v1/a/cln");
}

#[test]
fn no_pattern_opens_what_belongs_to_others() {
    use TopicPatternError::{Anonymous, FirstLevel, Malformed, Reserved, Wildcard};
    let refused = |pattern: &str, access| {
        TopicRules::new(TopicPrefix::DEFAULT).with_application_topic(pattern, access).err()
    };
    for (pattern, why) in [
        ("", Malformed),
        ("app//x", Malformed),
        ("$SYS/#", Malformed),
        ("app/\0", Malformed),
        ("app/%c/{device}", Malformed),
        ("app/{device}x", Wildcard),
        ("app/#/x", Wildcard),
        ("app/a+", Wildcard),
        ("app/{device}/{device}", Wildcard),
        ("#", FirstLevel),
        ("+/x", FirstLevel),
        // A device could call itself `ota`.
        ("{device}/1/x", FirstLevel),
        ("ota/#", Reserved),
        ("ota/1/{device}/up", Reserved),
        ("ota/+/+/+", Reserved),
        ("ota/1/{device}/#", Reserved),
        ("xi/ctrl/v1/{device}/+", Reserved),
    ] {
        assert_eq!(refused(pattern, TopicAccess::Subscribe), Some(why), "{pattern:?}");
    }
    assert_eq!(refused("app/all", TopicAccess::Publish), Some(Anonymous));
    assert_eq!(refused("app/all", TopicAccess::Subscribe), None);
    assert_eq!(refused("ota/1/{device}/state", TopicAccess::Publish), None);
}

#[test]
fn an_opened_subtree_includes_its_root_and_nothing_beside_it() {
    let rules = TopicRules::new(TopicPrefix::DEFAULT)
        .with_application_topic("app/{device}/in/#", TopicAccess::Subscribe)
        .unwrap();
    let may = |filter: &str| rules.allow(device("a"), TopicAction::Subscribe, filter);
    for inside in ["app/a/in", "app/a/in/#", "app/a/in/+/x", "app/a/in/x/y", "$share/g/app/a/in/x"] {
        assert!(may(inside), "{inside:?}");
    }
    for outside in
        ["app/a", "app/a/#", "app/a/+", "app/+/in/x", "app/b/in/x", "app/a/inn", "$share//app/a/in"]
    {
        assert!(!may(outside), "{outside:?}");
    }
}

#[test]
fn a_table_of_patterns_has_an_end() {
    let mut rules = TopicRules::new(TopicPrefix::DEFAULT);
    for index in 0..APPLICATION_TOPICS_MAX {
        rules = rules.with_application_topic(&format!("app/{index}"), TopicAccess::Subscribe).unwrap();
    }
    let one_more = rules.with_application_topic("app/more", TopicAccess::Subscribe);
    assert_eq!(one_more.err(), Some(TopicPatternError::TooMany));
}
