//! The form of one product: what a browser sends, once and again, and what becomes of it.

use encargo::{
    catalog::Catalog,
    domain::{Lang, OrderId},
    eventlog::Error,
    faults::Fault,
};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::header;
use crate::{
    harness::{app::TestApp, eventually},
    support::shop::{BROWSER, Shop, handles, id},
};

/// The page of a product, as its form says it is.
pub(super) struct Checkout {
    key: String,
    action: String,
    pub(super) html: String,
    /// What the browser keeps.
    cookie: String,
}

impl Checkout {
    pub(super) async fn of(shop: &Shop, product: &str) -> Self {
        let made = shop.browse(&format!("/checkout?product={product}")).send().await.unwrap();
        assert_eq!(made.status(), StatusCode::SEE_OTHER);
        Self::at(shop, header(&made, "location"), "").await
    }

    async fn at(shop: &Shop, address: &str, cookie: &str) -> Self {
        let page = shop.browse(address).header("cookie", cookie).send().await.unwrap();
        assert_eq!(page.status(), StatusCode::OK);
        let set = header(&page, "set-cookie").split(';').next().unwrap_or_default();
        let cookie = if set.is_empty() { cookie.to_owned() } else { set.to_owned() };
        Self { cookie, ..Self::read(page.text().await.unwrap()) }
    }

    async fn reload(&self, shop: &Shop) -> Self {
        Self::at(shop, &self.action, &self.cookie).await
    }

    fn read(html: String) -> Self {
        Self {
            key: value(&html, "key"),
            action: between(&html, "method=\"post\" action=\"").replace("&amp;", "&"),
            html,
            cookie: String::new(),
        }
    }

    fn send(&self, shop: &Shop, email: &str, accept: &str) -> impl Future<Output = Response> + use<> {
        let [product, price] = ["product", "price"].map(|field| value(&self.html, field));
        let fields = [("key", &self.key), ("product", &product), ("price", &price)];
        let body = encoded(
            fields.into_iter().map(|(name, value)| (name, value.as_str())).chain([("email", email), ("lang", "en")]),
        );
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let request = client.post(format!("{}{}", shop.url, self.action)).header("accept", accept);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        async { request.send().await.unwrap() }
    }
}

fn between(html: &str, before: &str) -> String {
    let found = html.split_once(before).unwrap_or_else(|| panic!("no {before} in {html}"));
    found.1.split('"').next().unwrap().replace("&#x2f;", "/").replace("&#x27;", "'").replace("&amp;", "&")
}

fn encoded<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn value(html: &str, field: &str) -> String {
    between(html, &format!("name=\"{field}\" value=\""))
}

fn tracked(id: OrderId) -> String {
    format!("http://shop.example/track/{}", handles().seal(id))
}

#[tokio::test]
async fn one_form_is_one_order_however_often_it_is_sent() {
    let shop = Shop::start().await;
    let checkout = Checkout::of(&shop, "1050").await;
    assert!(checkout.html.contains("Cuaderno de Ñandú") && checkout.html.contains("Pedir por 4,75\u{a0}€"));
    assert!(checkout.html.contains("+8\u{a0}s") && checkout.html.contains("+24\u{a0}s"), "{}", checkout.html);
    let reloaded = checkout.reload(&shop).await;
    assert_eq!(reloaded.key, checkout.key, "a reload keeps the key");

    let clicks: Vec<_> = (0..8)
        .map(|n| {
            tokio::spawn(checkout.send(
                &shop,
                " ana@example.org ",
                if n % 2 == 0 { BROWSER } else { "application/json" },
            ))
        })
        .collect();
    for (n, click) in clicks.into_iter().enumerate() {
        let answer = click.await.unwrap();
        if n % 2 == 0 {
            assert_eq!(
                (answer.status(), header(&answer, "location")),
                (StatusCode::SEE_OTHER, tracked(id(1)).as_str())
            );
        } else {
            assert_eq!(answer.status(), StatusCode::ACCEPTED);
            assert_eq!(answer.json::<Value>().await.unwrap(), json!({"orderid": 1, "track": tracked(id(1))}));
        }
    }
    let again = reloaded.send(&shop, "ana@example.org", BROWSER).await;
    assert_eq!(header(&again, "location"), tracked(id(1)));
    let orders = shop.orders();
    assert_eq!(orders.len(), 1);
    let order = &orders[0].0;
    assert_eq!((&*order.product.id, order.email.as_str(), order.lang), ("1050", "ana@example.org", Some(Lang::En)));
    assert_eq!(shop.metric("encargo_orders_accepted_total{via=\"page\"}"), 1);

    // another one's form is another order
    let other = Checkout::of(&shop, "1050").await;
    assert_ne!(other.key, checkout.key);
    let placed = other.send(&shop, "ana@example.org", BROWSER).await;
    assert_eq!(header(&placed, "location"), tracked(shop.orders().last().unwrap().0.id));
    assert_eq!(shop.orders().len(), 2);
}

