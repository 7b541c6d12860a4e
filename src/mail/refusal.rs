/// A reply for good (5yz) to a mail, and whom it is about as far as its words tell. Whether it stands is decided where
/// it is known what becomes of other mails: a relay that is set up wrongly says such things to everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Whom it is about.
    pub about: About,
    /// What is the same whoever the mail is for: code and words, without addresses, names and numbers.
    pub words: String,
    /// For people.
    pub text: String,
}

/// Whom a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum About {
    /// All our mails: it was said before the recipient was, or wants a login.
    All,
    /// By its words us: our right to relay, our sender, our quota, our name in a list.
    Us,
    /// By its code this mailbox and no other.
    Mailbox,
    /// Anything: the mail, the mailbox, or us.
    Unclear,
}
