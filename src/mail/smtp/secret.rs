//! The password or the token as it is now, from wherever it is kept.

use std::{
    io::{self, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{files, mail::Password};

/// How long a command may take to print a token.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// More than this is no token, in bytes.
const LENGTH_MAX: u64 = 64 << 10;

pub(super) enum Secret {
    Password(String),
    Token(String),
}

/// The error is for an operator.
pub(super) async fn now(password: &Password) -> Result<Secret, String> {
    match password {
        Password::Text(text) => Ok(Secret::Password(text.clone())),
        Password::Missing => Err("there is no password for the user in mail.url".into()),
        Password::File(path) => first_line(path, "password").await.map(Secret::Password),
        Password::TokenFile(path) => token(first_line(path, "token").await?),
        Password::TokenCommand(command) => token(printed(command).await?),
    }
}

async fn first_line(path: &Path, what: &str) -> Result<String, String> {
    let (path, shown) = (path.to_owned(), path.display().to_string());
    let read = tokio::task::spawn_blocking(move || files::read_text(&path, LENGTH_MAX)).await;
    let text = read.map_err(|e| e.to_string()).and_then(|text| text.map_err(|e| e.to_string()));
    let text = text.map_err(|e| format!("cannot read the {what} from {shown}: {e}"))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() { Err(format!("there is no {what} in {shown}")) } else { Ok(line.to_owned()) }
}

/// RFC 6750: visible ASCII. Anything else would end a field of the login.
fn token(text: String) -> Result<Secret, String> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("there is no OAuth token of one line where mail.token_file or mail.token_command has it".into());
    }
    Ok(Secret::Token(text.to_owned()))
}

/// What a command prints, in its time.
async fn printed(command: &str) -> Result<String, String> {
    let failed = |why: String| format!("mail.token_command gave no token: {why}");
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(e.to_string()))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let reading = tokio::task::spawn_blocking(move || Ok::<_, io::Error>((all(out)?, all(err)?)));
    let Ok(read) = tokio::time::timeout(COMMAND_TIMEOUT, reading).await else {
        end(child);
        return Err(failed(format!("no answer within {COMMAND_TIMEOUT:?}")));
    };
    let status = tokio::task::spawn_blocking(move || child.wait()).await;
    let (read, status) = (read.map_err(io::Error::other).flatten(), status.map_err(io::Error::other).flatten());
    let ((out, err), status) = (read.map_err(|e| failed(e.to_string()))?, status.map_err(|e| failed(e.to_string()))?);
    if status.success() {
        return Ok(out);
    }
    let said: String = err.trim().chars().filter(|c| !c.is_control()).take(200).collect();
    Err(failed(format!("it ended with {status}: {said}")))
}

fn all(pipe: Option<impl io::Read>) -> io::Result<String> {
    let mut text = Vec::new();
    pipe.map_or(Ok(0), |pipe| pipe.take(LENGTH_MAX).read_to_end(&mut text))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn end(mut child: Child) {
    tokio::task::spawn_blocking(move || {
        let _ = child.kill(); // it has ended by itself meanwhile
        let _ = child.wait();
    });
}