#[tokio::test]
async fn who_chose_the_address_of_a_form_does_not_know_its_key() {
    let shop = Shop::start().await;
    let chosen = "0123456789abcdef0123456789abcdef";
    let address = format!("/checkout?product=1050&key={chosen}");
    let ana = Checkout::at(&shop, &address, "").await;
    assert!(ana.cookie.starts_with("checkout="), "{}", ana.cookie);
    assert_eq!(ana.reload(&shop).await.key, ana.key);
    assert!(!ana.action.contains(&ana.key) && ana.action.contains(chosen), "{}", ana.action);
    assert_eq!(header(&ana.send(&shop, "ana@example.org", BROWSER).await, "location"), tracked(id(1)));

    let order = json!({"product": "1050", "email": "ana@example.org", "lang": "en"}).to_string();
    let asked = shop.json(order).header("idempotency-key", chosen).send().await.unwrap();
    assert_eq!(asked.json::<Value>().await.unwrap()["orderid"], 2);
    for cookie in ["", "checkout=", "checkout=0123", &format!("checkout={chosen}")] {
        let other = Checkout::at(&shop, &address, cookie).await;
        let placed = other.send(&shop, "ana@example.org", BROWSER).await;
        assert_ne!(header(&placed, "location"), tracked(id(1)), "{cookie}");
    }
    // without cookies, what is sent twice is still ordered once
    let bare = Checkout::at(&shop, &address, "").await;
    let places =
        [bare.send(&shop, "eva@example.org", BROWSER).await, bare.send(&shop, "eva@example.org", BROWSER).await];
    assert_eq!(header(&places[0], "location"), header(&places[1], "location"));
    assert_eq!(shop.orders().len(), 7);
}

#[tokio::test]
async fn a_form_that_has_ordered_says_so_when_it_comes_with_something_else() {
    let shop = Shop::start().await;
    let checkout = Checkout::of(&shop, "1050").await;
    checkout.send(&shop, "ana@example.org", BROWSER).await;
    let mut keys = Vec::new();
    for _ in 0..2 {
        let told = checkout.send(&shop, "eva@example.org", BROWSER).await;
        assert_eq!(told.status(), StatusCode::CONFLICT);
        let told = Checkout::read(told.text().await.unwrap());
        assert!(told.html.contains("Aquí ya se hizo un pedido con otros datos"), "{}", told.html);
        assert_eq!(value(&told.html, "key"), told.key);
        assert!(told.html.contains("value=\"eva@example.org\""), "{}", told.html);
        for _ in 0..2 {
            assert_eq!(header(&told.send(&shop, "eva@example.org", BROWSER).await, "location"), tracked(id(2)));
        }
        keys.push(told.key);
    }
    assert_eq!(keys[0], keys[1]);
    assert_eq!(shop.ids(), [1, 2]);
}

