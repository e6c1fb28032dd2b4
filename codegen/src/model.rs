//! The resolved spec as plain data: what every later stage reads and no stage changes.
//!
//! Nothing here knows protobuf's reflection: emitters and rules work on these structs, so that a change of the
//! schemas' encoding stays within `load` and `resolve`.

use std::ops::Range;
use std::sync::Arc;

use prost_reflect::prost_types::FileDescriptorSet;

/// Where something stands in a spec file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Path from the repository's root.
    pub file: Arc<str>,
    /// First byte.
    pub start: usize,
    /// Byte behind the last one.
    pub end: usize,
}

impl Span {
    /// A span of a file.
    pub fn new(file: &Arc<str>, range: Range<usize>) -> Self {
        Self {
            file: Arc::clone(file),
            start: range.start,
            end: range.end,
        }
    }
}

/// Everything that the spec says.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Doc of the message that holds the options.
    pub options_doc: String,
    /// Every option, in the order of its declaration.
    pub options: Vec<OptionSpec>,
    /// Every enum of the schemas, the metrics and the wire, by full name.
    pub enums: Vec<Enum>,
    /// Every preset: `default` first, then by name.
    pub presets: Vec<Preset>,
    /// Every envelope format, by id.
    pub formats: Vec<Format>,
    /// Every metric, by path of its file.
    pub metrics: Vec<Metric>,
    /// Every alert, by path of its file.
    pub alerts: Vec<Alert>,
    /// Every error, in the order of the reference.
    pub errors: Vec<ErrorSpec>,
    /// The Python exception classes, a base before the classes that derive from it.
    pub python_classes: Vec<PythonClass>,
    /// Every message that other programs read, with its comments.
    pub wire_messages: Vec<Message>,
    /// The same as descriptors with source information, for `prost-build`.
    pub wire: FileDescriptorSet,
    /// BLAKE2b-256 over every input file, in the order of their paths; lower-case hex.
    pub spec_hash: String,
}

impl Spec {
    /// The option of that name.
    pub fn option(&self, name: &str) -> Option<&OptionSpec> {
        self.options.iter().find(|option| option.name == name)
    }

    /// The enum of that full name.
    pub fn enumeration(&self, full_name: &str) -> Option<&Enum> {
        self.enums.iter().find(|found| found.full_name == full_name)
    }

    /// The preset of that name.
    pub fn preset(&self, name: &str) -> Option<&Preset> {
        self.presets.iter().find(|preset| preset.name == name)
    }

    /// The envelope format of that name.
    pub fn format(&self, name: &str) -> Option<&Format> {
        self.formats.iter().find(|format| format.name == name)
    }

    /// The metric of that full name.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }
}

/// One option of a cache.
#[derive(Clone, Debug)]
pub struct OptionSpec {
    /// Its name, as a keyword of the decorator.
    pub name: String,
    /// Its field number.
    pub number: u32,
    /// Its comment.
    pub doc: String,
    /// Type of its values.
    pub kind: OptionKind,
    /// Who gives it a value.
    pub decided_by: Decider,
    /// Unit of a number: "s", "bytes", "entries".
    pub unit: Option<String>,
    /// Smallest legal number.
    pub min: Option<f64>,
    /// Largest legal number.
    pub max: Option<f64>,
    /// Whether `min` itself is refused.
    pub exclusive_min: bool,
    /// Type in a Python signature, where the kind does not say it.
    pub python_type: Option<String>,
    /// Environment variable that sets the value where no argument does.
    pub env: Option<String>,
    /// Presets to which `env` applies; empty means every preset.
    pub env_presets: Vec<String>,
    /// Factor from the environment variable's unit to the option's.
    pub env_scale: Option<f64>,
    /// What `None` means, where it is legal.
    pub none: Option<String>,
    /// Whether only Python has it.
    pub python_only: bool,
    /// Its declaration.
    pub span: Span,
}

impl OptionSpec {
    /// Whether every preset decides it.
    pub fn preset_decides(&self) -> bool {
        matches!(self.decided_by, Decider::Preset | Decider::PresetOnly)
    }

    /// Whether it is a time, in seconds.
    pub fn is_duration(&self) -> bool {
        self.kind == OptionKind::Float && self.unit.as_deref() == Some("s")
    }

    /// Whether it is a keyword of the decorator.
    pub fn is_keyword(&self) -> bool {
        matches!(self.decided_by, Decider::Preset | Decider::Caller)
    }
}

/// Type of an option's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// True or false.
    Bool,
    /// Unsigned integer.
    Uint,
    /// Number with a fraction; a duration where the unit is "s".
    Float,
    /// Text.
    Text,
    /// An enum, by full name.
    Enum(String),
    /// A type that no option may have, as the schema writes it; `option_type` refuses it.
    Other(String),
}

