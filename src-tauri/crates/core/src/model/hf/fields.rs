//! Typed reading of one level of a configuration: what is wrong is said once, by key, and reading goes on.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

/// One JSON object, its place in the file, and the list of problems.
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    /// What stands in front of a key in a sentence, such as `text_config.`.
    prefix: &'static str,
    pub(super) problems: &'a mut Vec<String>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(object: &'a Map<String, Value>, prefix: &'static str, problems: &'a mut Vec<String>) -> Self {
        Self { object, prefix, problems }
    }

    /// The value of the first of `keys` that is there and not null, with its key.
    pub(super) fn get(&self, keys: &[&'static str]) -> Option<(&'static str, &'a Value)> {
        keys.iter().find_map(|key| Some((*key, self.object.get(*key).filter(|value| !value.is_null())?)))
    }

    /// A number within `range`, by the first of its names. What is no number or outside is a problem.
    pub(super) fn number(&mut self, keys: &[&'static str], range: RangeInclusive<u64>) -> Option<u64> {
        let (key, value) = self.get(keys)?;
        self.whole(key, value, &range)
    }

    /// A number given once, or one per layer.
    pub(super) fn per_layer(
        &mut self,
        keys: &[&'static str],
        layers: usize,
        range: &RangeInclusive<u64>,
    ) -> Option<Vec<u64>> {
        let (key, value) = self.get(keys)?;
        let Value::Array(values) = value else {
            return self.whole(key, value, range).map(|value| vec![value; layers]);
        };
        if values.len() != layers {
            self.say(key, &format!("has {} values, but must have {layers}: one per layer", values.len()));
            return None;
        }
        values.iter().map(|value| self.whole(key, value, range)).collect()
    }

    pub(super) fn text(&mut self, keys: &[&'static str]) -> Option<&'a str> {
        let (key, value) = self.get(keys)?;
        let text = value.as_str();
        if text.is_none() {
            self.say(key, &format!("is {}, but must be a text", words(value)));
        }
        text
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let (key, value) = self.get(&[key])?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.say(key, &format!("is {}, but must be true or false", words(value)));
        }
        flag
    }

    pub(super) fn array(&mut self, key: &'static str) -> Option<&'a Vec<Value>> {
        let (key, value) = self.get(&[key])?;
        let array = value.as_array();
        if array.is_none() {
            self.say(key, &format!("is {}, but must be an array", words(value)));
        }
        array
    }

    pub(super) fn say(&mut self, key: &str, what: &str) {
        self.problems.push(format!("config.json: '{}{key}' {what}.", self.prefix));
    }

    fn whole(&mut self, key: &str, value: &Value, range: &RangeInclusive<u64>) -> Option<u64> {
        let number = value.as_u64().filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = (range.start(), range.end());
            self.say(key, &format!("is {}, but must be a whole number between {least} and {most}", words(value)));
        }
        number
    }
}

/// A JSON value as a sentence shows it.
fn words(value: &Value) -> String {
    const SHOWN_MAX: usize = 40;
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => {
            let shown: String = text.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect();
            format!("the text \"{shown}\"")
        }
        Value::Array(values) => format!("an array of {} values", values.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}
