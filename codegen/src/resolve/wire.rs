//! What other programs read.

use prost_reflect::prost_types::{FileDescriptorProto, FileDescriptorSet};
use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};

use crate::load::Loaded;
use crate::model::{Field, Message};

/// Package prefix of the wire's schemas.
const WIRE: &str = "cachekit.wire.";

/// Its messages, and its files as descriptors.
pub(super) fn all(loaded: &Loaded) -> (Vec<Message>, FileDescriptorSet) {
    let file = loaded
        .pool
        .files()
        .filter(|file| file.package_name().starts_with(WIRE))
        .map(|file| without_waivers(file.file_descriptor_proto().clone()))
        .collect();
    let messages = loaded
        .pool
        .all_messages()
        .filter(|message| message.package_name().starts_with(WIRE) && !message.is_map_entry())
        .map(|found| message(loaded, &found))
        .collect();
    (messages, FileDescriptorSet { file })
}

/// Comments go into generated code as they are; a waiver is not for its readers.
fn without_waivers(mut file: FileDescriptorProto) -> FileDescriptorProto {
    let locations = file
        .source_code_info
        .iter_mut()
        .flat_map(|info| &mut info.location);
    for comment in locations.filter_map(|location| location.leading_comments.as_mut()) {
        if comment.contains("cachekit:allow") {
            let kept = comment
                .lines()
                .filter(|line| !line.trim_start().starts_with("cachekit:allow"));
            *comment = kept.flat_map(|line| [line, "\n"]).collect();
        }
    }
    file
}

fn message(loaded: &Loaded, message: &MessageDescriptor) -> Message {
    let file = message.parent_file();
    let mut fields: Vec<FieldDescriptor> = message.fields().collect();
    fields.sort_by_key(|field| field.path().to_vec());
    Message {
        name: message.name().to_owned(),
        full_name: message.full_name().to_owned(),
        doc: loaded.places.doc(&file, message.path()),
        fields: fields
            .iter()
            .map(|field| Field {
                name: field.name().to_owned(),
                number: field.number(),
                type_name: type_name(field),
                repeated: field.cardinality() == Cardinality::Repeated,
                doc: loaded.places.doc(&file, field.path()),
                span: loaded.places.whole(&file, field.path()),
            })
            .collect(),
        span: loaded.places.name(&file, message.path()),
    }
}

/// A field's type as a schema writes it, without its package.
pub(crate) fn type_name(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Message(message) => message.name().to_owned(),
        Kind::Enum(found) => found.name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}
