//! Commands about orders, and what became of them.

use std::borrow::Cow;

use super::{
    Headers,
    command_records::{BY_MAX, REASON_MAX, WireCommand, WireOutcome},
    content::content,
    parse::parse,
    waits::{read_waits, waits_name},
};
use crate::domain::{
    Command, CommandCopy, CommandOutcome, Exits, Invalid, Misfit, OrderId, Waits,
    command::{Action, OrderStatus, Verb, Verdict},
    has_length,
};

/// The value of an `encargo_commands` record.
pub fn encode_command(command: &Command) -> Vec<u8> {
    let until = if let Action::Delay(until) = command.action { Some(until) } else { None };
    let usermail = if let Action::Readdress(address) = &command.action { Some(address.as_str().into()) } else { None };
    let wire = WireCommand {
        orderid: command.order.get(),
        command: command.id.as_str().into(),
        verb: command.action.verb().name().into(),
        party: command.party,
        by: (&*command.by).into(),
        until,
        usermail,
        reason: command.reason.as_deref().map(Cow::Borrowed),
    };
    serde_json::to_vec(&wire).expect("strings and numbers always serialise")
}

/// Reads an `encargo_commands` record.
pub fn decode_command(value: &[u8], headers: &Headers) -> Result<Command, Misfit> {
    content(value, headers)?.read(read_command)
}

fn read_command(data: &[u8]) -> Result<Command, Misfit> {
    let wire: WireCommand = parse(data)?;
    let verb = Verb::named(&wire.verb)
        .ok_or(Invalid::of("do", "must be cancel, advance, refuse, hold, resume, delay or address"))?;
    let action = verb.action(
        || wire.until.ok_or(Invalid::of("until", "a delay needs it")),
        || wire.usermail.ok_or(Invalid::of("usermail", "a new address needs it"))?.parse(),
    )?;
    Ok(Command {
        id: wire.command.parse().map_err(|invalid| Misfit::at("command", &invalid))?,
        order: OrderId::new(wire.orderid)?,
        by: read_by(&wire.by)?,
        party: wire.party,
        action,
        reason: wire.reason.map(|reason| read_reason(&reason)).transpose()?,
    })
}

/// Who sends a command, if it can be a name.
pub fn read_by(text: &str) -> Result<Box<str>, Invalid> {
    words(text, BY_MAX).ok_or(Invalid::of("by", "must have 1 to 64 characters, no control characters"))
}

/// The reason of a command, if it can be one.
pub fn read_reason(text: &str) -> Result<Box<str>, Invalid> {
    words(text, REASON_MAX).ok_or(Invalid::of("reason", "must have 1 to 500 characters, no control characters"))
}

fn words(text: &str, max: usize) -> Option<Box<str>> {
    let text = text.trim();
    let fits = has_length(text, 1..=max) && !text.contains(char::is_control);
    fits.then(|| text.into())
}

/// The value of an `encargo_outcomes` record.
pub fn encode_outcome(outcome: &CommandOutcome) -> Vec<u8> {
    let (code, detail) = match &outcome.verdict {
        Verdict::Refused { code, detail } => (Some((&**code).into()), Some((&**detail).into())),
        Verdict::Done | Verdict::Repeated | Verdict::Unknown => (None, None),
    };
    let status = outcome.status.as_ref();
    let exits = status.map(|status| status.exits).unwrap_or_default();
    let waits = status.map_or(Waits::Untold, |status| status.waits);
    let wire = WireOutcome {
        orderid: outcome.order.get(),
        command: outcome.command.as_str().into(),
        result: outcome.verdict.name().into(),
        at: outcome.at,
        partition: outcome.copy.map(|copy| copy.partition),
        offset: outcome.copy.map(|copy| copy.offset),
        code,
        detail,
        estado: status.map(|status| (&*status.estado).into()),
        seq: status.map(|status| status.seq),
        next_at: if let Waits::Until(due) = waits { Some(due) } else { None },
        waits: waits_name(waits).map(Cow::Borrowed),
        left_ms: if let Waits::Held(Some(left)) = waits { Some(left.as_millis() as u64) } else { None },
        closes: if let Waits::Closed(closing) = waits { Some(closing.name().into()) } else { None },
        cancel: exits.cancel,
        advance: exits.advance,
        refuse: exits.refuse,
        expect_at: exits.expect_at,
    };
    serde_json::to_vec(&wire).expect("strings and numbers always serialise")
}

