//! Accounts, API tokens and sessions as documents. What they allow is decided in `auth`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Catalogue, MAX_ACCOUNTS, MAX_TOKENS, Refused, Result};
use crate::domain::key::fold_key;
use crate::domain::rule::Rule;
use crate::domain::{Invalid, checked_text};
use crate::store::{RecordKey, RecordKind, StoreError, Swap};

/// Documents that are read at once.
const PAGE: usize = 500;
/// Longest name of an account, in characters.
const MAX_ACCOUNT_NAME_CHARS: usize = 64;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Admin,
    /// Reads everything and drives lives.
    Moderator,
}

/// What a token may do. Accounts may do what their role says.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Read what admins and moderators see.
    Read,
    /// Drive lives: open, next, close, reopen.
    Drive,
    /// Change channels, jeux, baremes, lives and overlay keys, and export notes.
    Manage,
    /// Accounts, tokens, sessions and the audit log. Never implied: it has to be asked for.
    Accounts,
}

impl Role {
    /// What an account of this role may do.
    pub const fn scopes(self) -> &'static [Scope] {
        match self {
            Self::Admin => &[Scope::Read, Scope::Drive, Scope::Manage, Scope::Accounts],
            Self::Moderator => &[Scope::Read, Scope::Drive],
        }
    }

    /// What a token of this role may do: as an account, but for accounts.
    pub const fn token_scopes(self) -> &'static [Scope] {
        match self {
            Self::Admin => &[Scope::Read, Scope::Drive, Scope::Manage],
            Self::Moderator => self.scopes(),
        }
    }
}

/// The second factor of an account: an authenticator app, and codes for when it is gone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactor {
    /// The secret that the app shares, in base32.
    pub secret: String,
    /// When it was set up, microseconds since 1970.
    pub since_us: u64,
    /// The newest step of 30 s whose code was used.
    pub last_step: u64,
    /// Hashes of the recovery codes that are left.
    pub recovery: Vec<String>,
}

/// A second factor that is being set up.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingFactor {
    /// The secret, in base32.
    pub secret: String,
    /// When it was begun, microseconds since 1970.
    pub at_us: u64,
}

/// A passkey: a WebAuthn credential that signs in by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passkey {
    /// Its credential ID, in base64url.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// The public key as COSE, in base64url.
    pub public_key: String,
    /// Which algorithm the key is for, as COSE numbers them.
    pub algorithm: i32,
    /// The newest signature counter; 0 when its authenticator does not count.
    pub counter: u32,
    /// Whether its authenticator may copy it to the owner's other devices. Never changes.
    pub may_sync: bool,
    /// The relying party ID it was made for: the host of the address that people used.
    pub party: String,
    /// When it was added, microseconds since 1970.
    pub created_at_us: u64,
    /// When it was used last, microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at_us: Option<u64>,
}

/// A challenge that was answered, and opens nothing any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedChallenge {
    /// Its random part, in base64url.
    pub nonce: String,
    /// When it is over anyway, on every server's clock, microseconds since 1970.
    pub until_us: u64,
}

/// The passkeys of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passkeys {
    /// What authenticators call the account, in base64url: random to everybody else.
    pub handle: String,
    /// The passkeys, oldest first.
    pub keys: Vec<Passkey>,
    /// Challenges answered in the last minutes. They outlive the passkeys, so that a removed one is not added again by a
    /// copy of the request that added it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used: Vec<UsedChallenge>,
}

// Neither may reach a log by accident.
impl std::fmt::Debug for SecondFactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecondFactor(…)")
    }
}

impl std::fmt::Debug for PendingFactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PendingFactor(…)")
    }
}

/// An account, stored under its folded name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Name as it was chosen.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// argon2id in PHC form.
    pub password_hash: String,
    /// When it was made, microseconds since 1970.
    pub created_at_us: u64,
    /// Its second factor, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_factor: Option<SecondFactor>,
    /// The one that is being set up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_factor: Option<PendingFactor>,
    /// Its passkeys, if it ever had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passkeys: Option<Passkeys>,
}

impl Account {
    /// Its passkeys.
    pub fn passkeys(&self) -> &[Passkey] {
        self.passkeys.as_ref().map_or(&[], |passkeys| &passkeys.keys)
    }
}

/// An API token, stored under its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made, microseconds since 1970.
    pub created_at_us: u64,
    /// When it ends, microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_us: Option<u64>,
    /// Id of the token that made it, and that it ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<String>,
}

impl Token {
    /// Whether its time is over.
    pub fn is_over(&self, now_us: u64) -> bool {
        self.expires_at_us.is_some_and(|end| end <= now_us)
    }
}

/// A browser session, stored under the hash of its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Folded name of the account.
    pub account: String,
    /// When somebody signed in, microseconds since 1970.
    pub created_at_us: u64,
    /// When it was used last, to the hour.
    pub seen_at_us: u64,
    /// When the password was last given, microseconds since 1970.
    pub confirmed_at_us: u64,
    /// Which password its account had then: a session of another one is over, so that a change of the password ends them
    /// in the same write.
    #[serde(default)]
    pub password: String,
}

