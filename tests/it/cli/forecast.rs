//! `encargo forecast`.

use std::fmt::Write as _;

use encargo::forecast::shop::Shop;
use serde_json::Value;

use super::run;

/// The first days of a made-up shop, as a file.
fn past(days: usize) -> String {
    let history = Shop::Office.orders(4, 20.0, 1);
    let mut text = "at,orders\n".to_owned();
    for (orders, index) in history.orders().iter().zip(0..days * 288) {
        writeln!(text, "{},{orders}", history.at(index)).unwrap();
    }
    text
}

#[test]
fn what_will_come_is_told_with_its_past_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("orders.csv"), past(28)).unwrap();
    let told = run(path, &["forecast", "--history", "orders.csv", "--next", "12h", "--json"]).ok();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["model"], "profile");
    assert!(told["error"]["profile"].as_f64().unwrap() < 0.1, "{}", told["error"]);
    let points = told["points"].as_array().unwrap();
    assert_eq!((points.len(), &points[0]["at"]), (144, &"2026-02-02T00:00:00.000Z".into()));
    let busiest = points.iter().map(|point| point["p50"].as_f64().unwrap()).fold(0.0, f64::max);
    assert!((1_000.0..1_400.0).contains(&busiest), "20/s and a little growth: {busiest}");
    assert_eq!(points[126]["instances"]["fulfilment"], 1, "there is one process on SQLite");

    std::fs::write(path.join("days.txt"), "2026-02-02 0\n").unwrap();
    let spanish =
        ["forecast", "--history", "orders.csv", "--special", "days.txt", "--lang", "es", "--html", "page.html"];
    let closed = run(path, &spanish).ok();
    assert!(closed.starts_with("# Como mucho 0,0 pedidos por minuto"), "{closed}");
    assert!(closed.contains("este modelo (perfil de la semana)"), "{closed}");
    let page = std::fs::read_to_string(path.join("page.html")).unwrap();
    assert!(page.contains("<svg class=\"plot\"") && page.contains("lang=\"es\""));
}

#[test]
fn too_little_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("orders.csv"), past(3)).unwrap();
    let refused = run(path, &["forecast", "--history", "orders.csv"]);
    assert_eq!(refused.status, 1);
    assert!(
        refused.err.contains("the orders of 3 days are too few") && refused.err.contains("14 days are needed"),
        "{refused:?}"
    );
    std::fs::write(path.join("orders.csv"), "at,orders\nyesterday,3\n").unwrap();
    let wrong = run(path, &["forecast", "--history", "orders.csv"]);
    assert!(wrong.err.contains("cannot use orders.csv") && wrong.err.contains("line 2"), "{wrong:?}");
    let slow = run(path, &["simulate", "demand", "--pause", "48h"]);
    assert!(slow.status == 1 && slow.err.contains("--pause must be 24h at most"), "{slow:?}");
}
