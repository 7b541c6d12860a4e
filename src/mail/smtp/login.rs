//! AUTH (RFC 4954). Only ever called under TLS.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    capabilities::Capabilities,
    connection::{Connection, Failure},
    reply::Reply,
    secret::{self, Secret},
};
use crate::{
    domain::foreign_text::{is_legible, mask_addresses},
    mail::{Login, SmtpServer},
};

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

/// Logs in: with a token by XOAUTH2 or OAUTHBEARER, with a password by PLAIN where the server has it, or by LOGIN.
pub(super) async fn log_in(
    connection: &mut Connection,
    caps: &Capabilities,
    login: &Login,
    server: &SmtpServer,
) -> Result<(), Refused> {
    // a missing file may come back, like a server
    match secret::now(&login.password).await.map_err(Refused::ForNow)? {
        Secret::Password(password) => by_password(connection, caps, &login.user, &password).await,
        Secret::Token(token) => by_token(connection, caps, &login.user, &token, server).await,
    }
}

async fn by_password(
    connection: &mut Connection,
    caps: &Capabilities,
    user: &str,
    password: &str,
) -> Result<(), Refused> {
    let (name, both) = (STANDARD.encode(user), STANDARD.encode(format!("\0{user}\0{password}")));
    let secret = STANDARD.encode(password);
    // for as long as the connection lasts: a refusal of a later mail may name the user as well
    connection.hide(vec![both.clone(), secret.clone(), name.clone(), password.to_owned(), user.to_owned()]);
    let reply = if caps.auth_plain {
        connection.ask(&format!("AUTH PLAIN {both}")).await?
    } else if caps.auth_login {
        let mut reply = connection.ask("AUTH LOGIN").await?;
        for answer in [&name, &secret] {
            if reply.code != 334 {
                break;
            }
            reply = connection.ask(answer).await?;
        }
        reply
    } else {
        let offer = match (caps.auth, caps.auth_xoauth2 || caps.auth_oauthbearer) {
            (_, true) => "OAuth alone (set mail.token_file or mail.token_command)",
            (true, _) => "neither PLAIN nor LOGIN",
            (false, _) => "no AUTH at all",
        };
        return Err(Refused::ForGood(format!("it offers {offer}, and mail.url names a user")));
    };
    verdict(&reply)
}

/// XOAUTH2 as Google and Microsoft describe it, or OAUTHBEARER (RFC 7628).
async fn by_token(
    connection: &mut Connection,
    caps: &Capabilities,
    user: &str,
    token: &str,
    server: &SmtpServer,
) -> Result<(), Refused> {
    // what ends the exchange after a challenge, which is always a refusal
    let (mechanism, response, end) = if caps.auth_xoauth2 {
        ("XOAUTH2", format!("user={user}\x01auth=Bearer {token}\x01\x01"), "")
    } else if caps.auth_oauthbearer {
        let (name, SmtpServer { host, port, .. }) = (user.replace('=', "=3D").replace(',', "=2C"), server);
        ("OAUTHBEARER", format!("n,a={name},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01"), "AQ==")
    } else {
        let what = "it offers neither XOAUTH2 nor OAUTHBEARER: give a password rather than a token";
        return Err(Refused::ForGood(what.into()));
    };
    let response = STANDARD.encode(response);
    let secrets = vec![response.clone(), token.to_owned(), user.to_owned()];
    connection.hide(secrets.clone());
    let challenge = connection.ask(&format!("AUTH {mechanism} {response}")).await?;
    if challenge.code != 334 {
        return verdict(&challenge);
    }
    let mut reply = connection.ask(end).await?;
    if let Some(said) = STANDARD.decode(challenge.text.trim()).ok().and_then(|said| String::from_utf8(said).ok()) {
        let legible: String = said.chars().map(|c| if is_legible(c) { c } else { ' ' }).collect();
        reply.text = format!("{} {}", reply.text, mask_addresses(&legible));
        reply.hide(&secrets);
    }
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
