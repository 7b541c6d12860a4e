//! Flows on the command line.

use serde_json::json;

use super::{Done, beside, encargo, run, two_orders};
use crate::harness::{PATIENCE, process::end};

/// A kitchen: somebody says when a dish is done, and one product waits longer for who fetches it.
const KITCHEN: &str = r#"
name = "cocina"
version = 1
[[step]]
state = "recibido"
dwell = "2m"
[[step]]
state = "cocinando"
leave = "command"
expect = "20m"
mail = false
[[step]]
state = "mostrador"
leave = "either"
dwell = "1h"
expect = "10m"
for = [{ name = "*tarta*", dwell = "2h" }]
mail = "entregando"
[[step]]
state = "entregado"
[refused]
state = "rechazado"
mail = false
[cancelled]
state = "cancelado"
mail = false
"#;

#[test]
fn flows_are_checked_shown_and_tried_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("kitchen.toml"), KITCHEN).unwrap();
    std::fs::write(path.join("bad.toml"), KITCHEN.replace("20m", "20")).unwrap();
    insta::assert_snapshot!(run(path, &["flow", "check", "kitchen.toml"]).ok(), @r#"
    kitchen.toml is fine: cocina@1, 4 states
    note  entregado is mailed with the generic text: there is no template for it
    "#);
    let bad = run(path, &["flow", "check", "bad.toml"]);
    assert_eq!((bad.status, bad.out.as_str()), (1, ""));
    insta::assert_snapshot!(bad.err, @r#"error: bad.toml:10: expect must be a duration with its unit, like "8s", "500ms" or "30d", not "20""#);
    // what no process would start with is not fine
    std::fs::write(path.join("zzz.toml"), KITCHEN.replace("\"entregando\"", "\"zzz\"")).unwrap();
    for arguments in [&["flow", "check", "zzz.toml"][..], &["flow", "check", "zzz.toml", "--json"]] {
        let refused = run(path, arguments);
        assert_eq!((refused.status, refused.out.as_str()), (1, ""), "{refused:?}");
        assert!(refused.err.contains("mails mostrador with the template \"zzz\", which is not there"), "{refused:?}");
    }
    let checked = run(path, &["flow", "check", "kitchen.toml", "--json"]).json().remove(0);
    assert_eq!((&checked["name"], &checked["version"], &checked["states"]), (&json!("cocina"), &json!(1), &json!(4)));

    insta::assert_snapshot!(run(path, &["flow", "show", "kitchen.toml"]).ok(), @r#"
    cocina@1  content b816110733253694
       STATE      LEFT BY           AFTER                EXPECTED  CANCELLED BY        MAIL
    1  recibido   timer             2m                             customer, operator  recibido
    2  cocinando  command                                20m       customer, operator  none
    3  mostrador  timer or command  1h                   10m       operator            entregando
                                    2h for name *tarta*
    4  entregado  (the end)                                                            entregado
       cancelado  (cancelled)                                                          none
       rechazado  (refused)                                                            none
    "#);
    insta::assert_snapshot!(run(path, &["flow", "show"]).ok(), @r#"
    default@1  content 3b9e8bfcf2c7614c
       STATE       LEFT BY      AFTER  EXPECTED  CANCELLED BY        MAIL
    1  recibido    timer        8s               customer, operator  recibido
    2  preparando  timer        8s               customer, operator  preparando
    3  entregando  timer        8s               operator            entregando
    4  finalizado  (the end)                                         finalizado
       cancelado   (cancelled)                                       cancelado
    "#);
    let shown = run(path, &["flow", "show", "kitchen.toml", "--json"]).json().remove(0);
    assert_eq!(shown["step"][2]["for"], json!([{ "name": "*tarta*", "dwell": "2h" }]));

    let simulate = |more: &[&str]| run(path, &[&["flow", "simulate", "kitchen.toml"], more].concat());
    let tried = simulate(&[]);
    insta::assert_snapshot!(tried.err, @r#"
    10000 orders of cocina@1, seed 1; at most 1992 in flight at once. Times are those of the flow alone: no order waits for a busy cook.
    How long commands take is drawn from an exponential distribution with expect as its mean.
    Each of 56 products is ordered as often as the others.
    "#);
    insta::assert_snapshot!(tried.ok(), @r#"
    STATE      LEFT BY                  SHARE     HALF     90 %        99 %         ALL  AT ONCE
    recibido   timer                      6 %       2m       2m          2m          2m      154  ▇
    cocinando  command                   63 %  13m 43s  45m 22s  1h 32m 32s  3h 26m 56s     1270  ▇▇▇▇▇▇▇▇▇▇▇▇▇
    mostrador  timer, or 9976 commands   31 %   6m 54s  22m 41s     45m 20s          1h      629  ▇▇▇▇▇▇
    (whole)                                    26m 16s   1h 29s  1h 44m 58s  3h 34m 11s     1992
    "#);
    let standard = run(path, &["flow", "simulate", "--orders", "100", "--json"]).json().remove(0);
    assert_eq!(standard["time"], json!({ "p50_ms": 24_000, "p90_ms": 24_000, "p99_ms": 24_000, "max_ms": 24_000 }));
    assert_eq!(simulate(&["--seed", "7"]).ok(), simulate(&["--seed", "7"]).ok());
    assert_ne!(simulate(&["--seed", "7"]).ok(), simulate(&["--seed", "8"]).ok());
    std::fs::write(path.join("unknown.toml"), KITCHEN.replace("expect = \"20m\"", "")).unwrap();
    insta::assert_snapshot!(run(path, &["flow", "simulate", "unknown.toml"]).err, @r#"error: cocinando waits for a command, and the flow does not say how long that takes: give it an `expect`, like expect = "20m""#);
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_are_compared_beside_orders_in_flight() {
    let app = two_orders().await;
    let write = |name: &str, text: &str| std::fs::write(app.folder().join(name), text).unwrap();
    write("old.toml", KITCHEN);
    let newer = KITCHEN.replace("version = 1", "version = 2").replace("20m", "15m");
    let place = newer.find("[[step]]\nstate = \"mostrador\"").unwrap();
    let (before, after) = newer.split_at(place);
    write("new.toml", &format!("{before}[[step]]\nstate = \"caja\"\ndwell = \"1m\"\n{after}"));
    write("other.toml", &KITCHEN.replace("20m", "15m"));
    let differ = beside(&app, &["flow", "diff", "old.toml", "new.toml"]).await;
    insta::assert_snapshot!(differ.err, @r#"
    Orders in flight go on under cocina@1 to their end; new ones begin under cocina@2.
    In flight now: 1 order in recibido.
    "#);
    insta::assert_snapshot!(differ.ok(), @r#"
    cocina@1 → cocina@2
    STATE      KEY     BEFORE  AFTER
    cocinando  expect  20m     15m
    caja       step    -       place 3: leave timer, dwell 1m, cancel customer, mail caja
    "#);
    let refused = beside(&app, &["flow", "diff", "old.toml", "other.toml"]).await;
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.err.contains("one version cannot mean two things"), "{refused:?}");
    let json = beside(&app, &["flow", "diff", "old.toml", "new.toml", "--json"]).await.json().remove(0);
    assert_eq!((&json["meaning"], &json["in_flight"]), (&json!("newer"), &json!({ "recibido": 1 })));
    let alone = run(app.folder(), &["flow", "diff", "old.toml", "old.toml", "--data", "none"]);
    insta::assert_snapshot!(alone.err, @r#"
    Both say the same: nothing changes.
    Orders in flight are not counted: there is no data folder none.
    "#);
    alone.ok();
}

#[test]
fn a_flow_with_a_template_that_is_not_there_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(path.join("kitchen.toml"), KITCHEN.replace("mail = \"entregando\"", "mail = \"aviso\"")).unwrap();
    std::fs::write(path.join("encargo.toml"), "flow.file = \"kitchen.toml\"\nops.listen = \"127.0.0.1:0\"\n").unwrap();
    let listen = ["--intake-listen", "127.0.0.1:0", "--tracking-listen", "127.0.0.1:0"];
    let done: Done = end(PATIENCE, &mut encargo(path, &[&["up"], &listen[..]].concat())).into();
    assert_eq!(done.status, 1, "{done:?}");
    for named in
        ["the flow cocina mails mostrador with the template \"aviso\"", "there are cancelado, enlace, entregando,"]
    {
        assert!(done.err.contains(named), "{done:?}");
    }
}
