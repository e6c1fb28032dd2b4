//! What is fuzzed: the scan of a textproto, which sees whatever somebody has typed so far.

use std::ops::Range;

use cachekit_codegen::load::scan::{self, Field};

/// Scans the bytes as text. Every place that comes back is one in the text, fields follow each other, and comments are
/// nothing but comments.
pub(crate) fn textproto_scan(data: &[u8]) {
    let text = &*String::from_utf8_lossy(data);
    let plain = scan::without_comments(text);
    assert_eq!(plain.len(), text.len());
    if let Some(fields) = scan::scan(text) {
        within(text, &(0..text.len()), &fields);
        let mut places = Vec::new();
        spans(&fields, &mut places);
        let mut without = Vec::new();
        spans(
            &scan::scan(&plain).expect("only comments went"),
            &mut without,
        );
        assert_eq!(places, without);
    }
    // Some places: all of them would be most of the time.
    let every = text.len() / 4 + 1;
    for (at, _) in text.char_indices().step_by(every) {
        if let Some(found) = scan::field_around(text, at) {
            assert!(found.contains(&at));
            let _ = &text[found];
        }
    }
    if let Some(open) = text.find('{')
        && let Some(inside) = scan::within_braces(&text[open..])
    {
        assert_eq!(text.as_bytes()[open + 1 + inside.len()], b'}');
    }
    if let Some((value, place)) = scan::header(text, "proto-file") {
        assert_eq!(&text[place], value);
    }
}

fn within(text: &str, around: &Range<usize>, fields: &[Field]) {
    let mut at = around.start;
    for field in fields {
        assert!(at <= field.span.start && field.span.end <= around.end);
        assert_eq!(field.name_span.start, field.span.start);
        if !field.name.starts_with('[') {
            assert_eq!(&text[field.name_span.clone()], field.name);
        }
        at = field.name_span.end;
        for item in &field.values {
            assert!(at <= item.span.start && item.span.end <= field.span.end);
            within(text, &item.span, item.fields.as_deref().unwrap_or_default());
            at = item.span.end;
        }
        at = field.span.end;
    }
}

fn spans(fields: &[Field], found: &mut Vec<Range<usize>>) {
    for field in fields {
        found.extend([field.span.clone(), field.name_span.clone()]);
        for item in &field.values {
            found.push(item.span.clone());
            spans(item.fields.as_deref().unwrap_or_default(), found);
        }
    }
}
