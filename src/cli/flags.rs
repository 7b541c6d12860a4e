//! Settings that have flags, each once; commands put them together.

use clap::Args;

/// A key with its value, if the flag was given.
pub(super) type Setting = (&'static str, Option<String>);

macro_rules! flags {
    ($($(#[$help:meta])+ $name:ident: --$flag:literal $value:literal sets $key:literal;)+) => {$(
        #[derive(Debug, Clone, Args)]
        #[command(next_help_heading = "Settings")]
        pub(super) struct $name {
            $(#[$help])+
            #[arg(id = $key, long = $flag, value_name = $value)]
            value: Option<String>,
        }

        impl $name {
            pub(super) fn setting(&self) -> Setting {
                ($key, self.value.clone())
            }

            /// The same for a command that has no other.
            #[allow(dead_code, reason = "some flags never stand alone")]
            pub(super) fn settings(&self) -> Vec<Setting> {
                vec![self.setting()]
            }
        }
    )+};
}

flags! {
    /// Event log: sqlite:PATH, kafka://HOST:PORT,… [env: ENCARGO_LOG] [default: log.db in the data folder]
    LogFlag: --"log" "URL" sets "log.url";
    /// Store: sqlite:PATH, postgres://… [env: ENCARGO_STORE] [default: store.db in the data folder]
    StoreFlag: --"store" "URL" sets "store.url";
    /// Mail: maildir:DIR, smtp://HOST:PORT, none: [env: ENCARGO_MAIL] [default: maildir: in the data folder]
    MailFlag: --"mail" "URL" sets "mail.url";
    /// Catalogue: a CSV file with appid,name,price [env: ENCARGO_CATALOG] [default: a built-in sample]
    CatalogFlag: --"catalog" "FILE" sets "catalog.path";
    /// How long an order stays in each state, like 8s or 500ms [env: ENCARGO_DWELL] [default: 8s]
    DwellFlag: --"dwell" "DURATION" sets "flow.dwell";
    /// Partitions of the orders' and states' topics [env: ENCARGO_LOG_PARTITIONS] [default: 4]
    PartitionsFlag: --"partitions" "N" sets "log.partitions";
    /// Copies of each partition [env: ENCARGO_LOG_REPLICATION] [default: 3]
    ReplicationFlag: --"replication" "N" sets "log.replication";
    /// Copies that must have a record before it counts as written [env: ENCARGO_LOG_MIN_INSYNC] [default: 2]
    MinInsyncFlag: --"min-insync" "N" sets "log.min_insync";
    /// Which instance this is, on a log that several share [env: ENCARGO_SLOT] [default: 0]
    SlotFlag: --"slot" "N" sets "slot";
    /// Where orders are taken [env: ENCARGO_INTAKE_LISTEN] [default: 127.0.0.1:3000]
    IntakeListen: --"intake-listen" "ADDR" sets "intake.listen";
    /// Where orders are looked up [env: ENCARGO_TRACKING_LISTEN] [default: 127.0.0.1:5000]
    TrackingListen: --"tracking-listen" "ADDR" sets "tracking.listen";
    /// Where the desk, health and metrics are; off loopback it wants ops.token [env: ENCARGO_OPS_LISTEN] [default: 127.0.0.1:9000]
    OpsListen: --"ops-listen" "ADDR" sets "ops.listen";
    /// A collector for the traces of orders, like http://localhost:4318 [env: ENCARGO_OTLP] [default: none]
    OtlpFlag: --"otlp" "URL" sets "telemetry.otlp";
}

/// All of them, for a process that does everything.
#[derive(Debug, Args)]
pub(super) struct ServerFlags {
    #[command(flatten)]
    log: LogFlag,
    #[command(flatten)]
    store: StoreFlag,
    #[command(flatten)]
    mail: MailFlag,
    #[command(flatten)]
    catalog: CatalogFlag,
    #[command(flatten)]
    dwell: DwellFlag,
    #[command(flatten)]
    slot: SlotFlag,
    #[command(flatten)]
    intake_listen: IntakeListen,
    #[command(flatten)]
    tracking_listen: TrackingListen,
    #[command(flatten)]
    ops_listen: OpsListen,
    #[command(flatten)]
    otlp: OtlpFlag,
}

impl ServerFlags {
    pub(super) fn settings(&self) -> Vec<Setting> {
        vec![
            self.log.setting(),
            self.store.setting(),
            self.mail.setting(),
            self.catalog.setting(),
            self.dwell.setting(),
            self.slot.setting(),
            self.intake_listen.setting(),
            self.tracking_listen.setting(),
            self.ops_listen.setting(),
            self.otlp.setting(),
        ]
    }
}
