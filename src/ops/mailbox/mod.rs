//! `/mailbox`: the mails in the Maildir, and samples of all there can be. Read-only: looking at a mail marks nothing.
//!
//! Every mail is foreign here. Its text goes through templates that escape; its HTML is shown in a frame without
//! rights, under a policy that fetches nothing.

mod index;
mod message;

use std::{
    io,
    path::{Path as FsPath, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Extension, Router,
    extract::{Path, State},
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use minijinja::{Value, context};
use serde::Deserialize;
use tokio::sync::{Mutex, Semaphore};

use self::index::{Entry, Found, Index};
use super::Frame;
use crate::{
    clock::Clock,
    domain::Lang,
    pages::{Pages, Reader, Site, foreign_html},
    web::{Fields, Problem},
};

/// Mails on one page.
const PAGE: usize = 50;
/// Most of a mail that is shown.
const MAIL_BYTES_MAX: u64 = 1 << 20;
/// Beside a mail that is longer, the list is as of when it was loaded.
const LIVE_BYTES_MAX: usize = 256 << 10;
/// How a mail can be looked at.
const VIEWS: [&str; 5] = ["phone", "wide", "text", "headers", "source"];

/// Requests that read files or wait to; more are refused. One reads the index at a time.
const READING_MAX: usize = 8;

/// Where mails go.
#[derive(Debug, Clone)]
pub enum Place {
    /// Into this Maildir.
    Maildir(PathBuf),
    /// To an SMTP server, called so.
    Smtp(String),
    /// Nowhere.
    Off,
}

/// A sample mail for the gallery.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The state that it is about.
    pub state: String,
    /// Its language.
    pub lang: Lang,
    /// Its subject.
    pub subject: String,
    /// Its HTML part.
    pub html: String,
}

/// Makes all samples.
pub type Samples = Arc<dyn Fn() -> Vec<Sample> + Send + Sync>;

/// The mailbox; a cheap handle.
#[derive(Clone)]
pub struct Mailbox(Arc<Inner>);

struct Inner {
    place: Place,
    /// Of the Maildir; empty where there is none.
    index: Arc<Mutex<Index>>,
    reading: Arc<Semaphore>,
    samples: Samples,
    pages: Pages,
}

impl Mailbox {
    /// Of that place, with these samples. `clock` is the machine's, whatever drives the orders: files have its times.
    pub fn new(place: Place, samples: Samples, clock: Clock, site: &Site) -> Self {
        let root = if let Place::Maildir(root) = &place { root.clone() } else { PathBuf::new() };
        let templates = [
            ("mailbox.html", include_str!("../templates/mailbox.html")),
            ("mail.html", include_str!("../templates/mail.html")),
            ("gallery.html", include_str!("../templates/gallery.html")),
        ];
        let pages = Pages::new(site, &[&super::desk::LAYOUT[..], &templates].concat());
        let (index, reading) = (Arc::new(Mutex::new(Index::new(root, clock))), Arc::new(Semaphore::new(READING_MAX)));
        Self(Arc::new(Inner { place, index, reading, samples, pages }))
    }

    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/mailbox", get(list))
            .route("/mailbox/gallery", get(gallery))
            .route("/mailbox/gallery/{number}", get(sample))
            .route("/mailbox/{id}", get(one))
            .route("/mailbox/{id}/html", get(html))
            .route("/mailbox/{id}/raw", get(raw))
            .with_state(self)
    }

    /// Runs what reads the index on a thread that may wait for files. When the client is gone, so is its work: what
    /// waits is dropped, and what runs is told to give up.
    async fn with_index<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Index, &AtomicBool) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let _place = self.0.reading.try_acquire().map_err(|_| busy())?;
        let mut index = self.0.index.clone().lock_owned().await; // waited for here, where no thread is held
        let client = Client(Arc::default());
        let is_gone = client.0.clone();
        let task = tokio::task::spawn_blocking(move || work(&mut index, &is_gone)); // listed anew when in doubt
        task.await.map_err(io::Error::other).flatten().map_err(|error| {
            tracing::warn!(%error, "the Maildir cannot be read");
            Problem::unavailable("the Maildir cannot be read; the server's log has the reason")
        })
    }

    /// A mail's bytes, and whether that is all of it.
    async fn read(&self, id: String) -> Result<(Vec<u8>, bool), Problem> {
        if !matches!(self.0.place, Place::Maildir(_)) {
            return Err(no_such_mail());
        }
        let path = self.with_index(move |index, _| index.path(&id)).await?.ok_or_else(no_such_mail)?;
        // kept by the thread itself, for a read cannot be broken off
        let place = self.0.reading.clone().try_acquire_owned().map_err(|_| busy())?;
        let read = tokio::task::spawn_blocking(move || {
            let _place = place;
            index::read(&path, MAIL_BYTES_MAX + 1)
        });
        // it was moved or deleted a moment ago, or is a link
        let mut bytes = read.await.map_err(io::Error::other).flatten().map_err(|_| no_such_mail())?;
        let is_whole = bytes.len() as u64 <= MAIL_BYTES_MAX;
        bytes.truncate(MAIL_BYTES_MAX as usize);
        Ok((bytes, is_whole))
    }
}

