//! What a server offers.

use super::reply::Reply;

/// What a server says it can do (RFC 5321 §4.1.1.1). What it said before TLS counts for nothing after it.
#[expect(clippy::struct_excessive_bools, reason = "each is a keyword of its own that is there or not")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Capabilities {
    pub(super) pipelining: bool,
    /// It takes a mail by its length (RFC 3030).
    pub(super) chunking: bool,
    pub(super) smtputf8: bool,
    pub(super) starttls: bool,
    /// It has AUTH, with whatever mechanisms.
    pub(super) auth: bool,
    pub(super) auth_plain: bool,
    pub(super) auth_login: bool,
    pub(super) auth_xoauth2: bool,
    pub(super) auth_oauthbearer: bool,
}

impl Capabilities {
    pub(super) fn of(ehlo: &Reply) -> Self {
        let mut caps = Self::default();
        // the first line is the server's name
        for line in ehlo.text.lines().skip(1) {
            let mut words = line.split([' ', '=']).map(str::to_ascii_uppercase);
            match words.next().as_deref() {
                Some("PIPELINING") => caps.pipelining = true,
                Some("CHUNKING") => caps.chunking = true,
                Some("SMTPUTF8") => caps.smtputf8 = true,
                Some("STARTTLS") => caps.starttls = true,
                Some("AUTH") => {
                    caps.auth = true;
                    for mechanism in words {
                        caps.auth_plain |= mechanism == "PLAIN";
                        caps.auth_login |= mechanism == "LOGIN";
                        caps.auth_xoauth2 |= mechanism == "XOAUTH2";
                        caps.auth_oauthbearer |= mechanism == "OAUTHBEARER";
                    }
                }
                _ => {}
            }
        }
        caps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_however_they_are_written() {
        let text = "relay.example at your service\nPipelining\nauth=LOGIN\nAUTH PLAIN CRAM-MD5 XOAUTH2 OAuthBearer\nSIZE 1000\nSMTPUTF8\nChunking";
        let caps = Capabilities::of(&Reply { code: 250, status: None, text: text.into() });
        let expected = Capabilities {
            pipelining: true,
            chunking: true,
            smtputf8: true,
            starttls: false,
            auth: true,
            auth_plain: true,
            auth_login: true,
            auth_xoauth2: true,
            auth_oauthbearer: true,
        };
        assert_eq!(caps, expected);
        let only_a_name = Reply { code: 250, status: None, text: "PIPELINING".into() };
        assert_eq!(Capabilities::of(&only_a_name), Capabilities::default());
    }
}
