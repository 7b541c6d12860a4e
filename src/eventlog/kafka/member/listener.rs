//! Notes what the group changes, for the member that tells its owner.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rdkafka::{
    Statistics,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    topic_partition_list::TopicPartitionList,
    types::RDKafkaRespErr,
};

use crate::eventlog::{
    TopicPartition,
    kafka::{client::ClientContext, topics::part},
    with_companions,
};

/// Notes changes of the assignment.
pub(super) struct RebalanceListener {
    pub(super) context: ClientContext,
    /// Topics whose partitions come and go with those of the group. The library lets a member read what it likes; the group
    /// need not know.
    alongside: Vec<String>,
    rebalances: Mutex<VecDeque<Rebalance>>,
    /// From now on changes are answered at once, since nobody asks any more.
    closing: AtomicBool,
}

/// A change of the assignment that waits for its answer.
pub(super) enum Rebalance {
    Assign(Vec<TopicPartition>),
    Revoke(Vec<TopicPartition>),
}

impl RebalanceListener {
    pub(super) fn new(alongside: &[&str]) -> Self {
        let alongside = alongside.iter().map(|&topic| topic.to_owned()).collect();
        Self {
            context: ClientContext::default(),
            alongside,
            rebalances: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub(super) fn rebalances(&self) -> MutexGuard<'_, VecDeque<Rebalance>> {
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl rdkafka::ClientContext for RebalanceListener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn stats(&self, _: Statistics) {}

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ConsumerContext for RebalanceListener {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assign = event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let partitions = list.elements().iter().map(|entry| part(entry.topic(), entry.partition() as u32)).collect();
        let partitions = with_companions(partitions, &self.alongside);
        if self.closing.load(Ordering::Relaxed) {
            // a member that is put out while it leaves leaves an event behind, and nobody hears an answer any more: the
            // library would wait for ever until it is heard
            if consumer.closed() {
                return;
            }
            let mut list = TopicPartitionList::with_capacity(partitions.len());
            for tp in &partitions {
                list.add_partition(&tp.topic, tp.partition as i32);
            }
            let answer = if assign { consumer.incremental_assign(&list) } else { consumer.incremental_unassign(&list) };
            if let Err(error) = answer {
                self.context.note(&error);
            }
            return;
        }
        self.rebalances().push_back(if assign { Rebalance::Assign(partitions) } else { Rebalance::Revoke(partitions) });
    }
}
