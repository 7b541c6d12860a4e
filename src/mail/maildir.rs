//! A Maildir: `tmp`, `new`, `cur`, one file per mail, which any mail program opens.
//!
//! A file's name follows from the mail, so a redelivery replaces the file in `new` instead of adding one. Once a mail
//! program has moved the file to `cur`, a redelivery would double it there; for mails whose earlier attempt has an
//! unknown end, and only for those, `cur` is therefore searched first. That costs a listing of the folder, after a
//! crash and not in daily work.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;

use super::{Error, Message, Outcome, Result, Transport};
use crate::files;

/// Files made durable by one flush.
const BATCH_MAX: usize = 256;
/// One batch is written while another is flushed.
const CONCURRENCY: usize = 2;

pub(super) struct Maildir(Arc<Folders>);

struct Folders {
    root: PathBuf,
    /// Kept open for the flushes.
    tmp: File,
    new: File,
}

impl Maildir {
    /// Makes the folders where they are missing, readable to this user alone.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let open = || {
            for name in ["tmp", "new", "cur"] {
                files::create_folder(&root.join(name))?;
            }
            let (tmp, new) = (File::open(root.join("tmp"))?, File::open(root.join("new"))?);
            File::open(root)?.sync_all()?;
            Ok(Folders { root: root.to_owned(), tmp, new })
        };
        match open() {
            Ok(folders) => Ok(Self(Arc::new(folders))),
            Err(source) => Err(Error::Path { path: format!("the Maildir {}", root.display()), source }),
        }
    }
}

#[async_trait]
impl Transport for Maildir {
    fn name(&self) -> String {
        format!("maildir:{}", self.0.root.display())
    }

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }

    fn sends_together(&self) -> bool {
        true
    }

    async fn deliver(&self, messages: Vec<Message>) -> Vec<Outcome> {
        let folders = self.0.clone();
        let count = messages.len();
        let work = tokio::task::spawn_blocking(move || folders.deliver(&messages));
        work.await.unwrap_or_else(|e| vec![Outcome::Ambiguous(format!("writing files failed: {e}")); count])
    }

    async fn probe(&self) -> std::result::Result<String, String> {
        let folders = self.0.clone();
        let tried = tokio::task::spawn_blocking(move || folders.probe()).await.map_err(io::Error::other);
        let root = self.0.root.display();
        match tried.flatten() {
            Ok(()) => Ok(format!("the Maildir {root} is writable")),
            Err(e) => Err(format!("the Maildir {root} is not writable: {e}")),
        }
    }

    fn absorbs_repeats(&self) -> bool {
        true
    }

    async fn close(&self) {}
}

impl Folders {
    /// Writes all to `tmp`, makes them durable together, and moves them to `new`. Nothing is reported as sent before
    /// its name in `new` is durable, too.
    fn deliver(&self, messages: &[Message]) -> Vec<Outcome> {
        let read = match self.already_read(messages) {
            Ok(read) => read,
            Err(e) => return vec![self.failure("list cur", &e); messages.len()],
        };
        let mut written = Vec::with_capacity(messages.len());
        let mut outcomes = Vec::with_capacity(messages.len());
        for message in messages {
            let name = Self::name(message);
            let outcome = if read.contains(&name) {
                Outcome::Sent(format!("it was in cur/{name} already"))
            } else if let Err(e) = self.write(&name, &message.raw) {
                self.failure(&format!("write tmp/{name}"), &e)
            } else {
                written.push((outcomes.len(), name.clone()));
                Outcome::Sent(format!("new/{name}"))
            };
            outcomes.push(outcome);
        }
        if let Err(e) = self.publish(written.iter().map(|(_, name)| &**name)) {
            // those that are in `new` already are replaced when they are tried again
            for (i, name) in written {
                outcomes[i] = self.failure(&format!("deliver new/{name}"), &e);
            }
        }
        outcomes
    }

