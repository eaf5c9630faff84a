//! Passkeys of accounts: added by who is signed in, and signing in by themselves.
//!
//! **Invariants**
//! - A passkey stands for its account only: it is looked up by the handle that its authenticator sends, and then among that
//!   account's own.
//! - The counter, the time of use and the challenge that was answered change in one compare-and-set, on the document that
//!   the signature was checked with. A passkey that is removed at that moment opens nothing.

use serde_json::Value;

use super::challenges::Purpose;
use super::webauthn::{self, Answer, Made, Refusal, RelyingParty};
use super::{Auth, AuthError, Door, SignedIn};
use crate::catalogue::{Account, MAX_PASSKEYS, Passkey, Passkeys, Refused};
use crate::domain::checked_text;
use crate::domain::key::fold_key;
use crate::domain::rule::Rule;

/// Longest name of a passkey, in characters.
const MAX_NAME_CHARS: usize = 80;

fn is_known() -> Refused {
    Refused::conflict(Rule::PasskeyKnown, "this passkey is one already", "use it, or remove it first")
}

fn unknown() -> Refused {
    Refused::unknown("unknown_passkey", "there is no such passkey")
}

fn no_account() -> Refused {
    Refused::unknown("unknown_account", "there is no such account")
}

/// The id of a passkey on the API: short enough for a path, whatever its authenticator chose.
pub(crate) fn id_of(passkey: &Passkey) -> String {
    super::secrets::hash(&passkey.id)
}

impl Auth {
    /// What a page asks the browser for, to add a passkey to the account of a session.
    ///
    /// # Errors
    /// When the account has as many as it may, or is gone.
    pub async fn new_passkey(
        &self,
        party: &RelyingParty,
        name: &str,
        session: &str,
        now_us: u64,
    ) -> Result<Value, AuthError> {
        let account = self.catalogue.account(name).await?.ok_or_else(no_account)?;
        if account.passkeys().len() >= MAX_PASSKEYS {
            return Err(Refused::full("passkeys", MAX_PASSKEYS).into());
        }
        let challenges = self.challenges().await?;
        let challenge = challenges.make(Purpose::Add(session), now_us);
        Ok(party.creation(&account, &challenges.handle(&account), &challenge)?)
    }

    /// Adds the passkey that a browser made in a session.
    ///
    /// # Errors
    /// When it is not what was asked for, somebody has it already, or the account has as many as it may.
    pub async fn add_passkey(
        &self,
        party: &RelyingParty,
        name: &str,
        session: &str,
        made: &Made,
        now_us: u64,
    ) -> Result<Passkey, AuthError> {
        self.inner.brakes.again(&fold_key(name)).map_err(AuthError::TooMany)?;
        let made = Made { name: checked_text("name", &made.name, MAX_NAME_CHARS)?, ..made.clone() };
        let accounts = self.catalogue.accounts().await?;
        let (_, account) = accounts.iter().find(|(folded, _)| *folded == fold_key(name)).ok_or_else(no_account)?;
        let challenges = self.challenges().await?;
        let (challenge, handle) = (webauthn::challenge_of(&made.client_data)?, challenges.handle(account));
        let used = challenges.check(&challenge, Purpose::Add(session), now_us)?;
        let passkey = party.made(account, &handle, challenge, &made, now_us)?;
        // §7.1, step 26.
        if accounts.iter().any(|(_, other)| other.passkeys().iter().any(|known| known.id == passkey.id)) {
            return Err(is_known().into());
        }
        let add = |account: &mut Account| {
            let handle = challenges.handle(account);
            let new = || Passkeys { handle, keys: Vec::new(), used: Vec::new() };
            let passkeys = account.passkeys.get_or_insert_with(new);
            passkeys.spend(&used, now_us)?;
            if passkeys.keys.iter().any(|known| known.id == passkey.id) {
                return Err(AuthError::from(is_known()));
            }
            if passkeys.keys.len() >= MAX_PASSKEYS {
                return Err(Refused::full("passkeys", MAX_PASSKEYS).into());
            }
            passkeys.keys.push(passkey.clone());
            Ok(())
        };
        self.catalogue.change_account(name, add).await?;
        Ok(passkey)
    }

    /// Removes a passkey of an account; returns it.
    ///
    /// # Errors
    /// When there is none with this id.
    pub async fn remove_passkey(&self, name: &str, id: &str) -> Result<Passkey, Refused> {
        let remove = |account: &mut Account| {
            let keys = account.passkeys.as_mut().map(|passkeys| &mut passkeys.keys).ok_or_else(unknown)?;
            let at = keys.iter().position(|passkey| id_of(passkey) == id).ok_or_else(unknown)?;
            Ok::<_, Refused>(keys.remove(at))
        };
        Ok(self.catalogue.change_account(name, remove).await?.1)
    }

