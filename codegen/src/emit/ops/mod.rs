//! What operators load: Prometheus rules, tests of the rules, and a Grafana dashboard.

mod alerts;
mod grafana;
mod promql;
mod rule_tests;

pub(super) use alerts::expression;

use super::{Fault, Output};
use crate::model::Spec;

pub(super) fn emit(spec: &Spec) -> Result<Vec<Output>, Fault> {
    Ok(vec![
        Output::text("docs/ops/alerts.yml", &alerts::emit(spec)?),
        Output::text("docs/ops/alerts_test.yml", &rule_tests::emit(spec)?),
        Output::text("docs/ops/grafana.json", &grafana::emit(spec)?),
    ])
}
