//! AUTH (RFC 4954) by PLAIN (RFC 4616) or LOGIN. Only ever called under TLS.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    connection::{Connection, Failure},
    hello::Abilities,
    reply::Reply,
};
use crate::mail::{Login, Password};

/// Why nobody is logged in.
pub(super) enum Refused {
    /// The connection failed, or the server cannot say now.
    ForNow(String),
    /// The server wants no such login: somebody has to change something.
    ForGood(String),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::ForNow(format!("AUTH: {failure}"))
    }
}

/// The password as it is now.
pub(super) async fn password(login: &Login) -> Result<String, String> {
    match &login.password {
        Password::Text(text) => Ok(text.clone()),
        Password::Missing => Err("there is no password for the user in mail.url".into()),
        Password::File(path) => {
            let (path, shown) = (path.clone(), path.display().to_string());
            let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
            let text = read.map_err(|e| e.to_string()).and_then(|text| text.map_err(|e| e.to_string()));
            let text = text.map_err(|e| format!("cannot read the password from {shown}: {e}"))?;
            let line = text.lines().next().unwrap_or_default();
            if line.is_empty() { Err(format!("there is no password in {shown}")) } else { Ok(line.to_owned()) }
        }
    }
}

/// Logs in, with PLAIN where the server has it.
pub(super) async fn log_in(connection: &mut Connection, able: &Abilities, login: &Login) -> Result<(), Refused> {
    // a missing file may come back, like a server
    let password = password(login).await.map_err(Refused::ForNow)?;
    let (user, both) = (STANDARD.encode(&login.user), STANDARD.encode(format!("\0{}\0{password}", login.user)));
    let secret = STANDARD.encode(&password);
    // for as long as the connection lasts: a refusal of a later mail may name the user as well
    connection.hide(vec![both.clone(), secret.clone(), user.clone(), password, login.user.clone()]);
    let reply = if able.auth_plain {
        connection.ask(&format!("AUTH PLAIN {both}")).await?
    } else if able.auth_login {
        let mut reply = connection.ask("AUTH LOGIN").await?;
        for answer in [&user, &secret] {
            if reply.code != 334 {
                break;
            }
            reply = connection.ask(answer).await?;
        }
        reply
    } else {
        let offer = if able.auth { "neither PLAIN nor LOGIN" } else { "no AUTH at all" };
        return Err(Refused::ForGood(format!("it offers {offer}, and mail.url names a user")));
    };
    verdict(&reply)
}

fn verdict(reply: &Reply) -> Result<(), Refused> {
    let text = || format!("AUTH: {}", reply.describe());
    match reply.code {
        235 => Ok(()),
        500..=599 | 334 => Err(Refused::ForGood(text())),
        _ => Err(Refused::ForNow(text())),
    }
}
