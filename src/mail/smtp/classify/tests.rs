//! What real servers say. The sources are public: documentation, source code, and mails that came back.

use super::{Step::*, *};

/// Whom or what the reply is about, in a word.
fn verdict(step: Step, text: &str) -> &'static str {
    let (_, reply) = super::super::reply::Reader::default().read(format!("{text}\r\n").as_bytes()).unwrap();
    match refusal(step, &reply.unwrap(), &"ana@example.org".parse().unwrap(), false) {
        Outcome::Sent(_) => "sent",
        Outcome::Transient(Scope::Mail, _) => "later",
        Outcome::Transient(Scope::Domain, _) => "later, domain",
        Outcome::Transient(Scope::Relay, _) => "later, relay",
        Outcome::Busy(_) => "busy",
        Outcome::Unreachable(_) => "unreachable",
        Outcome::Denied(_) => "login",
        Outcome::Permanent(_) => "never",
        Outcome::Ambiguous(_) => "ambiguous",
        Outcome::Refused(Refusal { about, .. }) => match about {
            About::All => "all",
            About::Us => "us",
            About::Mailbox => "mailbox",
            About::Unclear => "unclear",
        },
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn what_named_servers_say_is_booked_on_whom_it_is_about() {
    const GMAIL: &str = "support.google.com/a/answer/3726730";
    const MICROSOFT: &str = "learn.microsoft.com, NDR codes of Exchange Online";
    const SES: &str = "docs.aws.amazon.com/ses, SMTP response codes";
    const POSTFIX: &str = "Postfix smtpd_check.c";
    const EXIM: &str = "Exim's default configuration and ACLs";
    const CPANEL: &str = "cPanel's Exim ACLs, seen in the field";
    const YAHOO: &str = "senders.yahooinc.com/smtp-error-codes";
    const CODES: &str = "smtp.codes/550";
    const FIELD: &str = "sitepackage.de, replies seen in the field";
    const IONOS: &str = "ionos.es/ayuda, SMTP error codes";
    for (server, step, text, expected, source) in [
        // broken over lines
        ("any", Rcpt, "550-5.7.1 relaying\r\n550 5.7.1 denied", "us", "RFC 2034"),
        // Gmail
        (
            "Gmail",
            Rcpt,
            "550-5.1.1 The email account that you tried to reach does not exist. Please try\r\n550-5.1.1 double-checking the recipient's email address for typos or\r\n550 5.1.1 unnecessary spaces. https://support.google.com/mail/?p=NoSuchUser a1b2c3d4 - gsmtp",
            "mailbox",
            GMAIL,
        ),
        (
            "Gmail",
            Rcpt,
            "550 5.2.1 The email account that you tried to reach is disabled. a1b2 - gsmtp",
            "mailbox",
            GMAIL,
        ),
        (
            "Gmail",
            Rcpt,
            "550 5.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages from being delivered.",
            "unclear",
            GMAIL,
        ),
        (
            "Gmail",
            Rcpt,
            "450 4.2.1 The user you are trying to contact is receiving email too quickly.",
            "later, domain",
            GMAIL,
        ),
        ("Gmail", Rcpt, "452 4.2.2 The recipient's inbox is out of storage space.", "later", GMAIL),
        ("Gmail", Rcpt, "552 5.2.2 The email account that you tried to reach is over quota.", "later", GMAIL),
        ("Gmail", Rcpt, "553 5.1.2 We weren't able to find the recipient domain.", "unclear", GMAIL),
        ("Gmail", End, "550 5.4.5 Daily user sending limit exceeded. a1b2 - gsmtp", "us", GMAIL),
        (
            "Gmail",
            Rcpt,
            "550-5.7.1 Invalid credentials for relay [192.0.2.1]. The IP address you've\r\n550 5.7.1 registered does not match the domain of the account. - gsmtp",
            "us",
            GMAIL,
        ),
        (
            "Gmail",
            Mail,
            "550-5.7.0 Mail relay denied [192.0.2.1]. Invalid credentials for relay\r\n550 5.7.0 for one of the domains in: shop.example. - gsmtp",
            "all",
            GMAIL,
        ),
        (
            "Gmail",
            Mail,
            "530 5.7.0 Authentication Required. https://support.google.com/mail/?p=WantAuthError - gsmtp",
            "all",
            GMAIL,
        ),
        ("Gmail", Mail, "530 5.7.0 Must issue a STARTTLS command first. - gsmtp", "all", GMAIL),
        ("Gmail", Mail, "535 5.7.8 Username and Password not accepted. - gsmtp", "login", GMAIL),
        (
            "Gmail",
            End,
            "550-5.7.26 Unauthenticated email from shop.example is not accepted due to\r\n550 5.7.26 domain's DMARC policy. - gsmtp",
            "us",
            GMAIL,
        ),
        (
            "Gmail",
            End,
            "550-5.7.26 This mail has been blocked because the sender is unauthenticated.\r\n550 5.7.26 Gmail requires all senders to authenticate with either SPF or DKIM.",
            "us",
            GMAIL,
        ),
        (
            "Gmail",
            End,
            "550-5.7.1 Our system has detected that this message is likely unsolicited mail.\r\n550 5.7.1 To reduce the amount of spam, this message has been blocked. - gsmtp",
            "unclear",
            GMAIL,
        ),
        (
            "Gmail",
            End,
            "552 5.7.0 This message was blocked because its content presents a potential security issue.",
            "unclear",
            GMAIL,
        ),
        ("Gmail", End, "552 5.3.4 Your message exceeded Google's message size limits.", "unclear", GMAIL),
        ("Gmail", Rcpt, "421 4.7.0 Try again later, closing connection. - gsmtp", "busy", GMAIL),
        // Exchange Online and Outlook.com
        (
            "Exchange Online",
            Rcpt,
            "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient ana@example.org not found by SMTP address lookup",
            "mailbox",
            MICROSOFT,
        ),
        ("Exchange Online", Rcpt, "550 5.1.1 RESOLVER.ADR.RecipNotFound; not found", "mailbox", MICROSOFT),
        (
            "Exchange Online",
            Rcpt,
            "550 5.4.1 Recipient address rejected: Access denied. [AM5EUR03FT003.eop-EUR03.prod.protection.outlook.com]",
            "unclear",
            "spamresource.com, Microsoft: Multiple types of invalid user bounces",
        ),
        (
            "Exchange Online",
            End,
            "550 5.7.60 SMTP; Client does not have permissions to send as this sender [BY2PR1001MB1094.namprd10.prod.outlook.com]",
            "us",
            "pastebin.com/wtU9XT6T",
        ),
        (
            "Exchange Online",
            End,
            "554 5.2.252 SendAsDenied; tienda@shop.example not allowed to send as pedidos@shop.example",
            "us",
            MICROSOFT,
        ),
        (
            "Exchange Online",
            Mail,
            "530 5.7.57 Client not authenticated to send mail. [BN1P110CA0052.NAMP110.PROD.OUTLOOK.COM]",
            "all",
            "pastebin.com/SuB30vi5",
        ),
        (
            "Exchange Online",
            Rcpt,
            "550 5.7.64 TenantAttribution; Relay Access Denied [DB5EUR01FT012.eop-EUR01.prod.protection.outlook.com]",
            "us",
            "MailBounceDetector#11",
        ),
        (
            "Exchange Online",
            End,
            "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP.",
            "us",
            MICROSOFT,
        ),
        (
            "Exchange Online",
            End,
            "550 5.7.705 Service unavailable. Access denied, tenant has exceeded threshold.",
            "us",
            MICROSOFT,
        ),
        ("Exchange Online", Rcpt, "550 5.1.8 Access denied, bad outbound sender", "us", MICROSOFT),
        (
            "Exchange Online",
            Rcpt,
            "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
            "us",
            MICROSOFT,
        ),
        (
            "Exchange Online",
            Mail,
            "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.",
            "login",
            MICROSOFT,
        ),
        ("Exchange Online", End, "432 4.3.2 Concurrent connections limit exceeded.", "later", MICROSOFT),
        ("Exchange", Rcpt, "550 5.7.1 Unable to relay", "us", MICROSOFT),
        (
            "Outlook.com",
            Rcpt,
            "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).",
            "unclear",
            "spamresource.com, Microsoft: Multiple types of invalid user bounces",
        ),
        (
            "Outlook.com",
            Mail,
            "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3150).",
            "all",
            "postmaster.live.com",
        ),
        // Amazon SES
        (
            "SES",
            End,
            "554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: pedidos@shop.example",
            "us",
            SES,
        ),
        (
            "SES",
            End,
            "554 Message rejected: Sending suspended for this account. For more information, please check the inbox of the email address associated with your AWS account.",
            "us",
            SES,
        ),
        (
            "SES",
            End,
            "554 Access denied: User `arn:aws:iam::123456789012:user/smtp' is not authorized to perform `ses:SendRawEmail' on resource",
            "us",
            SES,
        ),
        ("SES", End, "454 Throttling failure: Maximum sending rate exceeded.", "later", SES),
        ("SES", Mail, "530 Authentication required", "all", SES),
        ("SES", Mail, "535 Authentication Credentials Invalid", "login", SES),
        // Postfix
        ("Postfix", Rcpt, "554 5.7.1 <ana@example.org>: Relay access denied", "us", POSTFIX),
        ("Postfix", Rcpt, "454 4.7.1 <ana@example.org>: Relay access denied", "later", POSTFIX),
        (
            "Postfix",
            Rcpt,
            "550 5.1.1 <ana@example.org>: Recipient address rejected: User unknown in virtual mailbox table",
            "mailbox",
            POSTFIX,
        ),
        (
            "Postfix",
            Rcpt,
            "550 5.1.1 <ana@example.org>: Recipient address rejected: unverified address: host mx.example.org said: 550",
            "unclear",
            POSTFIX,
        ),
        (
            "Postfix",
            Rcpt,
            "553 5.7.1 <pedidos@shop.example>: Sender address rejected: not owned by user tienda@shop.example",
            "us",
            POSTFIX,
        ),
        ("Postfix", Rcpt, "550 5.1.8 <pedidos@shop.example>: Sender address rejected: Domain not found", "us", POSTFIX),
        (
            "Postfix",
            Rcpt,
            "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
            "us",
            POSTFIX,
        ),
        ("Postfix", Rcpt, "504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname", "us", POSTFIX),
        (
            "Postfix",
            Rcpt,
            "550 5.1.2 <ana@example.org>: Recipient address rejected: Domain not found",
            "unclear",
            POSTFIX,
        ),
        (
            "Postfix",
            Rcpt,
            "556 5.1.10 <ana@example.org>: Recipient address rejected: Domain example.org does not accept mail (nullMX)",
            "mailbox",
            POSTFIX,
        ),
        (
            "Postfix",
            Rcpt,
            "554 5.7.1 <ana@example.org>: Recipient address rejected: Quota exceeded",
            "unclear",
            "pastebin.com/HJQ7Mvep, a policy service that counts the sender's mails",
        ),
        ("Postfix", Data, "554 5.5.1 Error: no valid recipients", "unclear", "Postfix smtpd.c"),
        ("Postfix", End, "552 5.3.4 Error: message file too big", "unclear", "Postfix smtpd.c"),
        // Exim
        ("Exim", Rcpt, "550 relay not permitted", "us", EXIM),
        (
            "Exim",
            Rcpt,
            "550-Verification failed for <pedidos@shop.example>\r\n550-this host takes no mail from that mailbox\r\n550 Sender verify failed",
            "us",
            EXIM,
        ),
        ("Exim", Rcpt, "550 Unrouteable address", "unclear", EXIM),
        ("Exim", Rcpt, "550 No Such User Here", "unclear", CPANEL),
        (
            "Exim",
            Rcpt,
            "550-Please turn on SMTP Authentication in your mail client.\r\n550-shop.example [192.0.2.1] is not permitted to relay through this\r\n550 server without authentication.",
            "us",
            CPANEL,
        ),
        ("Exim", End, "550 Message rejected: this message scored 9.1 spam points.", "unclear", EXIM),
        ("Exim", Rcpt, "550 \"JunkMail rejected - [192.0.2.1] is in an RBL\"", "unclear", CPANEL),
        // Yahoo
        (
            "Yahoo",
            End,
            "554 delivery error: dd This user doesn't have a yahoo.com account (ana@example.org) [0] - mta1.mail.bf1.yahoo.com",
            "unclear",
            YAHOO,
        ),
        (
            "Yahoo",
            End,
            "550 5.7.9 This mail has been blocked because the sender is unauthenticated. Yahoo requires all senders to authenticate with either SPF or DKIM.",
            "us",
            YAHOO,
        ),
        (
            "Yahoo",
            Rcpt,
            "553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.25, because the ip is in Spamhaus's list",
            "us",
            YAHOO,
        ),
        (
            "Yahoo",
            Rcpt,
            "553 5.7.2 [TSS09] All messages from 192.0.2.25 will be permanently deferred; Retrying will NOT succeed.",
            "us",
            YAHOO,
        ),
        ("Yahoo", Rcpt, "550 relaying denied for <ana@example.org>", "us", YAHOO),
        ("Yahoo", End, "554 Message not allowed - [PH01] Email not accepted for policy reasons.", "unclear", YAHOO),
        // providers and gateways
        ("IONOS", Rcpt, "550 Requested action not taken: mailbox unavailable", "unclear", IONOS),
        ("IONOS", End, "554 Transaction failed. Reject due to policy restrictions.", "unclear", IONOS),
        ("IONOS", Mail, "550 Sender address is not allowed.", "all", IONOS),
        (
            "Spanish hosting",
            Rcpt,
            "550 #5.1.0 Address rejected",
            "unclear",
            "eomatica.gal, frequent errors when sending",
        ),
        (
            "Spanish hosting",
            Rcpt,
            "550 Requested action not taken: mailbox unavailable or is not local",
            "unclear",
            "eomatica.gal, frequent errors when sending",
        ),
        ("web.de", Rcpt, "550 Benutzer nicht bekannt/User unknown", "unclear", FIELD),
        ("GMX", Rcpt, "550 5.2.1 <ana@example.org>... User is inactive", "mailbox", FIELD),
        ("T-Online", Rcpt, "550 5.1.1 user unknown", "mailbox", FIELD),
        (
            "qmail",
            Rcpt,
            "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
            "unclear",
            "qmail-smtpd.c",
        ),
        ("qmail", End, "554 Sorry, no mailbox here by that name. (#5.1.1)", "mailbox", FIELD),
        ("AT&T", Rcpt, "550 5.2.1 <ANA@EXAMPLE.ORG>... Addressee unknown, relay=[192.0.2.1]", "mailbox", CODES),
        ("Barracuda", Rcpt, "550 No such user (ana@example.org)", "unclear", CODES),
        (
            "Proofpoint Essentials",
            Rcpt,
            "550 5.7.1 <ana@example.org>: Recipient address rejected: User email address is marked as invalid.",
            "unclear",
            "spambrella.com, delivery error codes",
        ),
        ("Proofpoint Essentials", Rcpt, "550 5.7.1 Relay Access denied", "us", "spambrella.com, delivery error codes"),
        ("Proofpoint", Rcpt, "550 5.1.1 User Unknown", "mailbox", CODES),
        (
            "Forpsi",
            End,
            "550 5.1.0 cNkj1y0022zrrQM01NkjaD policy violation, see https://support.forpsi.com/kb/a4081",
            "unclear",
            "support.konto.pl/kb/a2164",
        ),
        ("Forpsi", Rcpt, "550 5.1.0 <pedidos@shop.example> sender rejected", "us", "support.konto.pl/kb/a2164"),
        (
            "a gateway",
            Rcpt,
            "550 5.1.1 Relay not permitted",
            "us",
            "a filter's source, with the code of an unknown mailbox",
        ),
        // other ways to say no
        ("any", Rcpt, "503 5.5.1 MAIL first", "later, relay", "RFC 5321"),
        ("any", Data, "250 ok", "later, relay", "RFC 5321"),
        ("any", Mail, "421 4.3.2 closing", "unreachable", "RFC 5321"),
        ("any", Mail, "452 4.3.1 full", "later, relay", "RFC 5321"),
        ("any", End, "421 x", "busy", "RFC 5321"),
        ("any", End, "451 x", "later, domain", "RFC 5321"),
        ("any", Rcpt, "550 no", "unclear", "RFC 5321"),
        ("any", Rcpt, "551 User not local; please try <ana@example.net>", "unclear", "RFC 5321"),
        ("any", Rcpt, "551 5.1.6 moved", "mailbox", "RFC 3463"),
        ("any", Rcpt, "521 5.3.2 host does not take mail", "us", "RFC 7504"),
    ] {
        assert_eq!(verdict(step, text), expected, "{server} ({source}): {text}");
    }
}

#[test]
fn the_same_words_to_others_are_the_same() {
    let said = |text: &str, to: &str| {
        let (_, reply) = super::super::reply::Reader::default().read(format!("{text}\r\n").as_bytes()).unwrap();
        words(&reply.unwrap(), &to.parse().unwrap())
    };
    for (first, second) in [
        ("554 5.7.1 <ana@example.org>: Relay access denied", "554 5.7.1 <eva@example.net>: Relay access denied"),
        ("550 No such user ana [id 1234]", "550 No such user eva [id 98]"),
        (
            "550-5.1.1 gone https://x.example/?p=a 12ab-gsmtp\r\n550 5.1.1 now",
            "550-5.1.1 gone https://x.example/?p=b 34cd-gsmtp\r\n550 5.1.1 now",
        ),
    ] {
        assert_eq!(said(first, "ana@example.org"), said(second, "eva@example.net"));
    }
    assert_eq!(
        said("554 5.7.1 <ana@example.org>: Relay access denied", "ana@example.org"),
        "554 5.7.1 relay access denied"
    );
    assert_ne!(said("550 no", "ana@example.org"), said("554 no", "ana@example.org"));
}

#[test]
fn that_a_server_minds_smtputf8_is_not_the_senders_fault() {
    let reply = Reply { code: 553, status: Some((5, 6, 7)), text: "5.6.7 no".into() };
    let outcome = refusal(Mail, &reply, &"josé@example.org".parse().unwrap(), true);
    assert!(matches!(outcome, Outcome::Refused(Refusal { about: About::Unclear, .. })), "{outcome:?}");
}