/// Tells the work of a request, when this is dropped with it, that its client is gone.
struct Client(Arc<AtomicBool>);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn busy() -> Problem {
    Problem::overloaded("too many ask for mails at this moment")
}

fn no_such_mail() -> Problem {
    Problem::not_found("there is no such mail; it may have been moved or deleted")
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ListQuery {
    q: String,
    page: usize,
    view: String,
}

impl ListQuery {
    fn page(&self) -> usize {
        self.page.clamp(1, 1_000_000)
    }

    /// What is listed, for other addresses.
    fn fields(&self) -> String {
        let page = self.page().to_string();
        let fields = [("q", &*self.q), ("page", if page == "1" { "" } else { &page })];
        let given = fields.into_iter().filter(|(_, value)| !value.is_empty());
        form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish()
    }
}

/// `GET /mailbox?q=&page=&lang=`
async fn list(
    State(mailbox): State<Mailbox>,
    Extension(frame): Extension<Frame>,
    reader: Reader,
    Fields(query): Fields<ListQuery>,
) -> Result<Response, Problem> {
    let (smtp, off) = match &mailbox.0.place {
        Place::Maildir(root) => {
            let listed = mailbox.listed(root, &query, &frame).await?;
            let listed = context! { mail => (), id => (), ..listed };
            return Ok(mailbox.0.pages.render("mailbox.html", &reader, listed));
        }
        Place::Smtp(server) => (Some(server), false),
        Place::Off => (None, true),
    };
    let values = context! { smtp, off, mail => (), is_live => false, ..frame.values().await };
    Ok(mailbox.0.pages.render("mailbox.html", &reader, values))
}

impl Mailbox {
    /// The list, and what surrounds it. It is kept up to date where that reads no more files than it shows.
    async fn listed(&self, root: &FsPath, query: &ListQuery, frame: &Frame) -> Result<Value, Problem> {
        let page = query.page();
        let (q, around) = (query.q.clone(), frame.clone());
        let (found, mails) = self
            .with_index(move |index, is_gone| {
                let found = index.find(&q, (page - 1) * PAGE, PAGE, is_gone)?;
                let mails: Vec<Value> = found.entries.iter().map(|entry| row(index, entry, &around)).collect();
                Ok((found, mails))
            })
            .await?;
        let Found { matching, total, listed, searched, .. } = found;
        let first = (page - 1) * PAGE + 1;
        Ok(context! {
            smtp => (), off => false, root => root.display().to_string(), q => &query.q, fields => query.fields(), page, matching, total, listed, searched,
            first, last => first - 1 + mails.len(), mails, is_live => !index::is_search(&query.q), ..frame.values().await
        })
    }
}

/// A line of the list; a file that has gone meanwhile has only its name.
fn row(index: &Index, entry: &Entry, frame: &Frame) -> Value {
    let head = index::head(&index.path_of(entry)).unwrap_or_default();
    let message::View { subject, to, state, .. } = message::summary_of(&head);
    let petals = frame.petals(&state);
    context! { id => entry.id.as_ref(), at => time_of(entry.seconds), subject, to, petals }
}

/// A name that is not ours tells no time.
fn time_of(seconds: i64) -> Option<i64> {
    Some(seconds).filter(|seconds| *seconds != 0).map(|seconds| seconds.saturating_mul(1_000))
}

/// `GET /mailbox/{id}?view=phone|wide|text|headers|source`, beside the list of `q` and `page`
async fn one(
    State(mailbox): State<Mailbox>,
    Extension(frame): Extension<Frame>,
    Path(id): Path<String>,
    reader: Reader,
    Fields(query): Fields<ListQuery>,
) -> Result<Response, Problem> {
    let Place::Maildir(root) = &mailbox.0.place else { return Err(no_such_mail()) };
    let (bytes, is_whole) = mailbox.read(id.clone()).await?;
    let mail = message::view(&bytes);
    let fallback = if mail.html.is_some() { "phone" } else { "text" };
    let shown = VIEWS.into_iter().find(|view| *view == query.view).unwrap_or(fallback);
    let source = (shown == "source").then(|| message::source(&bytes));
    let has_html = mail.html.is_some();
    let listed = mailbox.listed(root, &query, &frame).await?;
    let mail = context! { at => time_of(index::seconds_of(&id)), ..mail.values() };
    let is_live = bytes.len() <= LIVE_BYTES_MAX && !index::is_search(&query.q);
    let values = context! { id, view => shown, source, is_whole, has_html, mail, is_live, ..listed };
    Ok(mailbox.0.pages.render("mailbox.html", &reader, values))
}

/// `GET /mailbox/{id}/html`: the HTML part, for the frame.
async fn html(State(mailbox): State<Mailbox>, Path(id): Path<String>) -> Result<Response, Problem> {
    let (bytes, _) = mailbox.read(id).await?;
    let html = message::view(&bytes).html.ok_or_else(|| Problem::not_found("this mail has no HTML part"))?;
    Ok(foreign_html(html))
}

/// `GET /mailbox/{id}/raw`: the file, to be opened by a mail program.
async fn raw(State(mailbox): State<Mailbox>, Path(id): Path<String>) -> Result<Response, Problem> {
    let (bytes, _) = mailbox.read(id).await?;
    let headers = [
        (header::CONTENT_TYPE, "message/rfc822"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"mail.eml\""),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    ];
    Ok((headers, bytes).into_response())
}

/// `GET /mailbox/gallery`
async fn gallery(State(mailbox): State<Mailbox>, Extension(frame): Extension<Frame>, reader: Reader) -> Response {
    let samples = (mailbox.0.samples)().into_iter().map(|Sample { state, lang, subject, .. }| {
        context! { state, lang => lang.code(), subject }
    });
    let values = context! { samples => samples.collect::<Vec<Value>>(), ..frame.values().await };
    mailbox.0.pages.render("gallery.html", &reader, values)
}

/// `GET /mailbox/gallery/{number}`: the HTML of a sample, for its frame.
async fn sample(State(mailbox): State<Mailbox>, Path(number): Path<String>) -> Result<Response, Problem> {
    let number: Option<usize> = number.parse().ok();
    let sample = number.and_then(|number| (mailbox.0.samples)().into_iter().nth(number));
    sample.map(|sample| foreign_html(sample.html)).ok_or_else(|| Problem::not_found("there is no such sample"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::StatusCode;

    use super::*;
    use crate::domain::Timestamp;

    async fn until(what: &str, is_so: impl Fn() -> bool) {
        let wait = async {
            while !is_so() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), wait).await.unwrap_or_else(|_| panic!("waited for {what}"));
    }

    #[tokio::test]
    async fn few_wait_for_the_index_and_who_goes_makes_room() {
        let mailbox = Mailbox::new(
            Place::Maildir(PathBuf::new()),
            Arc::new(Vec::new),
            Clock::manual(Timestamp::default()),
            &Site::default(),
        );
        let reading = mailbox.0.reading.clone();
        let busy = mailbox.0.index.clone().lock_owned().await;
        let ask = |mailbox: Mailbox| async move { mailbox.with_index(|_, _| Ok(())).await };
        let waiting: Vec<_> = (0..READING_MAX).map(|_| tokio::spawn(ask(mailbox.clone()))).collect();
        until("all to wait", || reading.available_permits() == 0).await;
        assert_eq!(ask(mailbox.clone()).await.unwrap_err().status(), StatusCode::SERVICE_UNAVAILABLE);
        for client in waiting {
            client.abort();
        }
        until("all to be gone", || reading.available_permits() == READING_MAX).await;
        drop(busy);
        assert_eq!(ask(mailbox).await, Ok(()));
    }

    #[tokio::test]
    async fn work_is_told_that_its_client_is_gone() {
        let mailbox = Mailbox::new(
            Place::Maildir(PathBuf::new()),
            Arc::new(Vec::new),
            Clock::manual(Timestamp::default()),
            &Site::default(),
        );
        let (begun, ended) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (begins, ends) = (begun.clone(), ended.clone());
        let client = tokio::spawn(async move {
            let search = mailbox.with_index(move |_, is_gone| {
                begins.add_permits(1);
                while !is_gone.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                ends.add_permits(1);
                Ok(())
            });
            search.await
        });
        let _begun = begun.acquire().await.unwrap();
        client.abort();
        let end = tokio::time::timeout(Duration::from_mins(1), ended.acquire()).await;
        assert!(end.is_ok(), "the search goes on");
    }
}
