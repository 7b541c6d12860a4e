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