    /// Makes what was written durable and moves it to `new`, durably.
    fn publish<'a>(&self, names: impl Iterator<Item = &'a str>) -> io::Result<()> {
        flush(&self.tmp)?;
        for name in names {
            std::fs::rename(self.root.join("tmp").join(name), self.root.join("new").join(name))?;
        }
        self.new.sync_all()
    }

    /// The name of a mail's file: the same for every attempt, another one for each deployment that delivers here.
    fn name(message: &Message) -> String {
        let seconds = message.at.as_millis().div_euclid(1_000);
        let origin = message.message_id.splitn(3, '.').nth(2).unwrap_or_default().replace('@', ".");
        format!("{seconds}.O{}S{}.{origin}", message.id.order, message.id.seq)
    }

    fn write(&self, name: &str, raw: &[u8]) -> io::Result<()> {
        let path = self.root.join("tmp").join(name);
        // a new file each time, so that no link which somebody put there leads what is written elsewhere
        let create = || files::private().write(true).create_new(true).open(&path);
        let mut file = create().or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => std::fs::remove_file(&path).and_then(|()| create()),
            _ => Err(error),
        })?;
        // in a file, lines end in LF alone; the composer writes no CR but in CRLF
        let text: Vec<u8> = raw.split(|byte| *byte == b'\r').flatten().copied().collect();
        file.write_all(&text)?;
        if cfg!(target_os = "linux") { Ok(()) } else { file.sync_data() }
    }

    /// Names in `cur` without their flags; looked at only when one of the mails may be there already.
    fn already_read(&self, messages: &[Message]) -> io::Result<HashSet<String>> {
        if !messages.iter().any(|message| message.ambiguous) {
            return Ok(HashSet::new());
        }
        let name = |entry: io::Result<std::fs::DirEntry>| {
            let name = entry?.file_name().to_string_lossy().into_owned();
            Ok(name.split_once(':').map_or(name.clone(), |(name, _)| name.to_owned()))
        };
        self.root.join("cur").read_dir()?.map(name).collect()
    }

    /// A full or broken disk is the destination's trouble, not a mail's.
    fn failure(&self, attempted: &str, error: &io::Error) -> Outcome {
        Outcome::Unreachable(format!("cannot {attempted} in the Maildir {}: {error}", self.root.display()))
    }

    fn probe(&self) -> io::Result<()> {
        let name = format!("probe.{}", std::process::id());
        self.write(&name, b"")?;
        std::fs::remove_file(self.root.join("tmp").join(name))
    }
}

/// Makes everything that was written to the file system of `folder` durable, with one system call for a whole batch.
/// Where there is no such call, each file was made durable when it was written.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables, clippy::unnecessary_wraps, reason = "see above"))]
fn flush(folder: &File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(folder)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{OrderId, Timestamp},
        store::ledger::MailId,
    };

    fn message(order: u64, ambiguous: bool, raw: &str) -> Message {
        Message {
            id: MailId { order: OrderId::new(order).unwrap(), seq: 2 },
            from: "pedidos@shop.example".parse().unwrap(),
            to: "ana@example.org".parse().unwrap(),
            message_id: format!("{order}.2.d3@shop.example"),
            at: Timestamp::from_millis(1_764_000_000_007),
            attempt: 1,
            ambiguous,
            raw: raw.into(),
        }
    }

    fn list(root: &Path, folder: &str) -> Vec<String> {
        let entries = root.join(folder).read_dir().unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_redelivery_replaces_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let maildir = Maildir::open(folder.path()).unwrap();
        let name = |order| format!("1764000000.O{order}S2.d3.shop.example");
        for _ in 0..2 {
            let outcomes = maildir.deliver(vec![message(1, false, "one"), message(2, false, "two")]).await;
            let sent = |order| Outcome::Sent(format!("new/{}", name(order)));
            assert_eq!(outcomes, [sent(1), sent(2)]);
        }
        assert_eq!(list(folder.path(), "new"), [name(1), name(2)]);
        assert!(list(folder.path(), "tmp").is_empty());
        assert_eq!(std::fs::read(folder.path().join("new").join(name(2))).unwrap(), b"two");
    }

    #[tokio::test]
    async fn a_link_in_tmp_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let maildir = Maildir::open(&folder.path().join("mail")).unwrap();
        let victim = folder.path().join("victim");
        std::fs::write(&victim, "as it was").unwrap();
        let name = "1764000000.O1S2.d3.shop.example";
        std::os::unix::fs::symlink(&victim, folder.path().join("mail/tmp").join(name)).unwrap();
        let outcomes = maildir.deliver(vec![message(1, false, "one")]).await;
        assert_eq!(outcomes, [Outcome::Sent(format!("new/{name}"))]);
        assert_eq!(std::fs::read(&victim).unwrap(), b"as it was");
        assert!(!folder.path().join("mail/new").join(name).is_symlink());
    }

    #[tokio::test]
    async fn a_possible_repeat_of_a_read_mail_is_not_delivered_again() {
        let folder = tempfile::tempdir().unwrap();
        let maildir = Maildir::open(folder.path()).unwrap();
        maildir.deliver(vec![message(1, false, "one")]).await;
        let name = "1764000000.O1S2.d3.shop.example";
        let path = |folder_name: &str, flags| folder.path().join(folder_name).join(format!("{name}{flags}"));
        std::fs::rename(path("new", ""), path("cur", ":2,S")).unwrap();
        let outcomes = maildir.deliver(vec![message(1, true, "one"), message(3, true, "three")]).await;
        assert_eq!(outcomes[0], Outcome::Sent(format!("it was in cur/{name} already")));
        assert_eq!(list(folder.path(), "new"), ["1764000000.O3S2.d3.shop.example"]);
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_is_the_destinations_trouble() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("mail");
        let maildir = Maildir::open(&root).unwrap();
        assert!(maildir.probe().await.unwrap().contains("is writable"));
        std::fs::remove_dir_all(&root).unwrap();
        let outcomes = maildir.deliver(vec![message(1, false, "one"), message(2, true, "two")]).await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Unreachable(_))), "{outcomes:?}");
        assert!(maildir.probe().await.unwrap_err().contains("is not writable"));
        std::fs::write(&root, "a file").unwrap();
        assert!(Maildir::open(&root).is_err());
    }
}