fn account_key(folded: &str) -> RecordKey {
    RecordKey::new(RecordKind::Account, "", folded)
}

fn token_key(hash: &str) -> RecordKey {
    RecordKey::new(RecordKind::Token, "", hash)
}

fn session_key(hash: &str) -> RecordKey {
    RecordKey::new(RecordKind::Session, "", hash)
}

/// Checks the name of an account: a letter or digit, then letters, digits, `.`, `_`, `@` and `-`, so that it is one
/// segment of a path.
///
/// # Errors
/// [`Invalid`] naming `name`.
pub fn checked_account_name(name: &str) -> std::result::Result<String, Invalid> {
    let name = checked_text("name", name, MAX_ACCOUNT_NAME_CHARS)?;
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, 'À'..='Ö' | 'Ø'..='ö' | 'ø'..='ÿ');
    let good = name.starts_with(letter) && name.chars().all(|c| letter(c) || matches!(c, '.' | '_' | '@' | '-'));
    if good {
        return Ok(name);
    }
    let remedy = "send letters, digits, `.`, `_`, `@` and `-`, beginning with a letter or digit";
    Err(Invalid::new("name", Rule::NotAName, "has other characters than letters and digits", remedy))
}

fn unknown_account(name: &str) -> Refused {
    let shown: String = name.chars().take(MAX_ACCOUNT_NAME_CHARS).collect();
    Refused::unknown("unknown_account", format!("there is no account {shown}"))
}

impl Catalogue {
    /// Every account with its folded name.
    ///
    /// # Errors
    /// The store's.
    pub async fn accounts(&self) -> Result<Vec<(String, Account)>> {
        self.every(RecordKind::Account).await
    }

    /// Every document of a kind. Calls at the same time may have made more of them than there should be, and those can be
    /// seen and deleted as well.
    async fn every<T: DeserializeOwned>(&self, kind: RecordKind) -> Result<Vec<(String, T)>> {
        let mut found: Vec<(String, T)> = Vec::new();
        loop {
            let rows = self.records.list::<T>(kind, "", found.last().map(|(id, _)| id.as_str()), PAGE).await?;
            let is_last = rows.len() < PAGE;
            found.extend(rows.into_iter().map(|(id, row)| (id, row.value)));
            if is_last {
                return Ok(found);
            }
        }
    }

    /// Whether there is any account.
    ///
    /// # Errors
    /// The store's.
    pub async fn has_accounts(&self) -> Result<bool> {
        Ok(!self.records.list::<Account>(RecordKind::Account, "", None, 1).await?.is_empty())
    }

    /// The account of a name, whatever its accents and case; `None` when there is none.
    ///
    /// # Errors
    /// The store's.
    pub async fn account(&self, name: &str) -> Result<Option<Account>> {
        Ok(self.records.get::<Account>(&account_key(&fold_key(name))).await?.map(|row| row.value))
    }

    /// Adds an account, whose name was checked.
    ///
    /// # Errors
    /// When the name is taken, or there are too many.
    pub async fn add_account(&self, account: &Account) -> Result<()> {
        if self.accounts().await?.len() >= MAX_ACCOUNTS {
            return Err(Refused::full("accounts", MAX_ACCOUNTS));
        }
        match self.records.put(&account_key(&fold_key(&account.name)), 0, account).await? {
            Swap::Done(_) => Ok(()),
            Swap::Conflict(_) => {
                let reason = format!("there is an account {} already", account.name);
                Err(Refused::conflict(Rule::Taken, reason, "choose another name"))
            }
        }
    }

    /// Changes an account; returns it as it is then, and what `change` said.
    ///
    /// # Errors
    /// When there is no such account, and what `change` refuses.
    pub async fn change_account<R: Send, E: From<Refused> + From<StoreError> + Send>(
        &self,
        name: &str,
        change: impl FnMut(&mut Account) -> std::result::Result<R, E> + Send,
    ) -> std::result::Result<(Account, R), E> {
        let changed = self.records.update(&account_key(&fold_key(name)), change).await?;
        let (row, answer) = changed.ok_or_else(|| unknown_account(name))??;
        Ok((row.value, answer))
    }

    /// Deletes an account, unless it is the last admin.
    ///
    /// # Errors
    /// When it is, or there is no such account.
    pub async fn delete_account(&self, name: &str) -> Result<()> {
        let folded = fold_key(name);
        let accounts = self.accounts().await?;
        let Some((_, account)) = accounts.iter().find(|(id, _)| *id == folded) else {
            return Err(unknown_account(name));
        };
        let admins = accounts.iter().filter(|(_, account)| account.role == Role::Admin).count();
        if account.role == Role::Admin && admins == 1 {
            return Err(Refused::conflict(
                Rule::LastAdmin,
                "it is the only admin account",
                "make another admin account first",
            ));
        }
        self.remove(&account_key(&folded)).await
    }

