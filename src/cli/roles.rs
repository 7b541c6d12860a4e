//! The commands that run one role.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::{
    Settings,
    flags::{
        CatalogFlag, DwellFlag, IntakeListen, LogFlag, MailFlag, OpsListen, OtlpFlag, SlotFlag, StoreFlag,
        TrackingListen,
    },
    serve,
};
use crate::app::Role;

macro_rules! role {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $flag:ty),+ $(,)? }) => {
        #[derive(Debug, Args)]
        #[group(skip)]
        $(#[$meta])*
        pub(super) struct $name {
            /// Print the addresses as one line of JSON
            #[arg(long)]
            json: bool,
            $(#[command(flatten)] $field: $flag,)+
        }

        impl $name {
            pub(super) fn run(self, settings: &Settings) -> Result<ExitCode> {
                let flags = [$(self.$field.setting()),+];
                serve::run(settings, &[Role::$name], &flags, self.json)
            }
        }
    };
}

role! {
    /// Flags of `encargo intake`.
    #[command(after_help = "Example:\n  encargo intake --log kafka://localhost:9092 --store postgres://encargo@localhost/encargo")]
    Intake {
        log: LogFlag,
        store: StoreFlag,
        catalog: CatalogFlag,
        listen: IntakeListen,
        ops: OpsListen,
        otlp: OtlpFlag,
    }
}

role! {
    /// Flags of `encargo fulfilment`.
    #[command(after_help = "Examples:\n  encargo fulfilment --log kafka://localhost:9092\n  \
                            encargo fulfilment --log kafka://localhost:9092 --slot 1 --ops-listen 127.0.0.1:9001")]
    Fulfilment {
        log: LogFlag,
        dwell: DwellFlag,
        slot: SlotFlag,
        ops: OpsListen,
        otlp: OtlpFlag,
    }
}

role! {
    /// Flags of `encargo tracking`.
    #[command(after_help = "Example:\n  encargo tracking --log kafka://localhost:9092 --store postgres://encargo@localhost/encargo")]
    Tracking {
        log: LogFlag,
        store: StoreFlag,
        mail: MailFlag,
        slot: SlotFlag,
        listen: TrackingListen,
        ops: OpsListen,
        otlp: OtlpFlag,
    }
}

role! {
    /// Flags of `encargo mail` without a command.
    #[command(after_help = "Example:\n  encargo mail --store postgres://encargo@localhost/encargo --mail smtp://localhost:25")]
    Mail {
        store: StoreFlag,
        to: MailFlag,
        ops: OpsListen,
        otlp: OtlpFlag,
    }
}
