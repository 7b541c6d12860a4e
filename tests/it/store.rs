//! The contract of stores: every sentence of the traits' documentation, checked on every back end.

use async_trait::async_trait;
use encargo::store::{
    Store,
    memory::MemoryStore,
    postgres::PgStore,
    sqlite::{Options, SqliteStore},
};

mod bouncer;
mod capacities;
mod connecting;
mod dead;
mod endings;
mod faults;
mod keys;
mod ledger;
mod links;
mod lives;
mod mails;
mod marks;
mod migrating;
mod model;
mod orders;
mod overview;
mod plans;
mod proxy;
mod resend;
mod sharing;
mod support;
mod tls;

/// A place where a store lies: empty at first, and opened again after every [`drop`] of what `open` gave.
#[async_trait]
pub(crate) trait Place: Send + Sync {
    async fn open(&self) -> Box<dyn Store>;

    /// Another place of the same kind, empty.
    fn another(&self) -> Box<dyn Place>;
}

struct SqliteFile(tempfile::TempDir);

impl SqliteFile {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder for temporary files"))
    }
}

#[async_trait]
impl Place for SqliteFile {
    async fn open(&self) -> Box<dyn Store> {
        Box::new(SqliteStore::open(&self.0.path().join("store.db"), Options::default()).expect("the store opens"))
    }

    fn another(&self) -> Box<dyn Place> {
        Box::new(Self::new())
    }
}

#[derive(Default)]
struct InMemory(MemoryStore);

#[async_trait]
impl Place for InMemory {
    async fn open(&self) -> Box<dyn Store> {
        Box::new(self.0.clone())
    }

    fn another(&self) -> Box<dyn Place> {
        Box::new(Self::default())
    }
}

/// A schema of its own in the database that `ENCARGO_TEST_POSTGRES` names; it is dropped afterwards.
pub(crate) struct PgSchema {
    name: String,
}

impl PgSchema {
    pub(crate) fn new() -> Self {
        Self { name: format!("test_{:016x}", encargo::env::Random::system().u64().expect("random numbers")) }
    }

    /// A server is needed: without one these tests fail, and `scripts/test --quick` leaves them out.
    fn database() -> String {
        std::env::var("ENCARGO_TEST_POSTGRES")
            .expect("ENCARGO_TEST_POSTGRES must name a PostgreSQL database for tests, postgres://USER@HOST/DATABASE")
    }

    /// The server's host and port.
    fn host() -> String {
        let database = Self::database();
        let rest = database.split_once("://").map_or(&*database, |(_, rest)| rest);
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        if host.contains(':') { host.to_owned() } else { format!("{host}:5432") }
    }

    pub(crate) fn url(&self) -> String {
        let database = Self::database();
        let separator = if database.contains('?') { '&' } else { '?' };
        format!("{database}{separator}options=-csearch_path%3D{}", self.name)
    }

    /// The same by way of another host and port, without TLS.
    fn url_at(&self, host: &str) -> String {
        let url = self.url().replacen(&Self::host(), host, 1);
        assert!(url.contains(host), "ENCARGO_TEST_POSTGRES must name the port");
        format!("{url}&sslmode=disable")
    }

    async fn create(&self) {
        Self::execute(&format!("CREATE SCHEMA IF NOT EXISTS {}", self.name)).await;
    }

    async fn run(&self, sql: &str) {
        Self::execute(&format!("SET search_path = {}; {sql}", self.name)).await;
    }

