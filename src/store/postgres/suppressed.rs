//! Addresses that no longer get mail.

use std::borrow::Cow;

use super::{
    rows,
    session::{Session, Transaction},
    tally::{Kind, Tally},
};
use crate::{
    domain::{EmailAddress, OrderId},
    store::{Result, ledger::Suppression, mails::SuppressedQuery},
};

/// Suppresses addresses that were refused just now, each with the mail and the reason. Returns how many are new.
pub(super) async fn insert(tx: &Transaction<'_>, refused: Vec<(i64, &str, Cow<'_, str>)>) -> Result<i64> {
    if refused.is_empty() {
        return Ok(0);
    }
    let mails: Vec<i64> = refused.iter().map(|(mail, ..)| *mail).collect();
    let addresses: Vec<&str> = refused.iter().map(|(_, address, _)| *address).collect();
    let reasons: Vec<&str> = refused.iter().map(|(.., reason)| &**reason).collect();
    let sql = "INSERT INTO suppressed (address, at, reason, mail)
         SELECT lower(k.address COLLATE \"C\") AS address, coalesce(d.tried_at, l.tried_at), k.reason, k.id
         FROM unnest($1::bigint[], $2::text[], $3::text[]) AS k(id, address, reason)
         LEFT JOIN dead_mails d ON d.id BETWEEN k.id AND k.id LEFT JOIN lane l ON l.id BETWEEN k.id AND k.id
         ORDER BY 1, k.id ON CONFLICT DO NOTHING";
    Ok(tx.execute(&tx.prepare(sql).await?, &[&mails, &addresses, &reasons]).await? as i64)
}

pub(super) async fn list(client: &mut Session, query: SuppressedQuery) -> Result<Vec<Suppression>> {
    let after = query.after.as_ref().map_or("", EmailAddress::as_str);
    let sql = "SELECT address, at, reason, mail FROM suppressed
         WHERE address > lower($1 COLLATE \"C\")
             AND ($2::text IS NULL OR position(lower($2::text COLLATE \"C\") IN address) > 0)
             AND ($3::text IS NULL OR position(lower($3::text COLLATE \"C\") IN lower(reason COLLATE \"C\")) > 0)
         ORDER BY address LIMIT $4";
    let limit = query.limit as i64;
    let found = client.query(&client.prepare(sql).await?, &[&after, &query.containing, &query.reason, &limit]).await?;
    found.iter().filter_map(|row| rows::suppression(row, 0).transpose()).collect()
}

pub(super) async fn one(client: &mut Session, address: EmailAddress) -> Result<Option<Suppression>> {
    let sql = "SELECT address, at, reason, mail FROM suppressed WHERE address = lower($1 COLLATE \"C\")";
    let found = client.query_opt(&client.prepare(sql).await?, &[&address.as_str()]).await?;
    Ok(found.map(|row| rows::suppression(&row, 0)).transpose()?.flatten())
}

pub(super) async fn release(client: &mut Session, address: EmailAddress) -> Result<bool> {
    let tx = client.transaction().await?;
    let sql = "DELETE FROM suppressed WHERE address = lower($1 COLLATE \"C\")";
    let gone = tx.execute(&tx.prepare(sql).await?, &[&address.as_str()]).await?;
    let mut tally = Tally::default();
    tally.add(Kind::Suppressed, "", -(gone as i64));
    tally.write(&tx).await?;
    tx.commit().await?;
    Ok(gone == 1)
}

/// Lets the address through to which an order's mails go. Returns 1, or 0 when it is not suppressed.
pub(super) async fn release_recipient(tx: &Transaction<'_>, order: OrderId) -> Result<i64> {
    let sql = "DELETE FROM suppressed WHERE address =
         (SELECT lower(coalesce(address, usermail) COLLATE \"C\") FROM orders WHERE id = $1)";
    Ok(tx.execute(&tx.prepare(sql).await?, &[&(order.get() as i64)]).await? as i64)
}