/// Reads an `encargo_outcomes` record.
pub fn decode_outcome(value: &[u8]) -> Result<CommandOutcome, Misfit> {
    let wire: WireOutcome = parse(value)?;
    let verdict = match &*wire.result {
        "done" => Verdict::Done,
        "repeated" => Verdict::Repeated,
        "unknown" => Verdict::Unknown,
        "refused" => Verdict::Refused {
            code: wire.code.as_deref().unwrap_or("refused").into(),
            detail: wire.detail.as_deref().unwrap_or_default().into(),
        },
        _ => return Err(Invalid::of("result", "must be done, repeated, refused or unknown").into()),
    };
    let waits = read_waits(wire.closes.as_deref(), wire.next_at, wire.waits.as_deref(), wire.left_ms);
    let status = wire.estado.map(|estado| OrderStatus {
        estado: estado.into(),
        seq: wire.seq.unwrap_or_default(),
        waits: waits.unwrap_or(Waits::Untold),
        exits: Exits { cancel: wire.cancel, advance: wire.advance, refuse: wire.refuse, expect_at: wire.expect_at },
    });
    Ok(CommandOutcome {
        command: wire.command.parse().map_err(|invalid| Misfit::at("command", &invalid))?,
        order: OrderId::new(wire.orderid)?,
        copy: wire.partition.zip(wire.offset).map(|(partition, offset)| CommandCopy { partition, offset }),
        verdict,
        status,
        at: wire.at,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::{Closing, Timestamp, command::Onward, flow::Party};

    fn command(action: Action, reason: Option<&str>) -> Command {
        Command {
            id: "a.b-c:1".parse().unwrap(),
            order: OrderId::new(7).unwrap(),
            by: "shop".into(),
            party: Party::Operator,
            action,
            reason: reason.map(Into::into),
        }
    }

    #[test]
    fn commands_round_trip_and_have_bounds() {
        let until = Timestamp::from_millis(1_764_000_000_000);
        let actions = [
            Action::Cancel,
            Action::Advance(Onward::Next),
            Action::Advance(Onward::Refused),
            Action::Hold,
            Action::Resume,
            Action::Delay(until),
            Action::Readdress("eva@example.org".parse().unwrap()),
        ];
        for action in actions {
            let command = command(action, Some("sin gluten, \"por favor\""));
            assert_eq!(read_command(&encode_command(&command)), Ok(command));
        }
        let good = r#"{"orderid":7,"command":"c","do":"cancel","party":"customer","by":"x"}"#;
        assert!(read_command(good.as_bytes()).is_ok());
        let long = "r".repeat(501);
        for (from, to) in [
            ("\"orderid\":7", "\"orderid\":0".to_owned()),
            ("\"c\"", "\"\"".to_owned()),
            ("\"c\"", "\"a b\"".to_owned()),
            ("\"c\"", format!("\"{}\"", "i".repeat(65))),
            ("cancel", "explode".to_owned()),
            ("cancel", "delay".to_owned()),
            ("cancel", "address".to_owned()),
            ("customer", "king".to_owned()),
            ("\"x\"", "\"\"".to_owned()),
            ("\"x\"", "\"a\\nb\"".to_owned()),
            ("\"x\"", format!("\"x\",\"reason\":\"{long}\"")),
            ("\"x\"", "\"x\",\"reason\":\" \"".to_owned()),
        ] {
            let bad = good.replace(from, &to);
            assert!(read_command(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    fn waits() -> impl Strategy<Value = Waits> {
        let time = (0_i64..2_000_000_000_000).prop_map(Timestamp::from_millis);
        prop_oneof![
            time.prop_map(Waits::Until),
            Just(Waits::ForCommand),
            prop::option::of(any::<u32>())
                .prop_map(|left| Waits::Held(left.map(|ms| Duration::from_millis(ms.into())))),
            Just(Waits::Closed(Closing::Cancelled)),
        ]
    }

    proptest! {
        #[test]
        fn outcomes_round_trip(waits in waits(), advance: bool, refuse: bool, seq in 1_u8.., kind in 0..4, partition: u32, offset: u64) {
            let verdict = match kind {
                0 => Verdict::Done,
                1 => Verdict::Repeated,
                2 => Verdict::Unknown,
                _ => Verdict::Refused { code: "held".into(), detail: "resume it".into() },
            };
            let exits = Exits { cancel: Some(Party::Customer), advance, refuse, expect_at: None };
            let status = (kind != 2).then(|| OrderStatus { estado: "preparando".into(), seq, waits, exits });
            let at = Timestamp::from_millis(1_764_000_000_000);
            let (command, order) = ("c-1".parse().unwrap(), OrderId::new(9).unwrap());
            let copy = advance.then_some(CommandCopy { partition, offset });
            if let Some(copy) = copy {
                prop_assert_eq!(copy.to_string().parse(), Ok(copy));
            }
            let outcome = CommandOutcome { command, order, copy, verdict, status, at };
            prop_assert_eq!(decode_outcome(&encode_outcome(&outcome)), Ok(outcome));
        }
    }
}
