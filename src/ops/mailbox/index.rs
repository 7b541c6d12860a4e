//! What lies in a Maildir, newest first, from the names of its files: our names tell time and order.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mail_parser::MessageParser;

use crate::{
    clock::{Clock, Monotonic},
    domain::Timestamp,
    files,
};

/// Mails that are listed and searched; of more, these are the newest.
const INDEX_MAX: usize = 200_000;
/// How much of a file is read to find its headers.
const HEAD_BYTES_MAX: u64 = 16 << 10;
/// How long a search may read files whose addresses are not known yet; the next search goes on from there.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(3);
/// A folder that changed this shortly before it was listed may have changed again without another time.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// A mail's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The file's name without flags: the mail's name in addresses.
    pub(super) id: Box<str>,
    /// What follows it: empty in `new`, `:2,S` and the like in `cur`.
    flags: Box<str>,
    /// Seconds since the epoch, as the name tells.
    pub(super) seconds: i64,
    /// The order, as our names tell.
    pub(super) order: u64,
    /// The state's place in the flow.
    seq: u8,
    /// Whether a mail program has seen it.
    pub(super) is_new: bool,
}

/// The files of both folders. Listing them again costs time by their number, so it is done only when one of the folders
/// has changed.
pub(super) struct Index {
    root: PathBuf,
    /// Newest first.
    entries: Vec<Entry>,
    /// All that are there, also those beyond the limit.
    total: usize,
    listed: Option<Listed>,
    /// The recipients of the mails that a search has read so far, in lower case.
    recipients: HashMap<Box<str>, Box<str>>,
    clock: Clock,
    entries_max: usize,
}

#[derive(PartialEq)]
struct Listed {
    changed: [SystemTime; 2],
    at: Timestamp,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// One page of it.
    pub(super) entries: Vec<Entry>,
    /// How many there are.
    pub(super) matching: usize,
    /// How many mails the folder has.
    pub(super) total: usize,
    /// How many of them are listed, the newest.
    pub(super) listed: usize,
    /// How many of those were looked at, the newest.
    pub(super) searched: usize,
}

impl Index {
    pub(super) fn new(root: PathBuf, clock: Clock) -> Self {
        let (entries, recipients) = (Vec::new(), HashMap::new());
        Self { root, entries, total: 0, listed: None, recipients, clock, entries_max: INDEX_MAX }
    }

    /// A page of the mails that match: all, those of an order (a number), or those to an address (part of it).
    /// Gives up once the client is gone; what was read stays read.
    pub(super) fn find(&mut self, query: &str, skip: usize, limit: usize, is_gone: &AtomicBool) -> io::Result<Found> {
        self.refresh()?;
        let query = plain(query).to_lowercase();
        if query.is_empty() {
            return Ok(self.page(self.entries.iter(), skip, limit, self.entries.len()));
        }
        if !is_search(&query) {
            let order = query.parse().unwrap_or(0);
            let of_order = self.entries.iter().filter(|entry| order != 0 && entry.order == order);
            return Ok(self.page(of_order, skip, limit, self.entries.len()));
        }
        let searched = self.read_recipients(is_gone);
        let matches = |entry: &&Entry| self.recipients.get(&entry.id).is_some_and(|to| to.contains(&query));
        Ok(self.page(self.entries[..searched].iter().filter(matches), skip, limit, searched))
    }

    /// The file of a mail; only what was listed has one, so no name leads elsewhere.
    pub(super) fn path(&mut self, id: &str) -> io::Result<Option<PathBuf>> {
        self.refresh()?;
        let entry = self.entries.iter().find(|entry| &*entry.id == id);
        Ok(entry.map(|entry| self.path_of(entry)))
    }

    pub(super) fn path_of(&self, entry: &Entry) -> PathBuf {
        let folder = if entry.is_new { "new" } else { "cur" };
        self.root.join(folder).join(format!("{}{}", entry.id, entry.flags))
    }