    /// Every API token with its hash, oldest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn tokens(&self) -> Result<Vec<(String, Token)>> {
        let mut tokens: Vec<(String, Token)> = self.every(RecordKind::Token).await?;
        tokens.sort_by_key(|(_, token)| token.created_at_us);
        Ok(tokens)
    }

    /// The token with this hash.
    ///
    /// # Errors
    /// The store's.
    pub async fn token(&self, hash: &str) -> Result<Option<Token>> {
        Ok(self.records.get::<Token>(&token_key(hash)).await?.map(|row| row.value))
    }

    /// Keeps a token under its hash.
    ///
    /// # Errors
    /// When the name is wrong or there are too many.
    pub async fn add_token(&self, hash: &str, token: &Token) -> Result<()> {
        if self.tokens().await?.len() >= MAX_TOKENS {
            return Err(Refused::full("tokens", MAX_TOKENS));
        }
        match self.records.put(&token_key(hash), 0, token).await? {
            Swap::Done(_) => Ok(()),
            Swap::Conflict(_) => Err(Refused::raced("the token")),
        }
    }

    /// Revokes a token, and those that were made with it; returns the ids of all.
    ///
    /// # Errors
    /// When there is no such token.
    pub async fn delete_token(&self, hash: &str) -> Result<Vec<String>> {
        if self.token(hash).await?.is_none() {
            return Err(Refused::unknown("unknown_token", "there is no such token"));
        }
        let mut gone = vec![hash.to_owned()];
        let mut removed = 0;
        // Until another look finds none: one that was made meanwhile is there before its maker is gone, or was not made.
        loop {
            let tokens = self.tokens().await?;
            let mut next = 0;
            while let Some(maker) = gone.get(next).cloned() {
                let of_maker = tokens.iter().filter(|(_, token)| token.made_by.as_deref() == Some(&maker));
                let new: Vec<_> = of_maker.map(|(id, _)| id.clone()).filter(|id| !gone.contains(id)).collect();
                gone.extend(new);
                next += 1;
            }
            if removed == gone.len() {
                break;
            }
            // The youngest first: what a crash leaves behind still has its maker, and goes with it the next time.
            for id in gone.iter().skip(removed).rev() {
                self.remove(&token_key(id)).await?;
            }
            removed = gone.len();
        }
        self.revoked().await?;
        Ok(gone)
    }

    /// Every session with its hash, oldest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn sessions(&self) -> Result<Vec<(String, Session)>> {
        let mut sessions: Vec<(String, Session)> = self.every(RecordKind::Session).await?;
        sessions.sort_by_key(|(_, session)| session.created_at_us);
        Ok(sessions)
    }

    /// The session with this hash.
    ///
    /// # Errors
    /// The store's.
    pub async fn session(&self, hash: &str) -> Result<Option<Session>> {
        Ok(self.records.get::<Session>(&session_key(hash)).await?.map(|row| row.value))
    }

    /// Keeps a session under its hash.
    ///
    /// # Errors
    /// The store's.
    pub async fn add_session(&self, hash: &str, session: &Session) -> Result<()> {
        match self.records.put(&session_key(hash), 0, session).await? {
            Swap::Done(_) => Ok(()),
            Swap::Conflict(_) => Err(Refused::raced("the session")),
        }
    }

    /// Remembers that the password was given again.
    ///
    /// # Errors
    /// The store's.
    pub async fn confirm_session(&self, hash: &str, now_us: u64) -> Result<()> {
        let change = |session: &mut Session| -> Result<()> {
            session.confirmed_at_us = session.confirmed_at_us.max(now_us);
            Ok(())
        };
        self.records.update(&session_key(hash), change).await?.transpose()?;
        Ok(())
    }

    /// Lets a session go on after its account's password was changed with it.
    ///
    /// # Errors
    /// The store's.
    pub async fn keep_session(&self, hash: &str, password: &str) -> Result<()> {
        let change = |session: &mut Session| -> Result<()> {
            password.clone_into(&mut session.password);
            Ok(())
        };
        self.records.update(&session_key(hash), change).await?.transpose()?;
        Ok(())
    }

    /// Remembers that a session was used.
    ///
    /// # Errors
    /// The store's.
    pub async fn touch_session(&self, hash: &str, now_us: u64) -> Result<()> {
        let change = |session: &mut Session| -> Result<()> {
            session.seen_at_us = session.seen_at_us.max(now_us);
            Ok(())
        };
        // A session that ended meanwhile stays ended.
        self.records.update(&session_key(hash), change).await?.transpose()?;
        Ok(())
    }

    /// Ends a session; `false` when there was none.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete_session(&self, hash: &str) -> Result<bool> {
        let found = self.session(hash).await?.is_some();
        self.remove(&session_key(hash)).await?;
        if found {
            self.revoked().await?;
        }
        Ok(found)
    }
}
