use std::{borrow::Cow, hash::Hasher as _, io::Write as _, sync::LazyLock, sync::OnceLock};

use axum::{
    Router,
    extract::Path,
    http::{
        HeaderMap, HeaderValue,
        header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use flate2::{Compression, write::GzEncoder};
use siphasher::sip::SipHasher13;

use crate::web::{Problem, accepts_gzip};

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// What pages need, by name. What a script imports stands before it.
const FILES: [(&str, &str, &[&str]); 12] = [
    ("pages.css", CSS, &[include_str!("assets/tokens.css"), include_str!("assets/pages.css")]),
    ("shop.js", JS, &[include_str!("assets/shop.js")]),
    ("checkout.js", JS, &[include_str!("assets/checkout.js")]),
    ("live.js", JS, &[include_str!("assets/live.js")]),
    ("desk.js", JS, &[include_str!("assets/desk.js")]),
    ("docs.js", JS, &[include_str!("assets/docs.js")]),
    ("mark-1.svg", SVG, &[include_str!("assets/marks/1.svg")]),
    ("mark-2.svg", SVG, &[include_str!("assets/marks/2.svg")]),
    ("mark-3.svg", SVG, &[include_str!("assets/marks/3.svg")]),
    ("mark-4.svg", SVG, &[include_str!("assets/marks/4.svg")]),
    ("mark-x.svg", SVG, &[include_str!("assets/marks/x.svg")]),
    ("track.js", JS, &[include_str!("assets/track.js")]),
];

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let mut assets: Vec<Asset> = Vec::new();
    for (name, kind, parts) in FILES {
        let mut text = Cow::from(parts.concat());
        // scripts import each other by their plain names
        for other in &assets {
            let (plain, hashed) = (format!("\"./{}\"", other.name), format!("\"./{}\"", other.file));
            text = text.replace(&plain, &hashed).into();
        }
        assets.push(Asset::new(name, kind, text.into_owned()));
    }
    assets
});

struct Asset {
    name: &'static str,
    /// Its name with a hash of its content: another content has another one, so that it can be cached for ever.
    file: String,
    kind: &'static str,
    text: String,
    gzip: OnceLock<Vec<u8>>,
}

impl Asset {
    fn new(name: &'static str, kind: &'static str, text: String) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(text.as_bytes());
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        let file = format!("{stem}.{:08x}.{extension}", hasher.finish() as u32);
        Self { name, file, kind, text, gzip: OnceLock::new() }
    }
}

/// Where an asset is, if there is one of that name.
pub(super) fn path_of(name: &str) -> Option<String> {
    ASSETS.iter().find(|asset| asset.name == name).map(|asset| format!("/assets/{}", asset.file))
}

/// The text of an asset; none of a name that there is not.
pub(super) fn text_of(name: &str) -> &'static str {
    ASSETS.iter().find(|asset| asset.name == name).map_or("", |asset| &asset.text)
}

/// What every page needs, under addresses that never mean anything else.
pub fn assets() -> Router {
    Router::new().route("/assets/{file}", get(serve))
}

async fn serve(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let asset = ASSETS.iter().find(|asset| asset.file == file);
    let asset =
        asset.ok_or_else(|| Problem::not_found("there is no such asset; the page that named it is an old one"))?;
    let fixed = [
        (CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
        (CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
        (VARY, HeaderValue::from_static("accept-encoding")),
    ];
    if accepts_gzip(&headers) {
        let body = asset.gzip.get_or_init(|| gzip(asset.text.as_bytes(), Compression::best())).as_slice();
        return Ok((fixed, [(CONTENT_ENCODING, HeaderValue::from_static("gzip"))], body).into_response());
    }
    Ok((fixed, asset.text.as_str()).into_response())
}

/// The same, compressed.
pub(super) fn gzip(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 3), level);
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes everything")
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn an_asset_is_cached_for_ever_and_comes_compressed_to_who_takes_that() {
        let path = path_of("pages.css").unwrap();
        let mut sizes = Vec::new();
        for encoding in ["gzip, br", "identity"] {
            let request = Request::get(&path).header("accept-encoding", encoding).body(Body::empty()).unwrap();
            let response = assets().oneshot(request).await.unwrap();
            assert!(response.headers()[CACHE_CONTROL].to_str().unwrap().contains("immutable"));
            assert_eq!(response.headers().contains_key(CONTENT_ENCODING), encoding.contains("gzip"));
            sizes.push(axum::body::to_bytes(response.into_body(), 100_000).await.unwrap().len());
        }
        assert!(sizes[0] * 2 < sizes[1] && sizes[0] < 8_000, "{sizes:?}");
        let old = Request::get("/assets/pages.00000000.css").body(Body::empty()).unwrap();
        assert_eq!(assets().oneshot(old).await.unwrap().status(), 404);
    }

    #[test]
    fn scripts_stay_small_and_find_each_other() {
        let scripts = || ASSETS.iter().filter(|asset| asset.kind == JS);
        let bytes: usize = scripts().map(|script| script.text.len()).sum();
        assert!(bytes < 15_500, "{bytes} bytes of script");
        let live = path_of("live.js").unwrap().replace("/assets/", "./");
        for name in ["desk.js", "track.js"] {
            let script = scripts().find(|script| script.name == name).unwrap();
            assert!(script.text.contains(&format!("from \"{live}\";")), "{name}");
        }
    }

    #[test]
    fn every_asset_has_a_name_of_its_own() {
        assert_eq!(path_of("none.css"), None);
        let files: std::collections::BTreeSet<_> = ASSETS.iter().map(|asset| &asset.file).collect();
        assert_eq!(files.len(), ASSETS.len());
    }
}
