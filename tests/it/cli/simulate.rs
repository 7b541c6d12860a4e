//! `encargo simulate demand`.

use serde_json::Value;

use super::run;

#[test]
fn policies_are_compared_on_the_same_orders() {
    let folder = tempfile::tempdir().unwrap();
    let demand = ["simulate", "demand", "--shop", "calm", "--weeks", "1", "--json"];
    let told = run(folder.path(), &demand).ok();
    assert_eq!(run(folder.path(), &demand).ok(), told, "the same seed");
    let told: Value = serde_json::from_str(&told).unwrap();
    let policies = told["policies"].as_array().unwrap();
    let names: Vec<_> = policies.iter().map(|policy| policy["policy"].as_str().unwrap()).collect();
    assert_eq!(names, ["fixed", "reactive", "forecast", "forecast+lag", "oracle"]);
    let of = |name: &str, field: &str| {
        policies.iter().find(|policy| policy["policy"] == name).unwrap()[field].as_f64().unwrap()
    };
    assert!(of("forecast+lag", "of_fixed") <= 0.7 && of("forecast+lag", "late_share") < 0.01, "{told}");

    let few = run(folder.path(), &["simulate", "demand", "--history", "none.csv"]);
    assert!(few.status == 1 && few.err.contains("cannot read none.csv"), "{few:?}");
    std::fs::write(folder.path().join("day.csv"), "2026-01-05T00:00:00Z,3\n2026-01-06T00:00:00Z,4\n").unwrap();
    let few = run(folder.path(), &["simulate", "demand", "--history", "day.csv"]);
    assert!(few.status == 1 && few.err.contains("three weeks are needed"), "{few:?}");
}

#[test]
fn that_nobody_can_carry_the_peak_is_said_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let demand = ["simulate", "demand", "--shop", "calm", "--weeks", "1"];
    let run = |more: &[&str]| run(folder.path(), &[&demand[..], more].concat()).ok();
    let short = run(&["--capacity", "100", "--partitions", "3"]);
    assert!(short.starts_with("# 3 instances cannot carry the peak"), "{short}");
    assert!(short.contains("--partitions") && !short.contains("no order is late"), "{short}");
    assert!(!short.contains("came all at once"), "{short}");
    let enough = run(&["--lang", "es"]);
    assert!(enough.contains("ningún pedido llega tarde") && !enough.contains("--partitions"), "{enough}");
    let late: Vec<_> = enough.split('|').filter(|cell| cell.trim().ends_with(" %") && cell.contains(',')).collect();
    assert_eq!(late.len(), 5, "a comma before the decimals of each policy: {enough}");
}
