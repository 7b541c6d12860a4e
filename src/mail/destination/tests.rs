use super::*;

fn smtp(url: &str) -> SmtpServer {
    match url.parse() {
        Ok(Destination::Smtp(server)) => server,
        other => panic!("{url}: {other:?}"),
    }
}

#[test]
fn reads_what_it_prints() {
    for url in [
        "maildir:/var/mail/encargo",
        "maildir:a b",
        "smtp://localhost:2525",
        "smtp://[::1]:25",
        "smtps://relay.example:465",
        "none:",
    ] {
        assert_eq!(url.parse::<Destination>().unwrap().to_string(), url);
    }
    let server = smtp("smtp://relay.example/?tls=none&connections=9&mails=7&rate=14&ca=/etc/my%20ca.pem");
    assert_eq!((&*server.host, server.port, server.tls), ("relay.example", 25, Tls::None));
    assert_eq!((server.connections_max, server.mails_per_connection_max), (9, 7));
    assert_eq!((server.rate_max.unwrap().get(), server.ca.unwrap()), (14, PathBuf::from("/etc/my ca.pem")));
}

#[test]
fn tls_is_required_unless_it_cannot_matter_or_somebody_says_so() {
    for (url, tls, port) in [
        ("smtp://localhost", Tls::None, 25),
        ("smtp://127.0.0.2", Tls::None, 25),
        ("smtp://[::1]", Tls::None, 25),
        ("smtp://localhost?tls=required", Tls::StartTls, 25),
        ("smtp://relay.example", Tls::StartTls, 25),
        ("smtp://128.0.0.1", Tls::StartTls, 25),
        ("smtp://relay.example?tls=none", Tls::None, 25),
        ("smtp://u:p@relay.example", Tls::StartTls, 587),
        ("smtp://u:p@localhost", Tls::StartTls, 587),
        ("smtps://relay.example", Tls::Implicit, 465),
        ("smtps://localhost:4650", Tls::Implicit, 4650),
    ] {
        let server = smtp(url);
        assert_eq!((server.tls, server.port), (tls, port), "{url}");
    }
}

#[test]
fn passwords_come_from_the_url_a_file_or_the_configuration() {
    let login = smtp("smtps://ana%40shop.example:p%3Aa%2Fs%40s%25@relay.example").login.unwrap();
    assert_eq!(login.user, "ana@shop.example");
    assert!(login.password == Password::Text("p:a/s@s%".into()));
    let login = smtp("smtps://ana@relay.example?password_file=/run/secrets/mail").login.unwrap();
    assert!(login.password == Password::File("/run/secrets/mail".into()));

    let complete = |url: &str, password| url.parse::<Destination>().unwrap().complete(password, None);
    let text = |text: &str| Some(Password::Text(text.into()));
    let Ok(Destination::Smtp(server)) = complete("smtps://ana@relay.example", text("geheim")) else { panic!() };
    assert!(server.login.as_ref().unwrap().password == Password::Text("geheim".into()));
    assert!(!format!("{server:?} {server}").contains("geheim"));
    assert!(complete("smtps://ana@relay.example", None).unwrap_err().contains("is missing"));
    assert!(complete("smtps://relay.example", text("x")).unwrap_err().contains("needs a user"));
    assert!(complete("none:", text("x")).unwrap_err().contains("without an SMTP server"));
}

#[test]
fn refuses_with_words_that_help() {
    for (url, expected) in [
        ("", "must be maildir:"),
        ("maildir:", "a folder must follow"),
        ("mailto:ana", "must be maildir:"),
        ("none:x", "must be maildir:"),
        ("smtp:localhost", "must look like"),
        ("smtp://", "must name a host"),
        ("smtp://localhost:x", "\"x\" is no port"),
        ("smtp://localhost:0", "\"0\" is no port"),
        ("smtp://localhost:25?connections=0", "number from 1 to 100"),
        ("smtp://localhost:25?conections=1", "unknown option \"conections\""),
        ("smtp://localhost:25?tls=maybe", "tls must be none or required"),
        ("smtp://u:geheim@relay.example?tls=none", "under TLS only"),
        ("smtps://relay.example?tls=none", "leave out tls=none"),
        ("smtps://relay.example?password_file=x", "needs a user"),
        ("smtps://u:geheim@relay.example?password_file=x", "keep one of them"),
        ("smtps://:geheim@relay.example", "a user must come before"),
        ("smtps://u:geheim%00@relay.example", "control character"),
        ("smtps://u:geheim%ff@relay.example", "not UTF-8"),
        ("smtps://u@relay.example?pasword=geheim", "unknown option \"pasword\""),
    ] {
        let error = url.parse::<Destination>().unwrap_err().to_string();
        assert!(error.contains(expected), "{url}: {error}");
        assert!(!error.contains("geheim"), "{url}: {error}");
    }
}
