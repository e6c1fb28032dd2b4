//! A textproto: its values from the parser, its comments and places from the scanner.

use std::sync::Arc;

use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage, Value};

use super::{KINDS, problem, scan};
use crate::diagnostic::{Diagnostic, Sources, did_you_mean, one_of};
use crate::model::Span;

/// A parsed textproto.
#[derive(Clone, Debug)]
pub struct Document {
    /// Path from the repository's root.
    pub path: Arc<str>,
    /// Its values.
    pub message: DynamicMessage,
    /// Its fields as written.
    pub fields: Vec<scan::Field>,
}

impl Document {
    /// Parses a file as the message that its header names.
    pub(super) fn parse(
        path: &Arc<str>,
        text: &str,
        pool: &DescriptorPool,
        sources: &Sources,
    ) -> Result<Self, Vec<Diagnostic>> {
        let (message_name, message_span) = header(path, text, "proto-message")?;
        let (schema, schema_span) = header(path, text, "proto-file")?;
        let schema_file = schema
            .strip_prefix("schema/")
            .and_then(|name| pool.get_file_by_name(name));
        let Some(schema_file) = schema_file else {
            let known: Vec<String> = pool
                .files()
                .map(|file| format!("schema/{}", file.name()))
                .collect();
            return Err(vec![
                Diagnostic::new(
                    "header",
                    &schema_span,
                    format!("there is no `spec/{schema}`"),
                )
                .label("not a schema")
                .help(did_you_mean(schema, known.iter().map(String::as_str))),
            ]);
        };
        let descriptor = schema_file
            .messages()
            .find(|message| message.full_name() == message_name);
        let Some(descriptor) = descriptor else {
            let known: Vec<String> = schema_file
                .messages()
                .map(|message| message.full_name().to_owned())
                .collect();
            return Err(vec![
                Diagnostic::new(
                    "header",
                    &message_span,
                    format!("`spec/{schema}` declares no message `{message_name}`"),
                )
                .label("no such message")
                .help(did_you_mean(message_name, known.iter().map(String::as_str))),
            ]);
        };
        let Some((_, folder)) = KINDS.iter().find(|(kind, _)| *kind == message_name) else {
            let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
            return Err(vec![
                Diagnostic::new(
                    "header",
                    &message_span,
                    format!("a file cannot hold a `{message_name}` alone"),
                )
                .label("part of something else")
                .help(one_of(&kinds)),
            ]);
        };
        if path
            .rsplit_once('/')
            .is_none_or(|(parent, _)| parent != *folder)
        {
            let short = descriptor.name();
            return Err(vec![
                Diagnostic::new(
                    "place",
                    &message_span,
                    format!("`{short}` does not belong in {path}"),
                )
                .help(format!(
                    "move the file to {folder}/, or say here what it holds"
                )),
            ]);
        }
        let message = values(&descriptor, path, text, pool, sources)?;
        let fields = scan::scan(text).ok_or_else(|| {
            let span = Span::new(path, 0..0);
            vec![Diagnostic::new(
                "syntax",
                &span,
                "the file parses, but its comments cannot be found",
            )]
        })?;
        Ok(Self {
            path: Arc::clone(path),
            message,
            fields,
        })
    }

    /// A view of the whole file.
    pub fn view(&self) -> View<'_> {
        View {
            path: &self.path,
            message: &self.message,
            fields: Some(&self.fields),
            span: Span::new(&self.path, 0..0),
            comment: "",
        }
    }
}

/// The values, else everything that is wrong with them.
///
/// The parser stops at the first mistake: the field that holds it is blanked out, and the rest read again.
fn values(
    descriptor: &MessageDescriptor,
    path: &Arc<str>,
    text: &str,
    pool: &DescriptorPool,
    sources: &Sources,
) -> Result<DynamicMessage, Vec<Diagnostic>> {
    let mut text = scan::without_comments(text);
    let mut found = Vec::new();
    loop {
        let error = match DynamicMessage::parse_text_format(descriptor.clone(), &text) {
            Ok(message) if found.is_empty() => return Ok(message),
            Ok(_) => return Err(found),
            Err(error) => error,
        };
        let problem = problem::of_text(&error, path, pool, sources);
        let at = problem.span.as_ref().map_or(0, |span| span.start);
        found.push(problem);
        match scan::field_around(&text, at) {
            Some(range) => {
                let spaces = " ".repeat(range.len());
                text.replace_range(range, &spaces);
            }
            None => return Err(found),
        }
    }
}

