//! CloudEvents among strangers: a shop that orders, commands and reads by their official SDK.

use std::collections::BTreeSet;

use encargo::{audit, domain::Timestamp};
use serde_json::{Value, json};

use super::{
    ours::Ours,
    players::{read_events, write_events},
    verdicts::{five_fields, place},
};
use crate::harness::eventually;

/// What the shop writes with each of its events.
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn event(mode: &str, key: u64, data: Value) -> Value {
    json!({ "mode": mode, "key": key.to_string(), "data": data })
}

async fn mailed(ours: &Ours, expected: &[(u64, &str)]) {
    let expected: BTreeSet<_> = expected.iter().map(|(id, estado)| (*id, (*estado).to_owned())).collect();
    eventually("the mails", async || {
        let mails = audit::read_maildir(&ours.cluster.folder.path().join("mail")).map_err(|e| format!("{e:#}"))?;
        let told: BTreeSet<_> = mails.iter().map(|mail| (mail.id, mail.estado.clone())).collect();
        if told == expected { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_with_the_cloudevents_sdk_orders_cancels_and_reads_what_we_write() {
    let ours = Ours::prepare("compra_detalle", "1h").await;
    let (intake, _fulfilment) = (ours.cluster.start("intake", 0).await, ours.cluster.start("fulfilment", 0).await);
    let (_tracking, _mail) = (ours.cluster.start("tracking", 0).await, ours.cluster.start("mail", 0).await);
    let own = *place(&intake, 1).await.keys().next().expect("an order");
    let mut spoilt = five_fields(104, 1);
    spoilt["price"] = json!(7.99);
    let modes = [(101, "structured"), (102, "binary"), (103, "base64")];
    let mut orders: Vec<_> = modes.iter().map(|(id, mode)| event(mode, *id, five_fields(*id, 1))).collect();
    orders.push(event("structured", 104, spoilt));
    write_events(&ours, &ours.orders, &orders);
    mailed(&ours, &[own, 101, 102, 103].map(|id| (id, "recibido"))).await;

    let letter = eventually("the dead letter", async || {
        let listed = ours.cluster.run(&["dead", "list", "--json"]);
        let letter = listed.lines().next().ok_or("none yet")?;
        Ok(serde_json::from_str::<Value>(letter).expect("a line of JSON"))
    })
    .await;
    assert_eq!((&letter["misfit"]["fault"], &letter["misfit"]["pointer"]), (&json!("type"), &json!("/data/price")));
    let shown = ours.cluster.run(&["dead", "show", letter["id"].as_str().expect("text")]);
    assert!(shown.contains("\n>  price") && shown.contains("7.99"), "{shown}");

    let cancel = |id: u64| json!({ "orderid": id, "command": format!("c-{id}"), "do": "cancel", "party": "customer", "by": "shop" });
    let config = ours.cluster.config().topics;
    write_events(&ours, &config.commands, &[event("structured", 101, cancel(101)), event("binary", 102, cancel(102))]);
    let received = [own, 101, 102, 103].map(|id| (id, "recibido"));
    mailed(&ours, &[&received[..], &[(101, "cancelado"), (102, "cancelado")]].concat()).await;

    let read = eventually("what became of both commands", async || {
        let read = read_events(&ours, &[&ours.orders, &ours.states, &config.commands, &config.outcomes]);
        let outcomes = read.iter().filter(|event| event["topic"] == *config.outcomes).count();
        if outcomes == 2 { Ok(read) } else { Err(format!("{outcomes} outcomes")) }
    })
    .await;
    assert_eq!(read.len(), 5 + 6 + 2 + 2, "orders, states, commands and outcomes: {read:?}");
    let is_ours =
        |event: &&Value| event["attributes"]["source"].as_str().is_some_and(|source| source.starts_with("/encargo/"));
    let written: Vec<_> = read.iter().filter(is_ours).collect();
    assert_eq!(written.len(), 1 + 6 + 2, "{written:?}");
    let ids: BTreeSet<_> = written.iter().map(|event| event["attributes"]["id"].to_string()).collect();
    assert_eq!(ids.len(), written.len(), "unique");
    for event in written {
        let (attributes, id) = (&event["attributes"], event["data"]["orderid"].to_string());
        let (kind, schema) = match event["topic"].as_str().expect("text") {
            topic if topic == ours.orders => ("encargo.order.placed.v1", "urn:encargo:order"),
            topic if topic == ours.states => ("encargo.order.state-entered.v2", "urn:encargo:state"),
            _ => ("encargo.order.command-decided.v1", "urn:encargo:outcome"),
        };
        for (name, value) in [
            ("specversion", "1.0"),
            ("type", kind),
            ("dataschema", schema),
            ("datacontenttype", "application/json"),
            ("subject", &id),
            ("partitionkey", &id),
        ] {
            assert_eq!(attributes[name], value, "{name} of {event}");
        }
        assert_eq!(event["key"], *id);
        let time = attributes["time"].as_str().expect("text").parse::<Timestamp>().expect("a time");
        let told = ["at", "placed_at"].iter().find_map(|name| event["data"][name].as_str()).expect("a time");
        assert_eq!(time, told.parse().expect("a time"), "{event}");
        if event["topic"] == *ours.states && id != own.to_string() {
            assert_eq!(attributes["traceparent"], TRACE, "the trace goes on: {event}");
        }
    }
}
