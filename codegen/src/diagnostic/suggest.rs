//! "Did you mean": the known name that is closest to a wrong one.
//!
//! Only a name that is plausibly a slip of the pen is offered; a list of what is legal says more than a bad guess.

/// The name closest to `wrong`, if it is close.
pub fn closest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wrong.to_lowercase();
    known
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&lower, &name.to_lowercase()),
                name,
            )
        })
        .filter(|(distance, name)| *distance <= (1 + wrong.len().min(name.len()) / 4).min(3))
        .min_by_key(|(distance, name)| (*distance, *name))
        .map(|(_, name)| name)
}

/// A help line: the closest name, or all of them where none is close.
pub fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match closest(wrong, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => one_of(&known),
    }
}

/// A help line that lists what is legal.
pub fn one_of(known: &[&str]) -> String {
    if known.is_empty() {
        return "there is none yet".to_owned();
    }
    let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    format!("one of {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_only_what_is_close() {
        let known = ["max_entries", "max_bytes", "ttl"];
        assert_eq!(closest("max_entires", known), Some("max_entries"));
        assert_eq!(closest("tll", known), Some("ttl"));
        assert_eq!(closest("compression", known), None);
        assert_eq!(
            did_you_mean("compression", known),
            "one of `max_entries`, `max_bytes`, `ttl`"
        );
        assert_eq!(did_you_mean("x", []), "there is none yet");
    }
}