    /// The same outside of a runtime.
    fn execute_now(sql: String) {
        let executed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(Self::execute(&sql));
        });
        assert!(executed.join().is_ok() || std::thread::panicking(), "not done");
    }

    async fn execute(sql: &str) {
        let connecting = tokio_postgres::connect(&Self::database(), tokio_postgres::NoTls).await;
        let (client, connection) = connecting.expect("the test database answers");
        let (done, _) = tokio::join!(async move { client.batch_execute(sql).await }, connection);
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[async_trait]
impl Place for PgSchema {
    async fn open(&self) -> Box<dyn Store> {
        self.create().await;
        Box::new(PgStore::open(support::patient(self.url())).await.expect("the store opens"))
    }

    fn another(&self) -> Box<dyn Place> {
        Box::new(Self::new())
    }
}

impl Drop for PgSchema {
    fn drop(&mut self) {
        Self::execute_now(format!("DROP SCHEMA IF EXISTS {} CASCADE", self.name));
    }
}

/// Makes a test of each check, for one back end. A check that is not listed is dead code, and the compiler says so.
macro_rules! contract {
    ($backend:ident at $place:expr => { $($area:ident: $($check:ident),+;)+ }) => {
        mod $backend {
            $(mod $area {
                $(#[tokio::test]
                async fn $check() {
                    crate::store::$area::$check(&$place).await;
                })+
            })+
        }
    };
}

macro_rules! every_check {
    ($backend:ident at $place:expr) => {
        contract!($backend at $place => {
            orders:
                an_event_moves_its_order_on,
                the_history_tells_every_state_and_its_mail,
                without_mail_there_is_no_ledger,
                repeats_change_nothing,
                a_batch_may_hold_an_order_more_than_once,
                a_gap_is_accepted_and_counted,
                what_comes_late_is_filled_in,
                sequence_numbers_count_from_one,
                another_order_under_the_same_id_is_a_dead_letter,
                a_flood_of_other_orders_is_few_letters_and_none_is_left_out,
                offsets_are_compared_and_set,
                a_batch_that_was_applied_is_not_applied_again,
                a_fenced_batch_writes_nothing,
                groups_have_offsets_of_their_own,
                orders_are_listed_newest_first,
                orders_are_listed_by_state,
                stuck_orders_are_listed,
                orders_of_an_address_are_listed,
                orders_of_a_product_are_listed,
                orders_are_counted,
                all_that_an_order_says_is_kept,
                an_order_may_go_on_after_its_last_state;
            lives:
                all_that_an_event_says_is_told_again,
                the_history_tells_who_changed_what_and_why,
                what_an_order_says_as_a_whole_follows_its_latest_event,
                orders_that_nobody_moved_on_are_stuck,
                orders_are_listed_by_how_long_they_stand,
                ended_orders_are_counted_by_how_they_ended,
                a_corrected_address_is_found,
                what_became_of_a_command_is_told,
                what_was_done_stays_done,
                a_fenced_batch_decides_nothing,
                old_outcomes_are_pruned;
            endings:
                only_what_is_mailed_has_a_mail,
                a_leased_mail_tells_all_that_its_event_said,
                waiting_mails_go_to_the_corrected_address,
                a_corrected_address_is_asked_for_in_the_suppressed_ones,
                a_refusal_counts_for_the_address_that_was_refused,
                a_cancelled_order_tells_its_end_alone,
                mails_of_before_the_end_are_dropped_when_they_come_late,
                a_mail_that_is_being_sent_may_finish,
                what_waits_again_after_the_end_is_dropped,
                what_is_driven_again_after_the_end_is_dropped,
                a_finished_order_keeps_its_mails,
                dropped_mails_are_compacted;
            ledger:
                the_oldest_due_mail_is_leased_first,
                a_leased_mail_tells_everything,
                a_mail_leased_as_it_is_made_is_told_as_any_other,
                what_is_due_already_goes_before_what_is_made,
                a_mail_to_a_suppressed_address_is_made_as_such,
                nothing_is_leased_before_it_is_due,
                lanes_keep_the_order_of_states,
                a_retry_is_due_when_it_says,
                a_dead_mail_frees_its_lane,
                only_the_current_attempt_is_settled,
                an_expired_lease_is_ambiguous,
                leases_can_be_ended_at_once,
                it_knows_when_the_next_mail_is_due,
                mails_are_counted,
                no_mail_is_leased_twice_at_once;
            links:
                a_link_is_mailed_to_who_knows_number_and_address,
                links_and_other_mails_do_not_wait_for_each_other,
                a_link_is_mailed_again_after_a_while,
                a_refused_link_is_a_dead_letter_until_it_is_asked_for_again,
                a_link_outlives_the_order_and_follows_its_address,
                of_many_who_ask_at_once_one_is_mailed;
            mails:
                what_comes_late_goes_first_in_its_lane,
                states_of_before_are_not_mailed,
                a_late_mail_lets_the_running_one_finish,
                what_was_sent_already_does_not_hold_up_what_is_late,
                an_address_that_was_refused_is_suppressed,
                only_a_refusal_of_the_address_suppresses_it,
                a_released_address_has_mail_again,
                a_mail_is_driven_again_with_its_address_let_through,
                suppressed_addresses_are_listed_by_text_and_page,
                mails_are_counted_by_class,
                the_mails_of_an_order_are_told,
                waiting_mails_are_listed_first_due_first,
                old_rows_are_compacted,
                only_settled_rows_are_compacted;
            resend:
                the_last_mail_is_sent_again_and_counted_as_a_repeat,
                only_a_mail_that_is_sent_is_sent_again;
            dead:
                letters_are_kept_once_per_source,
                a_letter_that_stands_for_many_grows,
                dead_letters_are_listed_oldest_first,
                one_dead_letter_can_be_looked_at,
                a_record_is_driven_again,
                a_chosen_record_is_claimed_by_one,
                a_decision_is_made_once,
                a_redriven_mail_is_sent_again,
                a_redriven_mail_goes_before_later_ones,
                a_redriven_mail_lets_the_running_one_finish,
                a_list_tells_the_beginning_of_a_record,
                the_order_of_a_record_is_found;
            overview:
                all_that_is_in_flight_is_seen_at_a_glance,
                the_worst_of_the_late_orders_are_named,
                orders_whose_mail_was_refused_are_counted_and_listed,
                orders_are_counted_by_minute,
                an_order_that_goes_on_has_not_ended,
                old_minutes_are_forgotten;
            capacities:
                what_instances_do_is_kept_by_role;
            keys:
                a_key_stands_for_its_order,
                a_key_belongs_to_one_request,
                a_key_is_looked_up_without_taking_it,
                a_running_request_is_left_alone,
                an_abandoned_reservation_is_taken_over_as_it_was,
                a_released_key_is_free,
                a_release_after_a_takeover_loses_nothing,
                a_release_does_not_undo_a_confirmation,
                old_keys_are_pruned,
                a_secret_is_made_once,
                a_store_answers;
            marks:
                what_was_projected_is_marked_and_forgotten,
                order_numbers_are_noted_and_never_go_back;
            model:
                any_interleaving_agrees_with_the_model;
        });
    };
}

every_check!(sqlite at crate::store::SqliteFile::new());
every_check!(memory at crate::store::InMemory::default());
every_check!(postgres at crate::store::PgSchema::new());
every_check!(pgbouncer at crate::store::bouncer::Pooled::new());
