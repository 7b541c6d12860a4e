//! Topics of an earlier version with orders in flight: see `upgrade.rs`.

use encargo::{
    domain::wire::Headers,
    eventlog::{GroupOffset, MemberEvent, MemberMode},
    fulfilment::GROUP,
};
use serde_json::Value;

use super::*;

const ORDERS: u64 = 8;

/// What that version wrote. Its transactions left a control record behind each commit, which a plain append does not: offsets are
/// counted anew, and with them the watermark in the group's metadata.
struct Written {
    lines: Vec<Value>,
}

impl Written {
    fn read() -> Self {
        let text = include_str!("../../golden/data-of-2db1da3/kafka.jsonl");
        Self { lines: text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() }
    }

    fn records(&self, of: &str, topic: &str) -> Vec<NewRecord> {
        let ours = self.lines.iter().filter(|line| line["topic"] == of && line.get("value").is_some());
        let record = |line: &Value| NewRecord {
            topic: topic.into(),
            partition: Some(line["partition"].as_u64().unwrap() as u32),
            key: Some(line["key"].as_str().unwrap().into()),
            value: serde_json::to_vec(&line["value"]).unwrap(),
            headers: headers(&line["headers"]),
            at: line["at"].as_str().unwrap().parse().unwrap(),
        };
        ours.map(record).collect()
    }

    fn offsets(&self) -> Vec<GroupOffset> {
        let offset = |line: &Value| {
            let (partition, metadata) = (&line["partition"], line["metadata"].as_str().unwrap());
            let (before, rest) = metadata.strip_prefix("v1 w=").and_then(|text| text.split_once(' ')).unwrap();
            let before: u64 = before.parse().unwrap();
            let states = self.lines.iter().filter(|line| line["topic"] == "compra_confirmada");
            let watermark = states
                .filter(|line| line["partition"] == *partition && line["offset"].as_u64().unwrap() < before)
                .count();
            GroupOffset {
                tp: part("orders", partition.as_u64().unwrap() as u32),
                offset: line["offset"].as_u64().unwrap(),
                metadata: format!("v1 w={watermark} {rest}"),
            }
        };
        self.lines.iter().filter(|line| line.get("metadata").is_some()).map(offset).collect()
    }
}

fn headers(lines: &Value) -> Headers {
    let read = |pair: &Value| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned());
    lines.as_array().unwrap().iter().map(read).collect()
}

#[test]
fn kafka_topics_of_before_with_orders_in_flight_go_on() {
    let shop = Shop::open(Cluster::one());
    let written = Written::read();
    append(&shop.log, written.records("compra_detalle", "orders"));
    append(&shop.log, written.records("compra_confirmada", "states"));
    let before = shop.states();
    assert_eq!((before.len(), finished(&before)), (ORDERS as usize, 2));
    let mut member = shop.log.join(GROUP, &["orders"], 0, MemberMode::Outputs).unwrap();
    let clock = crate::harness::real_clock();
    let ends = clock.monotonic() + PATIENCE;
    while !matches!(member.next(Duration::from_millis(50)).unwrap(), MemberEvent::Assigned(all) if !all.is_empty()) {
        assert!(clock.monotonic() < ends, "nothing is assigned");
    }
    crate::eventlog::commit(&mut *member, &[], &written.offsets());
    drop(member);

    let first = shop.start(0);
    shop.until("one more has finished", |states| finished(states) > 2);
    first.end().unwrap();
    let second = shop.start(1);
    append(&shop.log, vec![placed(ORDERS + 1)]);
    shop.until("all have finished", |states| finished(states) == ORDERS as usize + 1);
    check(&shop.states(), 1..=ORDERS + 1, DWELL);
    second.end().unwrap();
}