#[tokio::test]
async fn a_wrong_address_is_explained_under_the_field_and_kept() {
    let shop = Shop::start().await;
    let checkout = Checkout::of(&shop, "1050").await;
    let long = format!("{}@example.org", "a".repeat(300));
    for (email, words) in [
        ("", "Escribe tu dirección de correo"),
        ("ana", "Falta la arroba"),
        ("ana@", "Falta algo tras la arroba"),
        ("ana b@example.org", "Esa dirección no puede ser"),
        ("ana@example.org\r\nBcc: eva@example.org", "Esa dirección no puede ser"),
        ("\"><script>alert(1)</script>@x.example", "Esa dirección no puede ser"),
        (&long, "Esa dirección no puede ser"),
    ] {
        let answer = checkout.send(&shop, email, BROWSER).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{email}");
        let html = answer.text().await.unwrap();
        assert!(html.contains(words) && html.contains("aria-invalid=\"true\""), "{email}: {html}");
        assert!(!html.contains("<script>"), "{html}");
        assert_eq!(value(&html, "key"), checkout.key);
    }
    let kept = checkout.send(&shop, "ana", BROWSER).await.text().await.unwrap();
    assert!(kept.contains("value=\"ana\""), "{kept}");
    assert!(shop.ids().is_empty());
    assert_eq!(header(&checkout.send(&shop, "ana@example.org", BROWSER).await, "location"), tracked(id(1)));
    // back to the form as it was with a wrong address: its key is still that of the order
    let back = checkout.send(&shop, "ana", BROWSER).await;
    assert_eq!(back.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let back = Checkout::read(back.text().await.unwrap());
    assert_eq!(header(&back.send(&shop, "ana@example.org", BROWSER).await, "location"), tracked(id(1)));
    assert_eq!(shop.ids(), [1]);
}

#[tokio::test]
async fn while_there_is_too_much_to_do_the_form_waits_with_its_key() {
    let shop = Shop::start().await;
    let checkout = Checkout::of(&shop, "1050").await;
    for (error, status, kind) in [
        (Error::Overloaded(4_096), 503, "busy"),
        (Error::Unavailable("the disk is full".into()), 503, "away"),
        (Error::Unconfirmed("no answer".into()), 503, "unsure"),
    ] {
        shop.faults.then(if kind == "unsure" { Fault::Unanswered(error) } else { Fault::Refused(error) });
        let waits = checkout.send(&shop, "ana@example.org", BROWSER).await;
        assert_eq!(waits.status().as_u16(), status, "{kind}");
        let seconds = header(&waits, "retry-after").to_owned();
        let html = waits.text().await.unwrap();
        assert!(html.contains(&format!("data-seconds=\"{seconds}\" data-kind=\"{kind}\"")), "{html}");
        assert!(html.contains("value=\"ana@example.org\"") && value(&html, "key") == checkout.key, "{html}");
    }
    shop.clock.advance(std::time::Duration::from_secs(10)); // the reservation of the unconfirmed one
    let placed = checkout.send(&shop, "ana@example.org", BROWSER).await;
    let ids: std::collections::BTreeSet<_> = shop.ids().into_iter().collect();
    assert_eq!(ids.len(), 1, "whatever was written twice is one order");
    assert_eq!(header(&placed, "location"), tracked(id(*ids.first().unwrap())));
}

#[tokio::test]
async fn a_form_that_may_have_ordered_says_no_more_when_it_comes_with_something_else() {
    let shop = Shop::start().await;
    let checkout = Checkout::of(&shop, "1050").await;
    shop.faults.then(Fault::Unanswered(Error::Unconfirmed("no answer".into())));
    let unsure = checkout.send(&shop, "ana@example.org", BROWSER).await;
    assert_eq!(unsure.status(), StatusCode::SERVICE_UNAVAILABLE);
    let told = checkout.send(&shop, "eva@example.org", BROWSER).await;
    assert_eq!(told.status(), StatusCode::CONFLICT);
    let html = told.text().await.unwrap();
    assert!(html.contains("Puede que aquí ya se hiciera un pedido con otros datos"), "{html}");
    assert!(!html.contains("Aquí ya se hizo"), "{html}");
}

#[tokio::test]
async fn a_refused_form_counts_once_though_the_script_asks_for_the_page() {
    let shop = Shop::start().await;
    let checkout = Checkout::of(&shop, "1050").await;
    for accept in ["application/json", BROWSER] {
        let refused = checkout.send(&shop, "ana", accept).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(shop.metric("encargo_orders_refused_total{reason=\"invalid\"}"), 1);
}

#[tokio::test]
async fn what_is_not_for_sale_any_more_is_not_ordered_and_a_new_price_is_shown_first() {
    let shop = Shop::start().await;
    let (sold, repriced) = (Checkout::of(&shop, "1010").await, Checkout::of(&shop, "1050").await);
    let catalog = Catalog::parse("test", "appid,name,price\n1050,Cuaderno,5.25\n".as_bytes()).unwrap();
    let shop = shop.restart_with(catalog).await;
    let gone = sold.send(&shop, "ana@example.org", BROWSER).await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
    assert!(gone.text().await.unwrap().contains("Ya no está en el catálogo"));
    for product in ["1010", "", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..", "%00", "1050%0d%0aX-Y:z", "%3Cscript%3E"] {
        let gone = shop.browse(&format!("/checkout?product={product}")).send().await.unwrap();
        assert_eq!(gone.status(), StatusCode::NOT_FOUND, "{product}");
        assert!(gone.headers().get("x-y").is_none() && !gone.text().await.unwrap().contains("<script>"));
    }
    let told = repriced.send(&shop, "ana@example.org", BROWSER).await;
    assert_eq!(told.status(), StatusCode::CONFLICT);
    let told = Checkout::read(told.text().await.unwrap());
    assert!(told.html.contains("El precio ha cambiado") && told.html.contains("Pedir por 5,25"), "{}", told.html);
    assert!(shop.ids().is_empty());
    assert_eq!(told.send(&shop, "ana@example.org", BROWSER).await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_form_without_a_key_of_ours_gets_one_and_orders_nothing() {
    let shop = Shop::start().await;
    let checkout = Checkout::of(&shop, "1050").await;
    let (long, half) = ("f".repeat(255), format!("{}.x", checkout.key));
    for key in ["", "x", "\r\nSet-Cookie: a=b", &long, "../../../etc", &half] {
        let (action, html) = ("/checkout".into(), checkout.html.clone());
        let form = Checkout { key: key.to_owned(), action, html, cookie: String::new() };
        let answer = form.send(&shop, "ana@example.org", BROWSER).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{key}");
        assert!(answer.headers().get("set-cookie").is_none());
        assert_eq!(value(&Checkout::at(&shop, header(&answer, "location"), "").await.html, "product"), "1050");
        let script = form.send(&shop, "ana@example.org", "application/json").await;
        assert_eq!(script.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let shown = format!("/checkout?{}", encoded([("product", "1050"), ("key", key)]));
        let shown = shop.browse(&shown).send().await.unwrap();
        assert_eq!(shown.status(), StatusCode::SEE_OTHER, "{key}");
    }
    let typed = shop.client.post(format!("{}/checkout", shop.url)).header("content-type", "text/plain");
    assert_eq!(typed.body("key=x").send().await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(shop.ids().is_empty());
}

#[tokio::test]
async fn orders_from_pages_are_bounded_like_others_and_foreign_pages_place_none() {
    let app = TestApp::start_with(&[("intake.rate_per_address", "2/h"), ("catalog.currency", "<€>\r\nX: y")]).await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let send = async |origin: Option<&str>| {
        let made = client.get(app.intake("/checkout?product=1050")).header("accept", BROWSER).send().await.unwrap();
        let address = header(&made, "location").to_owned();
        let html =
            client.get(app.intake(&address)).header("accept", BROWSER).send().await.unwrap().text().await.unwrap();
        assert!(html.contains("&lt;€&gt;") && !html.contains("<€>"), "{html}");
        let [key, price] = ["key", "price"].map(|field| value(&html, field));
        let form = encoded([("key", &*key), ("product", "1050"), ("price", &*price), ("email", "ana@example.org")]);
        let request = client.post(app.intake("/checkout")).header("accept", BROWSER).body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = match origin {
            Some(origin) => request.header("origin", origin),
            None => request,
        };
        request.send().await.unwrap()
    };
    for origin in ["https://evil.example", "null"] {
        assert_eq!(send(Some(origin)).await.status(), StatusCode::FORBIDDEN, "{origin}");
    }
    for _ in 0..2 {
        let placed = send(None).await;
        let followed = header(&placed, "location");
        assert!(followed.starts_with(&app.tracking("/track/")), "{placed:?}");
        eventually("the order on its page", async || {
            let page =
                client.get(followed).header("accept", BROWSER).send().await.map_err(|error| error.to_string())?;
            if page.status() == StatusCode::OK { Ok(()) } else { Err(page.status().to_string()) }
        })
        .await;
    }
    let many = send(None).await;
    assert_eq!((many.status(), header(&many, "retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1800"));
    let html = many.text().await.unwrap();
    assert!(html.contains("Demasiados pedidos seguidos") && html.contains("30\u{a0}min"), "{html}");
}
