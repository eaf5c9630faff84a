//! Every rule that something can be refused by, in one list: a word for programs, and the numbers that belong to it.
//!
//! The English reasons beside it are for people who write programs. Pages say it in their own language: the messages
//! `rule.<word>`, with the same parameters, are in `overlay/messages/{fr,en}/problems.json`, and `docs/problems.md` lists
//! them.

use serde_json::{Map, Value};

use super::decimal::Decimal;

/// Defines the rules with the parameters of each, and the table of them.
macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $rule:ident = $word:literal $({ $($parameter:ident: $kind:ty),+ })?;)+) => {
        /// A rule that something sent, or a request at this moment, does not keep.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "a parameter is named for what it is")]
        pub enum Rule {
            $($(#[doc = $doc])+ $rule $({ $($parameter: $kind),+ })?,)+
        }

        impl Rule {
            /// The word of each rule, and the names of its parameters.
            pub const ALL: &'static [(&'static str, &'static [&'static str])] =
                &[$(($word, &[$($(stringify!($parameter)),+)?])),+];

            /// The stable word.
            pub const fn word(&self) -> &'static str {
                match self {
                    $(Self::$rule $({ $($parameter: _),+ })? => $word,)+
                }
            }

            /// Its parameters.
            pub fn params(&self) -> Map<String, Value> {
                let mut params = Map::new();
                match self {
                    $(Self::$rule $({ $($parameter),+ })? => {
                        $($(params.insert(stringify!($parameter).to_owned(), number($parameter));)+)?
                    })+
                }
                params
            }
        }
    };
}

impl Rule {
    /// A number has to be between two others, both allowed.
    pub fn range(min: u32, max: u32) -> Self {
        Self::OutOfRange { min: Decimal::from(min), max: Decimal::from(max) }
    }
}

fn number<T: serde::Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