    fn page<'a>(&self, all: impl Iterator<Item = &'a Entry>, skip: usize, limit: usize, searched: usize) -> Found {
        let mut matching = 0;
        let mut entries = Vec::new();
        for entry in all {
            if matching >= skip && entries.len() < limit {
                entries.push(entry.clone());
            }
            matching += 1;
        }
        Found { entries, matching, total: self.total, listed: self.entries.len(), searched }
    }

    fn refresh(&mut self) -> io::Result<()> {
        let changed = [changed(&self.root.join("new"))?, changed(&self.root.join("cur"))?];
        let at = self.clock.now();
        if let Some(listed) = &self.listed
            && listed.changed == changed
            && changed.iter().all(|time| listed.at.since(timestamp(*time)) > SETTLED_AFTER)
        {
            return Ok(());
        }
        self.listed = None;
        self.list()?;
        self.listed = Some(Listed { changed, at });
        Ok(())
    }

    fn list(&mut self) -> io::Result<()> {
        self.entries.clear();
        self.total = 0;
        for (folder, is_new) in [("new", true), ("cur", false)] {
            for file in self.root.join(folder).read_dir()? {
                // other programs may put anything there; what has no name in UTF-8 has none here
                let Some(entry) = file?.file_name().to_str().and_then(|name| entry(name, is_new)) else { continue };
                self.entries.push(entry);
                self.total += 1;
                if self.entries.len() >= 2 * self.entries_max {
                    self.keep_newest();
                }
            }
        }
        self.keep_newest();
        self.entries.sort_unstable_by(newest_first);
        Ok(())
    }

    fn keep_newest(&mut self) {
        if self.entries.len() > self.entries_max {
            self.entries.select_nth_unstable_by(self.entries_max, newest_first);
            self.entries.truncate(self.entries_max);
        }
    }

    /// Reads the recipients of mails not read yet, newest first, until time is up. Returns how many entries are known.
    fn read_recipients(&mut self, is_gone: &AtomicBool) -> usize {
        if self.recipients.len() > 2 * self.entries_max {
            self.recipients.clear(); // many files have gone since
        }
        let until: Monotonic = self.clock.monotonic() + SEARCH_TIME_MAX;
        for (i, entry) in self.entries.iter().enumerate() {
            if self.recipients.contains_key(&entry.id) {
                continue;
            }
            if is_gone.load(Ordering::Relaxed) || i % 64 == 0 && self.clock.monotonic() > until {
                return i;
            }
            // a file that went meanwhile or cannot be read is to nobody
            let to = head(&self.path_of(entry)).ok().and_then(|head| recipient(&head)).unwrap_or_default();
            self.recipients.insert(entry.id.clone(), to.into());
        }
        self.entries.len()
    }
}

fn plain(query: &str) -> &str {
    query.trim().trim_start_matches('#')
}

/// Whether files have to be read to find what matches; an order's number stands in their names.
pub(super) fn is_search(query: &str) -> bool {
    !plain(query).bytes().all(|byte| byte.is_ascii_digit())
}

fn newest_first(a: &Entry, b: &Entry) -> std::cmp::Ordering {
    (b.seconds, b.order, b.seq, &b.id).cmp(&(a.seconds, a.order, a.seq, &a.id))
}

fn changed(folder: &Path) -> io::Result<SystemTime> {
    folder.metadata()?.modified()
}

fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::from_millis(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64)
}

/// What a name tells: `1764000000.O17S2.shop.example:2,S`. Hidden files are no mails.
fn entry(name: &str, is_new: bool) -> Option<Entry> {
    if name.starts_with('.') {
        return None;
    }
    let (id, flags) = name.split_at(name.find(':').unwrap_or(name.len()));
    let (_, rest) = id.split_once('.').unwrap_or((id, ""));
    let ours = rest.strip_prefix('O').and_then(|rest| rest.split('.').next()?.split_once('S'));
    let (order, seq) = ours.and_then(|(order, seq)| Some((order.parse().ok()?, seq.parse().ok()?))).unwrap_or_default();
    Some(Entry { id: id.into(), flags: flags.into(), seconds: seconds_of(id), order, seq, is_new })
}

/// When a mail was written, as its name tells; 0 when that tells nothing.
pub(super) fn seconds_of(id: &str) -> i64 {
    id.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
}

/// The beginning of a file, with its headers in all likelihood.
pub(super) fn head(path: &Path) -> io::Result<Vec<u8>> {
    read(path, HEAD_BYTES_MAX)
}

/// At most so much of a file. Links and devices are no mails.
pub(super) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    files::read_regular(path, limit)
}

