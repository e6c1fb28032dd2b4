//! The scenario file as types. What is misspelt there is an error here.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenarios {
    #[serde(rename = "about")]
    pub(crate) _about: Vec<String>,
    pub(crate) scenarios: Vec<Scenario>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) about: String,
    /// Far above what a machine under load needs, unless the scenario wants to see it pass.
    #[serde(default = "ten_seconds")]
    pub(crate) remote_timeout_ms: u64,
    pub(crate) steps: Vec<Step>,
    pub(crate) counters: BTreeMap<String, u64>,
}

fn ten_seconds() -> u64 {
    10_000
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Step {
    Call {
        caller: String,
        process: String,
        key: String,
        load: Load,
    },
    Loading {
        caller: String,
    },
    Waiting {
        process: String,
        callers: usize,
    },
    Release {
        caller: String,
        load: Ending,
    },
    Cancel {
        caller: String,
    },
    Result {
        caller: String,
        is: Outcome,
    },
    Server {
        is: Health,
    },
    Clear {
        process: String,
    },
    Remove {
        process: String,
        key: String,
    },
    Stored {
        key: String,
        is: bool,
    },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Load {
    Ends(Ending),
    Waits(Held),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Held {
    Held,
}

/// How a function ends.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ending {
    Value(String),
    Error(String),
}

/// How a call ends.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum Outcome {
    Served { value: String, from: From },
    Failed { error: String },
    Cancelled { cancelled: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum From {
    L1,
    L2,
    Load,
    Flight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    Up,
    Silent,
    Dead,
}

impl Scenarios {
    pub(crate) fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("scenarios")
            .join(name);
        let text = std::fs::read_to_string(&path).expect("the scenario file is there");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}
