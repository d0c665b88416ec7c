//! The interface for programs and the file that promises it are the same: in both directions.

use std::collections::BTreeSet;

use backup::page::View;
use backup::page::api::{self, PATHS, Refused};
use serde_json::{Value, json};

use crate::read;
use crate::systems::{HOSTILE, empty, healthy, troubled};

fn document() -> Value {
    serde_saphyr::from_str(&read("config/openapi.yaml")).expect("YAML")
}

/// Every answer there is, of three systems, with the name of its schema.
fn answers() -> Vec<(String, Value)> {
    let mut answers = Vec::new();
    let mut add = |path: &str, text: String| {
        assert!(text.ends_with("}\n") && text.matches('\n').count() == 1);
        answers.push((path.to_owned(), serde_json::from_str(&text).expect("JSON")));
    };
    for view in [empty(), healthy(), troubled()] {
        add("/api/v1/status", api::status(&view));
        add("/api/v1/jobs", api::jobs(&view));
        for job in &view.jobs {
            add("/api/v1/jobs/{name}", api::job(&view, job.name.as_str()).expect("a job"));
            add("/api/v1/jobs/{name}/runs", api::runs(&view, job.name.as_str()).expect("a job"));
            add("/api/v1/jobs/{name}/snapshots", api::snapshots(&view, job.name.as_str()).expect("a job"));
            add("/api/v1/jobs/{name}/run", api::started(&job.name));
        }
    }
    answers
}

/// Follows references.
fn meant<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).expect(reference),
        None => schema,
    }
}

/// Notes which properties of which schemas a value has.
fn note(document: &Value, schema: &Value, value: &Value, seen: &mut BTreeSet<(String, String)>) {
    if let Some(either) = schema["anyOf"].as_array() {
        if !value.is_null() {
            note(document, &either[0], value, seen);
        }
        return;
    }
    let name = schema["$ref"].as_str().unwrap_or_default().to_owned();
    let schema = meant(document, schema);
    for each in value.as_array().into_iter().flatten() {
        note(document, &schema["items"], each, seen);
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        seen.insert((name.clone(), key.clone()));
        note(document, &schema["properties"][key], inner, seen);
    }
}

fn schema_of<'d>(document: &'d Value, path: &str) -> &'d Value {
    let operation = document["paths"][path].as_object().expect(path).iter().find(|(key, _)| *key != "parameters");
    let responses = operation.expect("an operation").1["responses"].as_object().expect("responses");
    let (_, good) = responses.iter().find(|(status, _)| status.starts_with('2')).expect("an answer that is good");
    &good["content"]["application/json"]["schema"]
}

fn complaints(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let whole = json!({"allOf": [schema], "components": document["components"]});
    let validator = jsonschema::options().should_validate_formats(true).build(&whole).expect("a schema");
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn every_answer_is_as_the_file_promises() {
    let document = document();
    for (path, answer) in answers() {
        assert_eq!(complaints(&document, schema_of(&document, &path), &answer), [""; 0], "{path}");
    }
    for refused in Refused::ALL {
        let answer: Value = serde_json::from_str(&api::error(refused, HOSTILE)).expect("JSON");
        let schema = json!({"$ref": "#/components/schemas/Error"});
        assert_eq!(complaints(&document, &schema, &answer), [""; 0]);
        assert_eq!(answer["message"], HOSTILE);
    }
}

#[test]
fn the_file_promises_nothing_that_no_answer_has() {
    let document = document();
    let mut seen = BTreeSet::new();
    for (path, answer) in answers() {
        note(&document, schema_of(&document, &path), &answer, &mut seen);
    }
    let error = json!({"$ref": "#/components/schemas/Error"});
    note(&document, &error, &serde_json::from_str(&api::error(Refused::NotFound, "")).expect("JSON"), &mut seen);
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        if schema["properties"].is_null() {
            continue;
        }
        assert_eq!(schema["additionalProperties"], false, "{name} would take anything");
        for key in schema["properties"].as_object().expect("properties").keys() {
            let reference = format!("#/components/schemas/{name}");
            assert!(seen.contains(&(reference, key.clone())), "no answer has {name}.{key}");
        }
    }
    // the test itself must be able to fail
    let (path, mut answer) = answers().swap_remove(0);
    answer["invented"] = json!(1);
    assert_eq!(complaints(&document, schema_of(&document, &path), &answer).len(), 1);
    answer.as_object_mut().expect("an object").remove("invented");
    answer.as_object_mut().expect("an object").remove("is_ready");
    assert_eq!(complaints(&document, schema_of(&document, &path), &answer).len(), 1);
}

#[test]
fn the_file_has_the_addresses_that_there_are_and_the_statuses_that_are_answered() {
    let document = document();
    let mut promised = BTreeSet::new();
    let mut statuses = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods").iter().filter(|(key, _)| *key != "parameters") {
            promised.insert((method.clone(), path.clone()));
            statuses.extend(operation["responses"].as_object().expect("responses").keys().cloned());
        }
    }
    let there: BTreeSet<(String, String)> = PATHS.iter().map(|(m, p)| ((*m).to_owned(), (*p).to_owned())).collect();
    assert_eq!(promised, there);
    let refused: BTreeSet<String> = Refused::ALL.iter().map(|refused| refused.status().to_string()).collect();
    assert_eq!(statuses.into_iter().filter(|status| !status.starts_with('2')).collect::<BTreeSet<_>>(), refused);
}

#[test]
fn what_there_is_not_is_not_answered() {
    let view: View = healthy();
    for name in ["", "nobody", "../upload", HOSTILE] {
        assert_eq!(api::job(&view, name), None);
        assert_eq!(api::runs(&view, name), None);
        assert_eq!(api::snapshots(&view, name), None);
    }
}