fn recipient(head: &[u8]) -> Option<String> {
    let headers = MessageParser::new().parse_headers(head)?;
    Some(headers.to()?.first()?.address()?.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;

    fn maildir(files: &[(&str, &str)]) -> (tempfile::TempDir, Index) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["tmp", "new", "cur"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let machine = Env::real(Clock::manual(Timestamp::default())).pace;
        let index = Index::new(folder.path().to_owned(), machine);
        (folder, index)
    }

    fn find(index: &mut Index, query: &str, skip: usize, limit: usize) -> io::Result<Found> {
        index.find(query, skip, limit, &AtomicBool::new(false))
    }

    #[test]
    fn nothing_more_is_read_for_a_client_that_is_gone() {
        let (_folder, mut index) = maildir(&[("new/100.O1S1.x", "To: ana@example.org\n\n")]);
        let gone = index.find("ana", 0, 10, &AtomicBool::new(true)).unwrap();
        assert_eq!((gone.searched, index.recipients.len()), (0, 0));
        assert_eq!(find(&mut index, "ana", 0, 10).unwrap().searched, 1);
    }

    fn ids(found: &Found) -> Vec<&str> {
        found.entries.iter().map(|entry| &*entry.id).collect()
    }

    #[test]
    fn names_tell_time_order_and_state() {
        let ours = entry("1764000000.O17S2.shop.example:2,S", false).unwrap();
        assert_eq!((&*ours.id, &*ours.flags), ("1764000000.O17S2.shop.example", ":2,S"));
        assert_eq!((ours.seconds, ours.order, ours.seq), (1_764_000_000, 17, 2));
        let foreign = entry("1764000001.M5P7.host", true).unwrap();
        assert_eq!((foreign.seconds, foreign.order), (1_764_000_001, 0));
        assert_eq!(entry("notes", true).unwrap().seconds, 0);
        assert_eq!(entry(".hidden", true), None);
    }

    #[test]
    fn finds_by_order_and_by_address_newest_first() {
        let (folder, mut index) = maildir(&[
            ("new/100.O1S1.x", "To: <Ana@example.org>\n\n"),
            ("new/108.O1S2.x", "To: \"A\" <ana@example.org>\n\n"),
            ("cur/104.O2S1.x:2,S", "Subject: x\nTo: bob@example.org\n\nana@example.org"),
            ("new/.hidden", "To: ana@example.org\n\n"),
            ("new/7", "no mail at all"),
            ("tmp/109.O1S3.x", "To: ana@example.org\n\n"),
        ]);
        let all = find(&mut index, "", 0, 10).unwrap();
        assert_eq!(ids(&all), ["108.O1S2.x", "104.O2S1.x", "100.O1S1.x", "7"]);
        assert_eq!((all.matching, all.total, all.searched), (4, 4, 4));
        assert_eq!(ids(&find(&mut index, "", 1, 2).unwrap()), ["104.O2S1.x", "100.O1S1.x"]);
        assert_eq!(ids(&find(&mut index, "", 9, 2).unwrap()), [""; 0]);
        assert_eq!(ids(&find(&mut index, " #1 ", 0, 10).unwrap()), ["108.O1S2.x", "100.O1S1.x"]);
        assert_eq!(ids(&find(&mut index, "0", 0, 10).unwrap()), [""; 0], "what has no order is of none");
        assert_eq!(ids(&find(&mut index, "ANA@", 0, 10).unwrap()), ["108.O1S2.x", "100.O1S1.x"]);
        assert_eq!(ids(&find(&mut index, "bob", 0, 10).unwrap()), ["104.O2S1.x"]);
        // a change shows at once, however shortly after the last look
        std::fs::rename(folder.path().join("new/108.O1S2.x"), folder.path().join("cur/108.O1S2.x:2,")).unwrap();
        std::fs::write(folder.path().join("new/110.O3S1.x"), "To: ana@example.org\n\n").unwrap();
        let found = find(&mut index, "ana", 0, 10).unwrap();
        assert_eq!(ids(&found), ["110.O3S1.x", "108.O1S2.x", "100.O1S1.x"]);
        assert!(!found.entries[1].is_new);
    }

    #[test]
    fn only_listed_files_have_a_path() {
        let (folder, mut index) = maildir(&[("new/100.O1S1.x", "inside"), ("secret", "outside")]);
        std::os::unix::fs::symlink("../secret", folder.path().join("new/101.link")).unwrap();
        let path = index.path("100.O1S1.x").unwrap().unwrap();
        assert_eq!(read(&path, 100).unwrap(), b"inside");
        for id in ["../secret", "..", "", "new/100.O1S1.x", "100.O1S1.x\0"] {
            assert_eq!(index.path(id).unwrap(), None, "{id:?}");
        }
        let link = index.path("101.link").unwrap().unwrap();
        assert!(read(&link, 100).is_err());
    }

    #[test]
    fn keeps_the_newest_of_too_many() {
        let files: Vec<_> = (1..=10).map(|n| format!("new/{}.O{n}S1.x", 100 + n)).collect();
        let files: Vec<_> = files.iter().map(|name| (&**name, "To: a@b.example\n\n")).collect();
        let (_folder, mut index) = maildir(&files);
        index.entries_max = 3;
        let found = find(&mut index, "", 0, 10).unwrap();
        assert_eq!(ids(&found), ["110.O10S1.x", "109.O9S1.x", "108.O8S1.x"]);
        assert_eq!((found.matching, found.total), (3, 10));
    }
}
