//! Why an exchange is not among the copies.

/// What kept an exchange from being copied as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omission {
    RequestTooLong,
    AnswerTooLong,
    /// All copies of the tap together have reached its limit.
    NoMemory,
    /// As many exchanges as may be copied at once are being copied.
    Crowded,
    /// As many copies as may wait to be drawn were waiting when it was complete.
    Undrawn,
    /// WebSocket and other upgrades: they have no answer that ends.
    Upgrade,
    /// It was sent to another slot in the end.
    Moved,
    /// It got no whole answer of the slot's (it failed, was cut, or the client left), or one before it was whole itself.
    Broken,
    /// It was still under way when the tap was closed.
    Unfinished,
}

impl Omission {
    /// In the order of their declaration.
    pub const ALL: [Omission; 9] = [
        Omission::RequestTooLong,
        Omission::AnswerTooLong,
        Omission::NoMemory,
        Omission::Crowded,
        Omission::Undrawn,
        Omission::Upgrade,
        Omission::Moved,
        Omission::Broken,
        Omission::Unfinished,
    ];

    /// What is said of it.
    pub fn in_words(self) -> &'static str {
        match self {
            Omission::RequestTooLong => "its request is longer than may be copied",
            Omission::AnswerTooLong => "its answer is longer than may be copied",
            Omission::NoMemory => "all copies together had reached their limit",
            Omission::Crowded => "as many others as may be copied at once were being copied",
            Omission::Undrawn => "as many copies as may wait were waiting when it was complete",
            Omission::Upgrade => "it asked for an upgrade, such as to a WebSocket",
            Omission::Moved => "it was sent to the other slot in the end",
            Omission::Broken => "it was not whole: it failed, was cut or answered early, or its client left",
            Omission::Unfinished => "it was still under way at the end",
        }
    }
}
