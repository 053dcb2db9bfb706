//! The description of the API: as committed, complete, and what the routes really are.

use std::collections::BTreeSet;
use std::path::Path;

use ota_server::http::{Options, PUBLIC_ROUTES, ROUTES, openapi};
use serde_json::Value;

use crate::support::World;

/// Set it to write the snapshot instead of comparing with it.
const WRITE: &str = "OTA_WRITE_OPENAPI";

#[test]
fn the_committed_description_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let mut text = serde_json::to_string_pretty(openapi()).unwrap();
    text.push('\n');
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(
        committed == text,
        "{} is not what the code says; look at what changes for callers, then write it anew with {WRITE}=1",
        path.display()
    );
}

#[test]
fn every_route_is_described_and_nothing_else_is() {
    let mut described = BTreeSet::new();
    for (path, methods) in openapi()["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            described.insert((method.clone(), path.clone()));
        }
    }
    let routes = ROUTES.iter().chain(PUBLIC_ROUTES).map(|(method, path)| ((*method).into(), (*path).into()));
    assert_eq!(described, routes.collect());
}

#[test]
fn each_operation_has_a_name_of_its_own_and_its_path_is_covered() {
    let mut names = BTreeSet::new();
    for (path, methods) in openapi()["paths"].as_object().unwrap() {
        for operation in methods.as_object().unwrap().values() {
            assert!(names.insert(operation["operationId"].as_str().unwrap()), "{operation}");
            let empty = Vec::new();
            let parameters = operation["parameters"].as_array().unwrap_or(&empty);
            let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
            let names: Vec<String> =
                in_path.map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap())).collect();
            assert_eq!(names.len(), path.matches('{').count(), "{path}");
            assert!(names.iter().all(|name| path.contains(name)), "{path}: {names:?}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn check(value: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(openapi().pointer(pointer).is_some(), "{reference}");
                }
                fields.values().for_each(check);
            }
            Value::Array(items) => items.iter().for_each(check),
            _ => {}
        }
    }
    check(openapi());
}

#[test]
fn the_description_is_served_to_everybody() {
    let world = World::new(Options::default());
    assert_eq!(world.ask("get", "/openapi.json", None, &Value::Null).good().json(), *openapi());
}