/// Who gives an option its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decider {
    /// Nobody said; `option_rule` refuses it.
    Unspecified,
    /// Every preset, and a caller may override it by keyword.
    Preset,
    /// Every preset; it is not a keyword.
    PresetOnly,
    /// Only the caller.
    Caller,
}

/// Value of an option in a preset.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// Unsigned integer.
    Uint(u64),
    /// Number with a fraction.
    Float(f64),
    /// Text.
    Text(String),
    /// Value of an enum.
    Enum(EnumValue),
}

impl Value {
    /// It, as a reader of the reference would write it.
    pub fn display(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Uint(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Text(value) => value.clone(),
            Self::Enum(value) => value.short.clone(),
        }
    }
}

/// An enum of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enum {
    /// Its name: `LookupOutcome`.
    pub name: String,
    /// Its name with the package: `cachekit.metrics.v1.LookupOutcome`.
    pub full_name: String,
    /// Its comment.
    pub doc: String,
    /// Its values but for `*_UNSPECIFIED`, in the order of their declaration.
    pub values: Vec<EnumValue>,
    /// Its name's place.
    pub span: Span,
}

/// A value of an enum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumValue {
    /// Its full name: `LOOKUP_OUTCOME_HIT`.
    pub name: String,
    /// Its number.
    pub number: i32,
    /// Its name without the enum's, in lower case with underscores: `hit`.
    pub short: String,
    /// Its name without the enum's, in camel case: `Hit`.
    pub pascal: String,
    /// Its comment.
    pub doc: String,
    /// Its place.
    pub span: Span,
}

/// A preset with every option that it decides.
#[derive(Clone, Debug)]
pub struct Preset {
    /// Its name.
    pub name: String,
    /// The comment above its name, which says why it is as it is.
    pub doc: String,
    /// One line that says when to choose it.
    pub summary: String,
    /// The preset whose values stand where it is silent.
    pub extends: Option<String>,
    /// What it decides, itself or by inheritance, in the order of the options.
    pub values: Vec<Decided>,
    /// Its name's place.
    pub span: Span,
}

impl Preset {
    /// What it decides about an option.
    pub fn value(&self, option: &str) -> Option<&Decided> {
        self.values.iter().find(|decided| decided.option == option)
    }
}

/// One option's value in one preset.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The option.
    pub option: String,
    /// The value.
    pub value: Value,
    /// The preset that says so: this one, or one that it extends.
    pub from: String,
    /// The comment above the value.
    pub doc: String,
    /// The value's place.
    pub span: Span,
}

/// An envelope format.
#[derive(Clone, Debug)]
pub struct Format {
    /// Its name.
    pub name: String,
    /// Its id byte; zero where the framing carries none.
    pub id: u32,
    /// The comment above its name.
    pub doc: String,
    /// One line that says what it is for.
    pub summary: String,
    /// Shape of the bytes: a value of `cachekit.spec.v1.Framing`.
    pub framing: EnumValue,
    /// What happens to a value, in order.
    pub steps: Vec<Step>,
    /// Its name's place.
    pub span: Span,
    /// Its id's place.
    pub id_span: Span,
}

/// A step of an envelope format.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// The comment above it.
    pub doc: String,
    /// Its place.
    pub span: Span,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// The value becomes bytes.
    Serialize,
    /// The payload becomes smaller, or stays as it is.
    Compress {
        /// A value of `cachekit.spec.v1.Compression`.
        algorithm: EnumValue,
        /// Payloads smaller than this are not tried.
        min_bytes: u64,
    },
    /// A digest is appended.
    Checksum {
        /// A value of `cachekit.spec.v1.Checksum`.
        algorithm: EnumValue,
    },
    /// The payload is encrypted and authenticated.
    Seal {
        /// A value of `cachekit.spec.v1.Cipher`.
        cipher: EnumValue,
    },
}

impl StepKind {
    /// Its name in the spec.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Serialize => "serialize",
            Self::Compress { .. } => "compress",
            Self::Checksum { .. } => "checksum",
            Self::Seal { .. } => "seal",
        }
    }
}

/// A metric.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Name of its message: `RemoteDuration`.
    pub message: String,
    /// The same in lower case with underscores: `remote_duration`.
    pub field: String,
    /// Full name in the exposition: `cachekit_remote_operation_duration_seconds`.
    pub name: String,
    /// Its comment.
    pub doc: String,
    /// Its kind.
    pub kind: MetricKind,
    /// Its labels, in the order of their declaration.
    pub labels: Vec<Label>,
    /// Upper bounds of a histogram's buckets.
    pub buckets: Vec<f64>,
    /// Its message's name's place.
    pub span: Span,
    /// Its option's place.
    pub rule_span: Span,
}