fn header<'a>(
    path: &Arc<str>,
    text: &'a str,
    key: &str,
) -> Result<(&'a str, Span), Vec<Diagnostic>> {
    scan::header(text, key)
        .map(|(value, range)| (value, Span::new(path, range)))
        .ok_or_else(|| {
            let span = Span::new(path, 0..text.find('\n').unwrap_or(text.len()));
            vec![
                Diagnostic::new("header", &span, format!("the file does not say its `{key}`"))
                    .help("begin with `# proto-file: schema/..` and `# proto-message: ..`, as its neighbours do"),
            ]
        })
}

/// A message's values together with where they are written.
#[derive(Clone, Debug)]
pub struct View<'a> {
    path: &'a Arc<str>,
    message: &'a DynamicMessage,
    fields: Option<&'a [scan::Field]>,
    /// Its place.
    pub span: Span,
    /// The comment above it.
    pub comment: &'a str,
}

impl<'a> View<'a> {
    /// Whether a field is set.
    pub fn has(&self, name: &str) -> bool {
        self.message.has_field_by_name(name) || self.written(name).next().is_some()
    }

    /// A scalar or enum field, set or not.
    pub fn scalar(&self, name: &str) -> Value {
        self.message
            .get_field_by_name(name)
            .map_or(Value::Bool(false), std::borrow::Cow::into_owned)
    }

    /// A text field; empty where it is not set.
    pub fn text(&self, name: &str) -> String {
        self.scalar(name).as_str().unwrap_or_default().to_owned()
    }

    /// Texts of a repeated field with their places.
    pub fn texts(&self, name: &str) -> Vec<(String, Span)> {
        let spans = self.item_spans(name);
        let values = self.scalar(name);
        let values = values.as_list().unwrap_or_default();
        values
            .iter()
            .zip(spans)
            .map(|(value, span)| (value.as_str().unwrap_or_default().to_owned(), span))
            .collect()
    }

    /// Place of a field's value, else the message's own.
    pub fn value_span(&self, name: &str) -> Span {
        self.item_spans(name)
            .into_iter()
            .next()
            .unwrap_or_else(|| self.span.clone())
    }

    /// Place of a field's name, else the message's own.
    pub fn name_span(&self, name: &str) -> Span {
        self.written(name).next().map_or_else(
            || self.span.clone(),
            |field| Span::new(self.path, field.name_span.clone()),
        )
    }

    /// The comment above a field.
    pub fn comment_of(&self, name: &str) -> &'a str {
        self.written(name)
            .next()
            .map_or("", |field| field.comment.as_str())
    }

    /// Fields as they are written.
    pub fn written_fields(&self) -> &'a [scan::Field] {
        self.fields.unwrap_or_default()
    }

    /// A message field; none where it is not set.
    pub fn message(&self, name: &str) -> Option<View<'a>> {
        self.messages(name).into_iter().next()
    }

    /// Every message of a field, in order.
    pub fn messages(&self, name: &str) -> Vec<View<'a>> {
        let values: Vec<&'a DynamicMessage> = self
            .message
            .fields()
            .filter(|(field, _)| field.name() == name)
            .flat_map(|(_, value)| match value {
                Value::List(values) => values.iter().filter_map(Value::as_message).collect(),
                Value::Message(message) => vec![message],
                _ => Vec::new(),
            })
            .collect();
        let items = self.written(name).flat_map(|field| {
            field
                .values
                .iter()
                .map(|item| (field.comment.as_str(), field.name_span.start, item))
        });
        values
            .into_iter()
            .zip(items)
            .map(|(message, (comment, start, item))| View {
                path: self.path,
                message,
                fields: item.fields.as_deref(),
                span: Span::new(self.path, start..item.span.end),
                comment,
            })
            .collect()
    }

    /// The message's own descriptor.
    pub fn descriptor(&self) -> prost_reflect::MessageDescriptor {
        self.message.descriptor()
    }

    fn written(&self, name: &str) -> impl Iterator<Item = &'a scan::Field> {
        let name = name.to_owned();
        self.written_fields()
            .iter()
            .filter(move |field| field.name == name)
    }

    fn item_spans(&self, name: &str) -> Vec<Span> {
        self.written(name)
            .flat_map(|field| &field.values)
            .map(|item| Span::new(self.path, item.span.clone()))
            .collect()
    }
}
