//! Errors and the Python classes that are raised for them.

use super::{Resolver, SPEC_PACKAGE, called};
use crate::load::View;
use crate::model::{ErrorSpec, PythonClass};

/// Every error, in the order of the file, and every class, a base before what derives from it.
pub(super) fn all(resolver: &mut Resolver<'_>) -> (Vec<ErrorSpec>, Vec<PythonClass>) {
    let loaded = resolver.loaded;
    let name = format!("{SPEC_PACKAGE}.ErrorList");
    let mut errors = Vec::new();
    let mut classes = Vec::new();
    for document in loaded.documents_of(&name) {
        let view = document.view();
        errors.extend(
            view.messages("errors")
                .iter()
                .map(|view| error(resolver, view)),
        );
        classes.extend(
            view.messages("python_classes")
                .iter()
                .map(|view| class(resolver, view)),
        );
    }
    (errors, bases_first(classes))
}

fn error(resolver: &mut Resolver<'_>, view: &View<'_>) -> ErrorSpec {
    let code = resolver.text(view, "an error", "code");
    let what = called("error", &code);
    ErrorSpec {
        doc: view.comment.to_owned(),
        kind: resolver.enumeration(view, &what, "kind"),
        retryable: view.scalar("retryable").as_bool().unwrap_or(false),
        text: resolver.text(view, &what, "text"),
        python_class: resolver.text(view, &what, "python_class"),
        span: view.value_span("code"),
        text_span: view.value_span("text"),
        python_class_span: view.value_span("python_class"),
        code,
    }
}

fn class(resolver: &mut Resolver<'_>, view: &View<'_>) -> PythonClass {
    let name = resolver.text(view, "a Python class", "name");
    let what = called("Python class", &name);
    let bases = view.texts("bases");
    if bases.is_empty() {
        resolver.missing(
            view,
            &what,
            "bases",
            "derive it from one of ours".to_owned(),
        );
    }
    PythonClass {
        bases: bases.into_iter().map(|(base, _)| base).collect(),
        doc: resolver.text(view, &what, "doc"),
        span: view.value_span("name"),
        name,
    }
}

/// Keeps the order of the file but for what would be used before it is defined. A cycle keeps its order; a lint
/// reports it.
fn bases_first(mut rest: Vec<PythonClass>) -> Vec<PythonClass> {
    let mut sorted: Vec<PythonClass> = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let ready = rest.iter().position(|class| {
            let waits = |base: &String| rest.iter().any(|other| other.name == *base);
            !class.bases.iter().any(waits)
        });
        sorted.push(rest.remove(ready.unwrap_or(0)));
    }
    sorted
}
