//! Envelope formats.

use super::{Resolver, SPEC_PACKAGE, called};
use crate::load::View;
use crate::model::{Format, Step, StepKind};

/// Every format by id, and then those whose framing carries none.
pub(super) fn all(resolver: &mut Resolver<'_>) -> Vec<Format> {
    let loaded = resolver.loaded;
    let name = format!("{SPEC_PACKAGE}.EnvelopeFormat");
    let mut formats: Vec<Format> = loaded
        .documents_of(&name)
        .map(|document| read(resolver, &document.view()))
        .collect();
    formats.sort_by_key(|format| (format.id == 0, format.id, format.name.clone()));
    formats
}

fn read(resolver: &mut Resolver<'_>, view: &View<'_>) -> Format {
    let name = resolver.text(view, "the envelope format", "name");
    let what = called("envelope format", &name);
    let steps = view.messages("steps");
    if steps.is_empty() {
        resolver.missing(
            view,
            &what,
            "steps",
            "begin with `steps { serialize {} }`".to_owned(),
        );
    }
    Format {
        id: view.scalar("id").as_u32().unwrap_or(0),
        doc: view.comment_of("name").to_owned(),
        summary: resolver.text(view, &what, "summary"),
        framing: resolver.enumeration(view, &what, "framing"),
        steps: steps
            .iter()
            .filter_map(|step| read_step(resolver, step, &what))
            .collect(),
        span: view.value_span("name"),
        id_span: view.value_span("id"),
        name,
    }
}

fn read_step(resolver: &mut Resolver<'_>, view: &View<'_>, what: &str) -> Option<Step> {
    let what = format!("a step of {what}");
    let kind = if view.message("serialize").is_some() {
        StepKind::Serialize
    } else if let Some(step) = view.message("compress") {
        StepKind::Compress {
            algorithm: resolver.enumeration(&step, &what, "algorithm"),
            min_bytes: step.scalar("min_bytes").as_u64().unwrap_or(0),
        }
    } else if let Some(step) = view.message("checksum") {
        StepKind::Checksum {
            algorithm: resolver.enumeration(&step, &what, "algorithm"),
        }
    } else if let Some(step) = view.message("seal") {
        StepKind::Seal {
            cipher: resolver.enumeration(&step, &what, "cipher"),
        }
    } else {
        let help = "one of `serialize {}`, `compress {..}`, `checksum {..}`, `seal {..}`";
        resolver.missing(view, &what, "step", help.to_owned());
        return None;
    };
    Some(Step {
        kind,
        doc: view.comment.to_owned(),
        span: view.span.clone(),
    })
}
