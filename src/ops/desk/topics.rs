//! The topics of the log: what they hold, how much that is, and for how long.

use std::{sync::Arc, time::Duration};

use minijinja::{Value, context};

use super::{
    Desk,
    question::{ask, silent},
    says::Voice,
};
use crate::{
    eventlog::{Deletes, Keeping, TopicInfo},
    pages::format,
    store,
    web::Problem,
};

/// How old may be what is said of how topics are kept.
pub(super) const FRESH: Duration = Duration::from_mins(1);

/// Topics by name with how they are kept.
pub(super) type Kept = Vec<(String, Keeping)>;

/// The topics, of one look for all open pages.
pub(super) async fn look(desk: &Desk) -> Result<Arc<Vec<TopicInfo>>, Problem> {
    let this = desk.clone();
    let look = async move {
        let topics = ask(&this, |log| log.topics()).await;
        topics.map(Arc::new).map_err(|error| store::Error::Unavailable(error.to_string()))
    };
    desk.0.topics.look(&desk.0.deps.env.pace, look).await.map_err(silent)
}

/// How our topics are kept; nothing of what the log does not tell, for which no page has to wait or fail.
pub(super) async fn keeping(desk: &Desk, topics: &[TopicInfo]) -> Arc<Kept> {
    let this = desk.clone();
    let is_ours = |topic: &&TopicInfo| desk.0.deps.watch.topic_word(&topic.name).is_some();
    let names: Vec<_> = topics.iter().filter(is_ours).map(|topic| topic.name.clone()).collect();
    let look = async move {
        let kept = ask(&this, move |log| {
            let keeping = log.keeping(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
            Ok(names.into_iter().zip(keeping).collect())
        });
        kept.await.map(Arc::new).map_err(|error| store::Error::Unavailable(error.to_string()))
    };
    desk.0.keeping.look(&desk.0.deps.env.pace, look).await.unwrap_or_default()
}

/// The topics as rows of a table.
pub(super) fn rows(topics: &[TopicInfo], kept: &Kept, voice: Voice<'_>, desk: &Desk) -> Vec<Value> {
    let row = |topic: &TopicInfo| {
        let partitions = (0..).zip(&topic.partitions).map(|(number, range): (u32, _)| {
            context! { number, start => range.start, end => range.end }
        });
        let offsets: u64 = topic.partitions.iter().map(|range| range.end - range.start).sum();
        let what = desk.0.deps.watch.topic_word(&topic.name).map(|word| voice.word(word));
        let keeping = kept.iter().find(|(name, _)| *name == topic.name).map(|(_, keeping)| *keeping);
        let deleted = desk.0.deps.deleted.iter().find(|(name, _)| *name == topic.name).map(|(_, age)| *age);
        let bytes = keeping.and_then(|keeping| keeping.bytes);
        context! {
            name => &topic.name, what, partitions => partitions.collect::<Vec<_>>(), kept => offsets,
            size => bytes.map(|bytes| if bytes == 0 { voice.bytes(0) } else { voice.say("size_about", &[("n", &voice.bytes(bytes))]) }), until => until(keeping, deleted, voice),
        }
    };
    topics.iter().map(row).collect()
}

/// For how long a topic's records are kept, in words; nothing when that is not known.
fn until(keeping: Option<Keeping>, deleted: Option<Duration>, voice: Voice<'_>) -> Option<String> {
    match keeping?.deletes {
        Deletes::Unknown => None,
        Deletes::AsTold => Some(deleted.map_or_else(
            || voice.word("kept_for_ever").to_owned(),
            |age| voice.say("kept_until_read", &[("t", &format::duration(age))]),
        )),
        Deletes::Beyond { age: None, bytes: None } => Some(voice.word("kept_for_ever").to_owned()),
        Deletes::Beyond { age, bytes } => {
            let bytes = bytes.map(|bytes| voice.say("kept_bytes", &[("n", &voice.bytes(bytes))]));
            let both = age.map(format::duration).into_iter().chain(bytes);
            Some(both.collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Lang, Timestamp},
        pages::Site,
    };

    #[test]
    fn how_long_records_are_kept_is_told_as_far_as_it_is_known() {
        let site = Site::default();
        let said = |lang, deletes, deleted| {
            let voice = Voice { lang, site: &site, now: Timestamp::default() };
            until(Some(Keeping { bytes: None, deletes }), deleted, voice).unwrap_or_default()
        };
        let week = Duration::from_hours(24 * 7);
        let beyond = |age, bytes| Deletes::Beyond { age, bytes };
        insta::assert_snapshot!(said(Lang::En, Deletes::AsTold, Some(week)), @"7 d, and until everybody has read them");
        insta::assert_snapshot!(said(Lang::Es, Deletes::AsTold, None), @"para siempre");
        insta::assert_snapshot!(said(Lang::En, beyond(None, None), Some(week)), @"for ever");
        insta::assert_snapshot!(said(Lang::En, beyond(Some(week), None), None), @"7 d");
        insta::assert_snapshot!(said(Lang::Es, beyond(Some(week), Some(2_500_000_000)), None), @"7 d, 2,5 GB por partición como mucho");
        assert_eq!(said(Lang::En, Deletes::Unknown, Some(week)), "", "the brokers decide, and do not say");
    }
}