    /// Removes every passkey of an account; returns how many there were.
    ///
    /// # Errors
    /// When it has none, or there is no such account.
    pub async fn remove_passkeys(&self, name: &str) -> Result<usize, Refused> {
        let remove = |account: &mut Account| {
            let keys = account.passkeys.as_mut().map(|passkeys| std::mem::take(&mut passkeys.keys));
            keys.filter(|keys| !keys.is_empty()).map(|keys| keys.len()).ok_or_else(unknown)
        };
        Ok(self.catalogue.change_account(name, remove).await?.1)
    }

    /// What a page asks the browser for, to sign in with any passkey of this site. Nothing is kept and no name is asked for, so
    /// that anybody may have as many as they like.
    ///
    /// # Errors
    /// The store's.
    pub async fn passkey_request(&self, party: &RelyingParty, now_us: u64) -> Result<Value, AuthError> {
        let challenge = self.challenges().await?.make(Purpose::SignIn, now_us);
        Ok(party.request(&[], &challenge)?)
    }

    /// The account whose passkey gave an answer; `None` when there is none. Comes before any bucket, since buckets are kept by
    /// name: one read of at most a hundred documents, as whoever asks who is signed in causes one.
    ///
    /// # Errors
    /// The store's.
    pub async fn passkey_owner(&self, answer: &Answer) -> Result<Option<Account>, Refused> {
        let Some(handle) = answer.user_handle.as_deref() else { return Ok(None) };
        let accounts = self.catalogue.accounts().await?.into_iter().map(|(_, account)| account);
        Ok(accounts.into_iter().find(|account| account.passkeys.as_ref().is_some_and(|known| known.handle == handle)))
    }

    /// Signs `owner` in by a passkey alone: it is something one has, and verified who one is.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn log_in_with_passkey(
        &self,
        door: Door<'_>,
        party: &RelyingParty,
        owner: Option<&Account>,
        answer: &Answer,
        now_us: u64,
    ) -> Result<SignedIn, AuthError> {
        // Strangers whom no account knows share the buckets of the empty name.
        let folded = owner.map(|account| fold_key(&account.name)).unwrap_or_default();
        let device = self.known_device(door, &folded).await?;
        self.inner.brakes.attempt(door.client, device, &folded).map_err(AuthError::TooMany)?;
        let owner = owner.ok_or(Refusal::Unknown)?;
        let account = self.use_passkey(party, &owner.name, Purpose::SignIn, answer, now_us).await?;
        self.begin_session(&account, door.device, now_us).await
    }

    /// What a page asks the browser for, to confirm a session by a passkey of its account.
    ///
    /// # Errors
    /// When the account has none.
    pub async fn confirm_request(
        &self,
        party: &RelyingParty,
        name: &str,
        session: &str,
        now_us: u64,
    ) -> Result<Value, AuthError> {
        let account = self.catalogue.account(name).await?.ok_or_else(no_account)?;
        // An empty list would mean any passkey of the site.
        if account.passkeys().is_empty() {
            return Err(unknown().into());
        }
        let challenge = self.challenges().await?.make(Purpose::Confirm(session), now_us);
        Ok(party.request(account.passkeys(), &challenge)?)
    }

    /// As [`Auth::confirm`], by a passkey.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn confirm_with_passkey(
        &self,
        party: &RelyingParty,
        name: &str,
        session: &str,
        answer: &Answer,
        now_us: u64,
    ) -> Result<(), AuthError> {
        self.inner.brakes.again(&fold_key(name)).map_err(AuthError::TooMany)?;
        self.use_passkey(party, name, Purpose::Confirm(session), answer, now_us).await?;
        Ok(self.catalogue.confirm_session(session, now_us).await?)
    }

    /// Checks an answer and uses up what it was given for; returns the account as it is then.
    async fn use_passkey(
        &self,
        party: &RelyingParty,
        name: &str,
        purpose: Purpose<'_>,
        answer: &Answer,
        now_us: u64,
    ) -> Result<Account, AuthError> {
        let challenge = webauthn::challenge_of(&answer.client_data)?;
        let used = self.challenges().await?.check(&challenge, purpose, now_us)?;
        let accept = |account: &mut Account| {
            let passkeys = account.passkeys.as_mut().ok_or(Refusal::Unknown)?;
            // §7.2, step 6: whoever signs in is known by the handle, which is then not optional; whoever is signed in may
            // have a passkey that sends none.
            let is_owner = match answer.user_handle.as_deref() {
                Some(handle) => handle == passkeys.handle,
                None => purpose != Purpose::SignIn,
            };
            if !is_owner {
                return Err(Refusal::Account);
            }
            // Before the counter, which the copy of an answer would not have moved: it is no copy of the passkey.
            passkeys.spend(&used, now_us)?;
            let passkey = passkeys.keys.iter_mut().find(|passkey| passkey.id == answer.credential_id);
            party.answered(passkey.ok_or(Refusal::Unknown)?, challenge.clone(), answer, now_us)
        };
        let (account, ()) = self.catalogue.change_account(name, |account| Ok::<_, AuthError>(accept(account)?)).await?;
        Ok(account)
    }
}