impl Metric {
    /// The label of that name.
    pub fn label(&self, name: &str) -> Option<&Label> {
        self.labels.iter().find(|label| label.name == name)
    }
}

/// Kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Nobody said; `metric_rule` refuses it.
    Unspecified,
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Distribution in buckets.
    Histogram,
}

/// A label of a metric.
#[derive(Clone, Debug)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// Its field number.
    pub number: u32,
    /// Its comment.
    pub doc: String,
    /// What it may be.
    pub kind: LabelKind,
    /// Its declaration.
    pub span: Span,
}

impl Label {
    /// Every value that it may have, as the exposition writes it.
    pub fn values(&self) -> Vec<String> {
        match &self.kind {
            LabelKind::Enum(found) => found.values.iter().map(|v| v.short.clone()).collect(),
            LabelKind::Bool => vec!["false".to_owned(), "true".to_owned()],
            LabelKind::Unbounded(_) => Vec::new(),
        }
    }
}

/// What a label may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelKind {
    /// A value of an enum.
    Enum(Enum),
    /// `true` or `false`.
    Bool,
    /// Anything, as the schema writes the type; `unbounded_label` refuses it.
    Unbounded(String),
}

/// An alert.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Its name, in camel case.
    pub name: String,
    /// The comment above its name.
    pub doc: String,
    /// One line that says what is wrong.
    pub summary: String,
    /// What to do about it.
    pub runbook: String,
    /// A value of `cachekit.spec.v1.Severity`.
    pub severity: EnumValue,
    /// Range of the rates: "5m".
    pub window: String,
    /// How long the condition holds before it fires: "10m".
    pub hold: String,
    /// What is measured.
    pub measure: Measure,
    /// A value of `cachekit.spec.v1.Comparison`.
    pub comparison: EnumValue,
    /// With what it is compared.
    pub threshold: f64,
    /// Its name's place.
    pub span: Span,
}

/// What an alert measures.
#[derive(Clone, Debug)]
pub enum Measure {
    /// A rate.
    Rate(Selection),
    /// A part of a whole.
    Ratio {
        /// The part.
        part: Selection,
        /// The whole.
        whole: Selection,
    },
    /// A quantile of a histogram.
    Quantile {
        /// The histogram.
        of: Selection,
        /// Between 0 and 1.
        q: f64,
    },
}

impl Measure {
    /// Every selection in it.
    pub fn selections(&self) -> Vec<&Selection> {
        match self {
            Self::Rate(of) | Self::Quantile { of, .. } => vec![of],
            Self::Ratio { part, whole } => vec![part, whole],
        }
    }
}

/// Series of one metric.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Full name of the metric.
    pub metric: String,
    /// Which of its series; all of them where empty.
    pub matches: Vec<LabelMatch>,
    /// The metric's name's place.
    pub span: Span,
}

/// One label and the values of it that count; any of them matches.
#[derive(Clone, Debug)]
pub struct LabelMatch {
    /// The label.
    pub label: String,
    /// The label's name's place.
    pub label_span: Span,
    /// Its values, as the exposition writes them, and their places.
    pub values: Vec<(String, Span)>,
}

/// An error that users meet.
#[derive(Clone, Debug)]
pub struct ErrorSpec {
    /// Its code.
    pub code: String,
    /// The comment above it.
    pub doc: String,
    /// A value of `cachekit.spec.v1.ErrorKind`.
    pub kind: EnumValue,
    /// Whether the same operation may succeed when it is tried again.
    pub retryable: bool,
    /// What happened and what to do next; `{name}` stands for context.
    pub text: String,
    /// Python class that is raised for it.
    pub python_class: String,
    /// Its code's place.
    pub span: Span,
    /// Its text's place.
    pub text_span: Span,
    /// Its Python class's place.
    pub python_class_span: Span,
}

/// A Python exception class.
#[derive(Clone, Debug)]
pub struct PythonClass {
    /// Its name.
    pub name: String,
    /// Its bases, ours first; the root has only Python's.
    pub bases: Vec<String>,
    /// Its docstring.
    pub doc: String,
    /// Its name's place.
    pub span: Span,
}

/// A message that other programs read.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its name.
    pub name: String,
    /// Its name with the package.
    pub full_name: String,
    /// Its comment.
    pub doc: String,
    /// Its fields, in the order of their declaration.
    pub fields: Vec<Field>,
    /// Its name's place.
    pub span: Span,
}

/// A field of a message.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: u32,
    /// Its type, as a schema writes it: `uint64`, `Serializer`.
    pub type_name: String,
    /// Whether it is a list.
    pub repeated: bool,
    /// Its comment.
    pub doc: String,
    /// Its declaration.
    pub span: Span,
}
