use super::*;

fn guard(on_loopback: bool, hosts: &[&str], origins: &[&str]) -> Guard {
    Guard {
        on_loopback,
        hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        origins: origins.iter().map(|origin| origin.parse().unwrap()).collect(),
    }
}

fn headers(lines: &str) -> HeaderMap {
    let line = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
    };
    lines.split(" | ").filter(|text| !text.is_empty()).map(line).collect()
}

fn passes(guard: &Guard, request: &str, lines: &str) -> bool {
    let (method, target) = request.split_once(' ').unwrap();
    guard.check(&method.parse().unwrap(), &target.parse().unwrap(), &headers(lines)).is_ok()
}

#[test]
fn on_loopback_browsers_must_name_this_machine() {
    let plain = guard(true, &[], &[]);
    let named = guard(true, &["shop.example"], &[]);
    for (request, lines, by_default, when_named) in [
        ("GET /", "host: localhost:5000", true, true),
        ("GET /", "host: LOCALHOST.", true, true),
        ("GET /", "host: shop.localhost:5000", true, true),
        ("GET /", "host: 127.0.0.1:5000", true, true),
        ("GET /", "host: 127.1.2.3", true, true),
        ("GET /", "host: [::1]:5000", true, true),
        ("GET /", "host: [::ffff:127.0.0.1]:5000", true, true),
        ("GET /", "", true, true),
        ("GET /", "host: localhost | host: localhost", false, false),
        ("GET /", "host: evil.example:5000", false, false),
        ("HEAD /", "host: evil.example", false, false),
        ("GET /", "host: localhost.evil.example", false, false),
        ("GET /", "host: 127.0.0.1.evil.example", false, false),
        ("GET /", "host: localhost@evil.example", false, false),
        ("GET /", "host: ", false, false),
        ("GET /", "host: 0.0.0.0:5000", false, false),
        ("GET /", "host: 192.0.2.1", false, false),
        ("GET /", "host: shop.example", false, true),
        ("GET /", "host: Shop.Example.:443", false, true),
        ("GET /", "host: www.shop.example", false, false),
        ("GET /", "host: evil.example | x-forwarded-host: localhost", false, false),
        ("GET http://evil.example/", "host: localhost", false, false),
        ("GET http://localhost/", "host: evil.example", true, true),
        ("POST /", "host: evil.example | origin: http://evil.example", false, false),
        ("POST /", "host: evil.example:3000 | origin: http://evil.example:3000", false, false),
        ("POST /", "host: evil.example | sec-fetch-site: same-origin", false, false),
        ("POST /", "host: shop.example | origin: https://shop.example | sec-fetch-site: same-origin", false, true),
        ("POST /", "host: shop.example | origin: https://shop.example", false, true),
        // a proxy that passes its own idea of a Host on
        ("POST /", "host: 127.0.0.1:3000 | origin: https://shop.example", false, true),
        // a program: it could call us by any name
        ("POST /", "host: evil.example", true, true),
    ] {
        assert_eq!(passes(&plain, request, lines), by_default, "{request} {lines}");
        assert_eq!(passes(&named, request, lines), when_named, "{request} {lines}, with a name");
    }
}

#[test]
fn elsewhere_any_name_will_do_unless_some_are_named() {
    let plain = guard(false, &[], &[]);
    let named = guard(false, &["shop.example"], &[]);
    for (lines, by_default, when_named) in [
        ("host: shop.example", true, true),
        ("host: evil.example", true, false),
        ("host: 192.0.2.1:9000", true, true),
        ("host: localhost:9000", true, true),
    ] {
        assert_eq!(passes(&plain, "GET /", lines), by_default, "{lines}");
        assert_eq!(passes(&named, "GET /", lines), when_named, "{lines}, with a name");
    }
}