rules! {
    /// It is missing or empty.
    Required = "required";
    /// A text has too few characters.
    TooShort = "too_short" { min: usize };
    /// A text has too many characters.
    TooLong = "too_long" { max: usize };
    /// A text has invisible characters (control characters, several lines, changes of direction), or nothing visible.
    ControlCharacter = "control_character";
    /// A number is too small or too large.
    OutOfRange = "out_of_range" { min: Decimal, max: Decimal };
    /// A score is between two steps of its critere.
    OffStep = "off_step" { min: Decimal, max: Decimal, step: Decimal };
    /// A number has to be greater.
    NotAbove = "not_above" { min: Decimal };
    /// A step does not divide the range from `min` to `max`.
    UnevenStep = "uneven_step";
    /// A scale has too many steps.
    TooManySteps = "too_many_steps" { max: u8 };
    /// A number has too many decimals, or is enormous.
    TooPrecise = "too_precise";
    /// A list has too few or too many entries.
    WrongCount = "wrong_count" { min: usize, max: usize };
    /// A request has too many fields.
    TooManyFields = "too_many_fields" { max: usize };
    /// It is there twice.
    Duplicate = "duplicate";
    /// Something else has this name already.
    Taken = "taken";
    /// The name means something else here.
    Reserved = "reserved";
    /// It is no name for URLs.
    NotASlug = "not_a_slug" { max: usize };
    /// It is no key of a critere.
    NotAKey = "not_a_key" { max: usize };
    /// It is no name of an account.
    NotAName = "not_a_name";
    /// It is no number.
    NotANumber = "not_a_number";
    /// It is no text.
    NotAText = "not_a_text";
    /// It is neither true nor false.
    NotABoolean = "not_a_boolean";
    /// It is no id.
    NotAnId = "not_an_id";
    /// It is no object.
    NotAnObject = "not_an_object";
    /// It is of another type, or not among the words that are allowed.
    WrongValue = "wrong_value";
    /// There is no such field.
    UnknownField = "unknown_field";
    /// The live has no such critere.
    UnknownCritere = "unknown_critere";
    /// The jeu is not in the programme of the live.
    NotInProgramme = "not_in_programme";
    /// A note has no score at all.
    NoScore = "no_score";
    /// The live is not the one that the channel shows.
    WrongLive = "wrong_live";
    /// A live and a channel are named that do not belong together.
    LiveOfOtherChannel = "live_of_other_channel";
    /// A version lies too far ahead of the server's clock. `next_v` is one that would be taken.
    VersionAhead = "version_ahead" { max_s: u64, next_v: u64 };
    /// The viewer token is not one of this server.
    InvalidViewer = "invalid_viewer";
    /// Only viewers may.
    ViewersOnly = "viewers_only";
    /// Only before the first note.
    HelloTooLate = "hello_too_late";
    /// It is nested too deeply.
    TooDeep = "too_deep" { max: usize };
    /// It cannot be read: no JSON, no UTF-8, cut off.
    Unreadable = "unreadable";
    /// The query of the address is wrong.
    WrongQuery = "wrong_query";
    /// There are as many as there can be.
    Full = "full" { max: usize };
    /// Somebody else changed it at the same moment.
    Raced = "raced";
    /// The programme is in another order, or of other jeux, than the caller thinks.
    ProgrammeChanged = "programme_changed";
    /// Another jeu is current than the one to go on from.
    MovedOn = "moved_on";
    /// All of it together takes too many bytes.
    DocumentTooLarge = "document_too_large" { max: usize };
    /// It is the only admin account.
    LastAdmin = "last_admin";
    /// This instance has its first account already.
    AlreadySetUp = "already_set_up";
    /// A live of the channel is on air.
    LiveOnAir = "live_on_air";
    /// The live is over.
    LiveOver = "live_over";
    /// The live is not on air.
    LiveNotOnAir = "live_not_on_air";
    /// The live was on air, and its results belong to it.
    LiveWasOnAir = "live_was_on_air";
    /// The live is no draft any more.
    NotADraft = "not_a_draft";
    /// The channel was deleted.
    ChannelGone = "channel_gone";
    /// A jeu that was opened stays in the programme.
    JeuWasOpened = "jeu_was_opened";
    /// No jeu of the programme is left.
    NoJeuLeft = "no_jeu_left";
    /// The jeu has not been opened.
    JeuPending = "jeu_pending";
    /// The jeu is open.
    JeuOpen = "jeu_open";
    /// The result of the jeu is being made.
    JeuClosing = "jeu_closing";
    /// The jeu is final.
    JeuFinal = "jeu_final";
    /// What is stored of the jeu is damaged.
    JeuUnreadable = "jeu_unreadable";
    /// The live ended too long ago.
    TooLateToUndo = "too_late_to_undo" { max_s: u64 };
    /// Name, password or link is wrong.
    WrongCredentials = "wrong_credentials";
    /// The bearer token is not valid.
    InvalidToken = "invalid_token";
    /// The overlay key is not valid.
    InvalidOverlayKey = "invalid_overlay_key";
    /// Nobody is signed in.
    SignedOut = "signed_out";
    /// There is no account yet.
    SetupRequired = "setup_required";
    /// Only an admin may.
    AdminOnly = "admin_only";
    /// The token was not made for this.
    ScopeMissing = "scope_missing";
    /// Only a person who is signed in may, no token.
    PersonOnly = "person_only";
    /// The password has to be given again first.
    ConfirmRequired = "confirm_required" { max_s: u64 };
    /// It is not the password of the account.
    WrongPassword = "wrong_password";
    /// The password is too easy to guess.
    WeakPassword = "weak_password";
    /// The account has a second factor, and its code was not sent.
    CodeRequired = "code_required";
    /// The code is wrong, or was used already.
    WrongCode = "wrong_code";
    /// The account has a second factor already.
    FactorIsOn = "factor_is_on";
    /// The account has no second factor.
    FactorIsOff = "factor_is_off";
    /// The passkey is not accepted.
    PasskeyRefused = "passkey_refused";
    /// The challenge that the passkey answered is over, or was answered already.
    PasskeyLate = "passkey_late";
    /// The signature counter of the passkey did not go on: there may be a copy of it.
    PasskeyCopied = "passkey_copied";
    /// The passkey is one already.
    PasskeyKnown = "passkey_known";
    /// The address in the browser is not one that passkeys are made for.
    PasskeysUnavailable = "passkeys_unavailable";
    /// The CSRF token is missing or wrong.
    Csrf = "csrf";
    /// A page of another site sent it.
    WrongOrigin = "wrong_origin";
    /// The server does not answer under the name in `Host`.
    Misdirected = "misdirected";
    /// Too many requests.
    TooFast = "too_fast" { wait_s: u64 };
    /// The body did not come in time.
    TooSlow = "too_slow";
    /// The body is too long.
    TooLarge = "too_large" { max: usize };
    /// The body is of another content type.
    UnsupportedMediaType = "unsupported_media_type";
    /// The address does not take this method.
    MethodNotAllowed = "method_not_allowed";
    /// Nothing is at this address.
    NotFound = "not_found";
    /// There is no such channel.
    UnknownChannel = "unknown_channel";
    /// There is no such live.
    UnknownLive = "unknown_live";
    /// There is no such jeu.
    UnknownJeu = "unknown_jeu";
    /// There is no such bareme.
    UnknownBareme = "unknown_bareme";
    /// There is no such overlay key.
    UnknownKey = "unknown_key";
    /// There is no such account.
    UnknownAccount = "unknown_account";
    /// There is no such token.
    UnknownToken = "unknown_token";
    /// There is no such passkey.
    UnknownPasskey = "unknown_passkey";
    /// There is no such session.
    UnknownSession = "unknown_session";
    /// No live is on air.
    NoOpenLive = "no_open_live";
    /// Several lives are on air.
    AmbiguousLive = "ambiguous_live";
    /// The jeu takes no more notes.
    Closed = "closed";
    /// The jeu takes no notes yet.
    NotOpen = "not_open";
    /// A newer note is stored.
    Stale = "stale";
    /// It was not stored; the same may be sent again.
    RetryAfter = "retry_after";
    /// Whether it was stored is not known.
    Unknown = "unknown";
    /// The store cannot be reached, or is full.
    Unavailable = "unavailable";
    /// The server failed inside.
    Internal = "internal";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_rule_has_a_word_and_its_numbers() {
        let rule = Rule::OffStep { min: Decimal::whole(1), max: Decimal::whole(5), step: Decimal::thousandths(500) };
        assert_eq!(rule.word(), "off_step");
        assert_eq!(Value::from(rule.params()), serde_json::json!({"min": 1, "max": 5, "step": 0.5}));
        assert!(Rule::Required.params().is_empty());
        let words: BTreeSet<_> = Rule::ALL.iter().map(|(word, _)| word).collect();
        assert_eq!(words.len(), Rule::ALL.len(), "no word twice");
    }
}
