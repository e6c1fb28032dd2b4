//! Everything that a spec declares says what it is: the comments are the documentation of every language.

use prost_reflect::{EnumDescriptor, FileDescriptor, MessageDescriptor};

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;
use crate::model::Span;

pub(super) struct MissingComment;

impl Rule for MissingComment {
    fn name(&self) -> &'static str {
        "missing_comment"
    }

    fn about(&self) -> &'static str {
        "every message, field, enum, enum value, preset, format and alert has a comment"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        let places = &context.loaded.places;
        for message in context.loaded.pool.all_messages() {
            if places.path(&message.parent_file()).is_some() && !message.is_map_entry() {
                self.check_message(context, &message, found);
            }
        }
        for found_enum in context.loaded.pool.all_enums() {
            if places.path(&found_enum.parent_file()).is_some() {
                self.check_enum(context, &found_enum, found);
            }
        }
        let spec = context.spec;
        let presets = spec
            .presets
            .iter()
            .map(|it| ("preset", &it.name, &it.doc, &it.span));
        let formats = spec
            .formats
            .iter()
            .map(|it| ("envelope format", &it.name, &it.doc, &it.span));
        let alerts = spec
            .alerts
            .iter()
            .map(|it| ("alert", &it.name, &it.doc, &it.span));
        for (what, name, doc, span) in presets.chain(formats).chain(alerts) {
            if doc.is_empty() {
                found.push(self.missing(
                    &format!("{what} `{name}`"),
                    span,
                    "say above `name`, after `#`, why it is as it is",
                ));
            }
        }
    }
}

impl MissingComment {
    fn check_message(
        &self,
        context: &Context<'_>,
        message: &MessageDescriptor,
        found: &mut Vec<Diagnostic>,
    ) {
        let file = message.parent_file();
        self.check_at(
            context,
            &file,
            message.path(),
            &format!("message `{}`", message.name()),
            found,
        );
        for field in message.fields() {
            let what = format!("field `{}.{}`", message.name(), field.name());
            self.check_at(context, &file, field.path(), &what, found);
        }
    }

    fn check_enum(
        &self,
        context: &Context<'_>,
        found_enum: &EnumDescriptor,
        found: &mut Vec<Diagnostic>,
    ) {
        let file = found_enum.parent_file();
        let what = format!("enum `{}`", found_enum.name());
        self.check_at(context, &file, found_enum.path(), &what, found);
        for value in found_enum
            .values()
            .filter(|value| !value.name().ends_with("_UNSPECIFIED"))
        {
            let what = format!("enum value `{}`", value.name());
            self.check_at(context, &file, value.path(), &what, found);
        }
    }

    fn check_at(
        &self,
        context: &Context<'_>,
        file: &FileDescriptor,
        path: &[i32],
        what: &str,
        found: &mut Vec<Diagnostic>,
    ) {
        let places = &context.loaded.places;
        if places.doc(file, path).is_empty() {
            let help = "say in the line above, after `//`, what it is";
            found.push(self.missing(what, &places.name(file, path), help));
        }
    }

    fn missing(&self, what: &str, span: &Span, help: &str) -> Diagnostic {
        Diagnostic::new(self.name(), span, format!("{what} has no comment")).help(help)
    }
}
