//! The scenario file on each of the four drivers.

mod file;
mod runner;
mod stages;

use file::Scenarios;
use runner::run;
use stages::{Blocking, EventLoop, Simulated, Stage, Tokio};

fn run_all<S: Stage>(stage: impl Fn(&file::Scenario) -> S) {
    let scenarios = Scenarios::read("backbone.json");
    assert!(scenarios.scenarios.len() >= 6);
    for scenario in &scenarios.scenarios {
        println!("{}: {}", scenario.name, scenario.about);
        run(scenario, stage(scenario));
    }
}

#[test]
fn blocking() {
    run_all(|_| Blocking::new());
}

#[test]
fn tokio() {
    run_all(|_| Tokio::new());
}

#[test]
fn event_loop() {
    run_all(|_| EventLoop::new());
}

#[test]
fn simulation() {
    for seed in 0..20 {
        run_all(|_| Simulated::new(seed));
    }
}
