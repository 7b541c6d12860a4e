//! The shop's pages: what a browser sees and sends, with and without script, and what a hostile one tries.

use encargo::{catalog::Catalog, domain::Lang};
use reqwest::{Response, StatusCode};

use self::checkout::Checkout;
use crate::support::shop::{BROWSER, Shop};

mod checkout;

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn page(shop: &Shop, path: &str, lang: Lang) -> String {
    let response = shop.browse(path).header("accept-language", lang.code()).send().await.unwrap();
    assert_eq!((response.status(), header(&response, "content-language")), (StatusCode::OK, lang.code()), "{path}");
    response.text().await.unwrap().replace("&#x2f;", "/") // which the templates write so
}

#[tokio::test]
async fn the_window_is_for_browsers_and_programs_see_what_they_saw() {
    let shop = Shop::start().await;
    for (lang, title, count) in [
        (Lang::Es, "<h1>¿Qué buscas?</h1>", "56 productos"),
        (Lang::En, "<h1>What are you looking for?</h1>", "56 products"),
    ] {
        let html = page(&shop, "/", lang).await;
        assert!(html.contains(title) && html.contains(count), "{html}");
        assert_eq!(html.matches("class=\"tile ").count(), 18, "{html}");
    }
    let start = page(&shop, "/?seed=7", Lang::En).await;
    assert_eq!(page(&shop, "/?seed=7", Lang::En).await, start, "who comes back sees the same");
    assert_ne!(page(&shop, "/?seed=8", Lang::En).await, start);
    for accept in ["*/*", "application/json", "application/json, text/html;q=0.9"] {
        let refused = shop.get("/").header("accept", accept).send().await.unwrap();
        assert_eq!((refused.status(), header(&refused, "allow")), (StatusCode::METHOD_NOT_ALLOWED, "POST"), "{accept}");
        assert_eq!(header(&refused, "content-type"), "application/problem+json");
    }
    let old = shop.form("value=1").header("accept", BROWSER).send().await.unwrap();
    assert_eq!(old.text().await.unwrap(), "Transaccion enviada!");
    assert!(page(&shop, "/", Lang::Es).await.contains("script type=\"module\" src=\"/assets/shop."));
}

#[tokio::test]
async fn a_search_shows_what_matched_and_keeps_what_was_asked_in_every_link() {
    let shop = Shop::start().await;
    let html = page(&shop, "/?q=cuaderno+nandu", Lang::Es).await;
    assert!(html.contains("<mark>Cuaderno</mark> de <mark>Ñandú</mark>"), "{html}");
    assert!(html.contains("1 resultado para «cuaderno nandu»") && html.contains("4,75\u{a0}€"), "{html}");
    assert!(html.contains("href=\"/checkout?product=1050&amp;q=cuaderno+nandu\""), "{html}");
    assert!(html.contains("href=\"/?q=cuaderno+nandu&amp;up_to=0\""), "free ones: {html}");
    assert!(html.contains("href=\"/?q=cuaderno+nandu&amp;order=dearest\""), "{html}");

    let meant = page(&shop, "/?q=cuaderon+nandu", Lang::En).await;
    assert!(meant.contains("1 result for “cuaderno nandu”. Nothing is called “cuaderon nandu”."), "{meant}");
    let partly = page(&shop, "/?q=cuaderon+xyzzy", Lang::En).await;
    assert!(partly.contains("Nothing is called “cuaderon xyzzy”"), "{partly}");
    assert!(partly.contains("<a href=\"/?q=cuaderno\"><bdi>cuaderno</bdi></a>"), "{partly}");
    let none = page(&shop, "/?q=xyzzy", Lang::Es).await;
    assert!(none.contains("Nada se llama «xyzzy»") && !none.contains("¿Quizá"), "{none}");

    let priced = page(&shop, "/?q=cuaderno+nandu&over=100", Lang::Es).await;
    assert!(priced.contains("No hay nada de «cuaderno nandu» a ese precio"), "{priced}");
    assert!(priced.contains("Solo se ha buscado a este precio: Más de 100\u{a0}€."), "{priced}");
    assert!(priced.contains("<a href=\"/?q=cuaderno+nandu\">Buscar a cualquier precio (1)</a>"), "{priced}");
    assert!(priced.contains("<input type=\"hidden\" name=\"over\" value=\"100\">"), "a new search keeps it: {priced}");

    let all = page(&shop, "/?order=name", Lang::En).await;
    assert!(all.contains("56 results") && all.contains("1 to 48") && all.contains("/?order=name&amp;page=2"), "{all}");
    let last = page(&shop, "/?order=name&page=99999999999", Lang::En).await;
    assert!(last.contains("49 to 56") && last.contains("rel=\"prev\"") && !last.contains("rel=\"next\""), "{last}");
}

#[tokio::test]
async fn names_cannot_become_markup_and_words_no_headers() {
    let name = "\"\"><script>alert(1)</script>{{ 7*7 }}\u{202e}";
    let csv = format!("appid,name,price\n\"<b>&'\",\"{name}\",1\n../x,Otro,2\n");
    let shop = Shop::start().await.restart_with(Catalog::parse("test", csv.as_bytes()).unwrap()).await;
    for path in [
        "/",
        "/?q=script",
        "/?q=%3Cscript%3Ealert(1)%3C/script%3E",
        "/?q=%22onfocus=alert(1)%20x",
        "/?order=name&q=alert",
    ] {
        let html = page(&shop, path, Lang::En).await;
        assert!(!html.contains("<script>") && !html.contains("<b>&'") && !html.contains("\"onfocus"), "{path}: {html}");
    }
    for product in ["%3Cb%3E%26%27", "../x"] {
        let html = Checkout::of(&shop, product).await.html;
        assert!(!html.contains("<script>") && !html.contains("<b>&'"), "{html}");
    }
    let answer = shop.browse("/?q=x&lang=en%0d%0aX-Evil:%20y").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers().get("x-evil").is_none());
    assert!(
        header(&answer, "content-security-policy").contains("form-action 'self' http://shop.example;"),
        "{answer:?}"
    );
}
