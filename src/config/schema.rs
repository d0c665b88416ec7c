//! The JSON Schema of the file, made from the table of keys: editors check and complete with it.
//!
//! It says what a schema can say. Whether a zone, a schedule or a pattern is right, only loading says.

use serde_json::{Map, Value, json};

use super::keys::{self, Form, Key, Scope};

/// A name that a program's environment may have from the configuration.
const VARIABLE: &str = "^(?!BACKUP_)[A-Za-z_][A-Za-z0-9_]*$";

/// The schema as text, with a last line feed.
pub fn schema() -> String {
    let mut properties = scope(Scope::Top);
    properties
        .insert("stores".to_owned(), section(Scope::Store, "The places where snapshots lie, by name.", &["path"]));
    properties.insert("jobs".to_owned(), section(Scope::Job, "What is to be snapshotted, by name.", &[]));
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of backup",
        "type": "object",
        "additionalProperties": false,
        "required": ["stores", "jobs"],
        "properties": properties,
    });
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain values");
    text.push('\n');
    text
}

fn section(of: Scope, about: &str, required: &[&str]) -> Value {
    let mut properties = scope(of);
    let mut entry = json!({"type": "object", "additionalProperties": false});
    if of == Scope::Job {
        let source = properties["source"].clone();
        properties.insert("sources".to_owned(), source);
        let no_source = json!({"anyOf": [{"required": ["source"]}, {"required": ["sources"]}]});
        entry["oneOf"] = json!([
            {"required": ["source"]},
            {"required": ["sources"]},
            {"required": ["commands"], "not": no_source},
        ]);
    } else {
        entry["required"] = json!(required);
    }
    entry["properties"] = Value::Object(properties);
    json!({
        "description": about,
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"},
        "additionalProperties": entry,
    })
}

fn scope(scope: Scope) -> Map<String, Value> {
    keys::of(scope).map(|key| (key.name.to_owned(), property(key))).collect()
}

fn property(key: &Key) -> Value {
    let text = |pattern: &str| json!({"type": "string", "pattern": pattern});
    let one_or_several = |item: Value| json!({"anyOf": [item, {"type": "array", "items": item}]});
    let level = |max: u8| {
        json!({
            "type": ["object", "null"],
            "additionalProperties": false,
            "properties": {"level": {"type": "integer", "minimum": 1, "maximum": max}},
        })
    };
    let mut value = match key.form {
        Form::Path => text("^/"),
        Form::Paths => one_or_several(text("^/")),
        Form::Zone | Form::StoreName => json!({"type": "string", "minLength": 1}),
        Form::Patterns => one_or_several(json!({"type": "string"})),
        Form::Schedules => one_or_several(json!({"type": "string", "minLength": 1})),
        Form::FileName => text("^[^/]+$"),
        Form::Bool => json!({"type": "boolean"}),
        Form::Size => json!({"type": ["string", "integer"]}),
        Form::Duration => json!({"type": "string", "minLength": 2}),
        Form::DurationOrNone => json!({"type": ["string", "integer"]}),
        Form::DurationOrNever => json!({"type": "string", "minLength": 2}),
        Form::RunMode => json!({"enum": ["linked", "full"]}),
        Form::Detection => json!({"enum": ["ctime+inode", "ctime", "inode", "mtime"]}),
        Form::Percent => text("^[0-9]{1,3} ?%$"),
        Form::Number => json!({"type": "integer", "minimum": 0, "maximum": 100_000}),
        Form::Rules => json!({
            "type": ["object", "null"], "additionalProperties": false, "properties": scope(Scope::Retention),
        }),
        Form::Attempts => json!({
            "type": ["object", "null"], "additionalProperties": false, "properties": scope(Scope::Retry),
        }),
        Form::Times => json!({"type": "integer", "minimum": 0, "maximum": 100}),
        Form::Proofs => json!({
            "type": ["object", "null"], "additionalProperties": false, "properties": scope(Scope::Verify),
        }),
        Form::Door => json!({
            "type": ["object", "null"], "additionalProperties": false, "properties": scope(Scope::Web),
        }),
        Form::Level => json!({"enum": ["quick", "stored", "deep", "drill"]}),
        Form::Share => text("^[0-9]{1,3} ?%$"),
        Form::Listen => json!({"anyOf": [text("^.+:[0-9]{1,5}$"), {"enum": ["no", false]}]}),
        Form::Inner(Scope::Hook) => json!({
            "type": "object", "additionalProperties": false, "properties": scope(Scope::Hook),
            "oneOf": [{"required": ["run"]}, {"required": ["shell"]}],
        }),
        Form::Inner(inner) => json!({
            "type": ["object", "null"], "additionalProperties": false, "properties": scope(inner),
        }),
        Form::Several(of) => {
            let mut item = json!({"type": "object", "additionalProperties": false, "properties": scope(of)});
            item["oneOf"] = json!([{"required": ["run"]}, {"required": ["shell"]}]);
            if of == Scope::Command {
                item["required"] = json!(["name"]);
            }
            json!({"type": ["array", "null"], "maxItems": 100, "items": item})
        }
        Form::EntryName => text("^[^/]+(/[^/]+)*$"),
        Form::Words => json!({"type": "array", "minItems": 1, "items": {"type": ["string", "number", "boolean"]}}),
        Form::Script => json!({"type": "string", "minLength": 1}),
        Form::Variables => json!({
            "type": ["object", "null"], "propertyNames": {"pattern": VARIABLE},
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        }),
        Form::VariableFiles => json!({
            "type": ["object", "null"], "propertyNames": {"pattern": VARIABLE},
            "additionalProperties": text("^/"),
        }),
        Form::Hidden | Form::Text | Form::Template => json!({"type": "string", "minLength": 1}),
        Form::Url => text("^https?://"),
        Form::Names => one_or_several(json!({"type": "string", "minLength": 1})),
        Form::Kinds => one_or_several(json!({
            "enum": ["failed", "partial", "missed", "recovered", "ok", "overdue", "damage"],
        })),
        Form::Port => json!({"type": "integer", "minimum": 1, "maximum": 65535}),
        Form::Protection => json!({"enum": ["starttls", "tls", "none"]}),
        Form::JiraApi => json!({"enum": ["auto", "cloud", "datacenter"]}),
        Form::Secret => json!({"type": "string", "minLength": 16}),
        Form::Count => json!({"type": "integer", "minimum": 1, "maximum": 1024}),
        Form::Mode => json!({"anyOf": [text("^(0o?)?[0-7]{1,4}$"), {"type": "integer"}]}),
        Form::Mount => json!({"enum": ["no", "any", "nfs", "cifs", true, false]}),
        Form::Codec => json!({"anyOf": [
            text("^(zstd|gzip)(:[0-9]+)?$|^none$"),
            {
                "type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
                "properties": {"zstd": level(19), "gzip": level(12), "none": {"type": ["object", "null"], "maxProperties": 0}},
            },
        ]}),
    };
    value["description"] = json!(key.about);
    if !key.default.is_empty() {
        value["default"] = json!(key.default);
    }
    value
}