#[test]
fn a_foreign_site_changes_nothing_and_reads_nothing_but_by_a_link() {
    let open = guard(false, &[], &[]);
    let local = guard(true, &[], &[]);
    let shop = guard(true, &[], &["https://shop.example"]);
    for (request, lines, expected, when_allowed) in [
        ("POST /", "sec-fetch-site: cross-site | origin: https://shop.example", false, true),
        ("POST /", "origin: https://shop.example", false, true),
        ("POST /", "origin: HTTPS://SHOP.example", false, true),
        ("POST /", "origin: https://shop.example.evil.example", false, false),
        ("POST /", "origin: https://shop.example:444", false, false),
        ("POST /", "origin: http://shop.example", false, false),
        ("POST /", "origin: null", false, false),
        ("POST /", "origin: null | sec-fetch-site: cross-site", false, false),
        ("POST /", "sec-fetch-site: cross-site", false, false),
        ("POST /", "sec-fetch-site: same-site", false, false),
        ("POST /", "sec-fetch-site: nonsense", false, false),
        ("PUT /", "sec-fetch-site: cross-site", false, false),
        ("DELETE /", "origin: https://evil.example", false, false),
        ("POST /", "sec-fetch-site: same-site | origin: https://localhost.example", false, false),
        ("POST /", "sec-fetch-site: same-origin", true, true),
        ("POST /", "sec-fetch-site: none", true, true),
        ("POST /", "", true, true),
        ("GET /mailbox?q=a", "sec-fetch-site: cross-site | sec-fetch-mode: no-cors", false, false),
        ("GET /mailbox?q=a", "sec-fetch-site: cross-site", false, false),
        ("HEAD /", "sec-fetch-site: cross-site | sec-fetch-mode: no-cors", false, false),
        (
            "GET /products",
            "sec-fetch-site: cross-site | sec-fetch-mode: cors | origin: https://shop.example",
            false,
            true,
        ),
        (
            "GET /track/a",
            "sec-fetch-site: cross-site | sec-fetch-mode: navigate | sec-fetch-dest: document",
            true,
            true,
        ),
        ("GET /track/a", "sec-fetch-site: cross-site | sec-fetch-mode: navigate", true, true),
        (
            "GET /mailbox",
            "sec-fetch-site: cross-site | sec-fetch-mode: navigate | sec-fetch-dest: iframe",
            false,
            false,
        ),
        ("GET /mailbox", "sec-fetch-site: cross-site | sec-fetch-mode: navigate | sec-fetch-dest: embed", false, false),
        ("GET /mailbox", "sec-fetch-site: same-site | sec-fetch-mode: no-cors", true, true),
        ("GET /mailbox", "sec-fetch-site: none | sec-fetch-mode: navigate", true, true),
        ("OPTIONS /orders", "origin: https://shop.example | access-control-request-method: POST", false, true),
        ("OPTIONS /orders", "origin: https://evil.example | access-control-request-method: POST", false, false),
        ("OPTIONS /orders", "", true, true),
    ] {
        let lines = format!("host: localhost:3000{}{lines}", if lines.is_empty() { "" } else { " | " });
        for guard in [&open, &local] {
            assert_eq!(passes(guard, request, &lines), expected, "{request} {lines}");
        }
        assert_eq!(passes(&shop, request, &lines), when_allowed, "{request} {lines}, when it is allowed");
    }
    // pages of this machine are those of whoever sits at it
    for lines in ["origin: http://127.0.0.1:8080", "origin: http://[::1]:8080 | sec-fetch-site: cross-site"] {
        let lines = format!("host: localhost:3000 | {lines}");
        assert!(passes(&local, "POST /", &lines) && !passes(&open, "POST /", &lines), "{lines}");
    }
    // an old page of the same host, on a port of its own
    for lines in ["origin: http://192.0.2.1", "origin: http://192.0.2.1:8080 | sec-fetch-site: same-site"] {
        assert!(passes(&open, "POST /", &format!("host: 192.0.2.1:3000 | {lines}")), "{lines}");
    }
    assert!(
        passes(&open, "POST /", "host: shop.example | origin: https://shop.example"),
        "a browser without Sec-Fetch-Site"
    );
}

#[test]
fn a_request_from_here_names_this_machine_and_no_proxy() {
    let is_here = |lines| is_from_here(&Uri::from_static("/orders/1"), &headers(lines));
    assert!(is_here("host: localhost:5000") && is_here("host: [::1]"));
    for lines in [
        "",
        "host: shop.example",
        "host: localhost | x-forwarded-for: 203.0.113.9",
        "host: localhost | forwarded: for=203.0.113.9",
        "host: localhost | x-forwarded-host: localhost",
        "host: localhost | x-forwarded-proto: https",
        "host: localhost | x-real-ip: 127.0.0.1",
        "host: localhost | via: 1.1 proxy",
    ] {
        assert!(!is_here(lines), "{lines}");
    }
}

#[test]
fn names_and_origins_are_read_strictly() {
    for (text, origin) in [
        ("https://shop.example", "https://shop.example"),
        (" HTTPS://Shop.example/ ", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("https://españa.example", "https://xn--espaa-rta.example"),
        ("http://[::1]:80", "http://[::1]"),
    ] {
        assert_eq!(text.parse::<Origin>().unwrap().to_string(), origin, "{text}");
    }
    for bad in
        ["*", "null", "", "shop.example", "https://", "https://shop.example/a", "https://a b", "ftp://x", "https://u@x"]
    {
        assert!(bad.parse::<Origin>().is_err(), "{bad}");
    }
    for (text, name) in [
        ("shop.example", "shop.example"),
        ("SHOP.", "shop"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("tienda.españa.example", "tienda.xn--espaa-rta.example"),
    ] {
        assert_eq!(text.parse::<HostName>().unwrap().0, name, "{text}");
    }
    for bad in
        ["", "https://shop.example", "shop.example:80", "[::1]:80", "*", "*.shop.example", "a/b", "u@x", "a b", "a?b"]
    {
        assert!(bad.parse::<HostName>().is_err(), "{bad}");
    }
}
