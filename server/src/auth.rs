//! Who may do what: passwords, sessions, API tokens, overlay keys and the one-time set-up link.
//!
//! **Invariant**: no secret that lets somebody change anything is stored. Of tokens, session ids and the set-up secret
//! (256 random bits each) there is a SHA-256, of passwords argon2id; they are shown once, when they are made. Of passkeys
//! there is the public key. Overlay keys open nothing that is not public, and their text is kept for the admin page. None of
//! them is ever logged.

mod brakes;
mod challenges;
mod devices;
mod held;
pub mod limits;
pub mod newcomers;
mod passkeys;
mod passwords;
pub mod request;
mod second_factor;
pub mod secrets;
pub mod webauthn;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use held::{Held, Opener};
pub(crate) use passkeys::id_of as passkey_id;
pub use request::{
    Principal, Via, admin_of, check_same_site, overlay_key, require, require_confirmed, require_confirmed_person,
    require_person, require_scope,
};

use crate::catalogue::{
    Account, Catalogue, InstanceId, MAX_SESSIONS_PER_ACCOUNT, OverlayKey, Refused, Role, Session, Token,
};
use crate::domain::key::{Slug, fold_key};
use crate::domain::rule::Rule;
use crate::domain::viewer::ViewerSecret;
use crate::domain::{Invalid, MAX_TITLE_CHARS, checked_text};
use brakes::{Brakes, Caller};
use challenges::Challenges;
use devices::Devices;
use limits::ClientKey;
use passwords::Passwords;
use secrets::{Secret, hash, same};

const SECOND_US: u64 = 1_000_000;
/// How long after a sign-in, or after the password was given again, accounts and tokens may be changed.
pub const CONFIRMED_US: u64 = 10 * 60 * SECOND_US;
const HOUR_US: u64 = 3_600 * SECOND_US;
/// A session nobody used for this long is over.
pub const SESSION_IDLE_US: u64 = 7 * 24 * HOUR_US;
/// A session is over after this long, used or not.
pub const SESSION_LIFE_US: u64 = 30 * 24 * HOUR_US;
/// How exactly the last use of a session is remembered: a write per hour, not per request.
const SESSION_TOUCH_US: u64 = HOUR_US;

/// Why somebody was not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Wrong name, password, token or set-up secret: it does not say which.
    #[error("wrong name or password")]
    Wrong,
    /// The set-up link works only while there is no account.
    #[error("this instance is set up already")]
    AlreadySetUp,
    /// Too many attempts.
    #[error("too many attempts; wait {0} s")]
    TooMany(u64),
    /// The password is right, and the account has a second factor whose code was not sent.
    #[error("the code of the second factor is missing")]
    CodeRequired,
    /// The code is wrong, or was used already.
    #[error("wrong code")]
    WrongCode,
    /// It is not the password of the account that is signed in.
    #[error("wrong password")]
    WrongPassword,
    /// The passkey is not accepted.
    #[error("the passkey is not accepted: {}", .0.word())]
    Passkey(#[from] webauthn::Refusal),
    /// The catalogue's reasons.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl From<crate::store::StoreError> for AuthError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<Invalid> for AuthError {
    fn from(invalid: Invalid) -> Self {
        Self::Refused(invalid.into())
    }
}

/// What signing in gives.
#[derive(Debug)]
pub struct SignedIn {
    /// Name of the account.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whether it has a second factor.
    pub has_second_factor: bool,
    /// Whether it has a passkey.
    pub has_passkey: bool,
    /// For the session cookie.
    pub session: Secret,
    /// For the device cookie.
    pub device: String,
    /// Ids of the sessions that ended with it, being old or too many.
    pub ended: Vec<String>,
}

/// The hash of the set-up secret, as stored.
#[derive(Serialize, Deserialize)]
struct SetupRecord {
    hash: String,
    created_at_us: u64,
}

/// A secret of the instance, as stored.
#[derive(Serialize, Deserialize)]
struct SecretRecord {
    secret: String,
}

/// Who tries to sign in.
#[derive(Debug, Clone, Copy)]
pub struct Door<'a> {
    /// Where the request comes from.
    pub client: ClientKey,
    /// The device cookie that came with it.
    pub device: Option<&'a str>,
}

/// Authentication over a catalogue. Cheap to clone.
#[derive(Clone)]
pub struct Auth {
    catalogue: Catalogue,
    inner: Arc<Inner>,
}

struct Inner {
    passwords: Passwords,
    brakes: Brakes,
    devices: tokio::sync::OnceCell<Devices>,
    challenges: tokio::sync::OnceCell<Challenges>,
    held: held::Registry,
}

impl Auth {
    /// Authentication over `catalogue`.
    pub fn new(catalogue: Catalogue) -> Self {
        let inner = Inner {
            passwords: Passwords::new(),
            brakes: Brakes::new(),
            devices: tokio::sync::OnceCell::new(),
            challenges: tokio::sync::OnceCell::new(),
            held: held::Registry::default(),
        };
        Self { catalogue, inner: Arc::new(inner) }
    }

    /// The secret that viewer tokens are signed with, made at the first start.
    ///
    /// # Errors
    /// The store's.
    pub async fn viewer_secret(&self) -> Result<ViewerSecret, Refused> {
        self.secret(InstanceId::ViewerSecret).await.map(ViewerSecret::new)
    }

    /// A secret of the instance, made when it is first asked for.
    async fn secret(&self, id: InstanceId) -> Result<[u8; 32], Refused> {
        let fresh = SecretRecord { secret: secrets::encode(&secrets::random()) };
        let kept = self.catalogue.instance_or(id, fresh).await?;
        secrets::decode(&kept.secret).ok_or_else(|| {
            let text = format!("the secret {id:?} is not 32 bytes in base64url");
            crate::store::StoreError::new(crate::store::ErrorKind::Corrupt, "records", text).into()
        })
    }

    /// Who makes device cookies here.
    async fn devices(&self) -> Result<&Devices, Refused> {
        let made = async || self.secret(InstanceId::DeviceSecret).await.map(Devices::new);
        self.inner.devices.get_or_try_init(made).await
    }

    /// The browser that tries to sign in, if this account has signed in with it before.
    async fn known_device(&self, door: Door<'_>, folded: &str) -> Result<Option<devices::DeviceId>, Refused> {
        let Some(cookie) = door.device else { return Ok(None) };
        Ok(self.devices().await?.known(cookie, folded))
    }

    /// Who makes challenges here.
    async fn challenges(&self) -> Result<&Challenges, Refused> {
        let made = async || self.secret(InstanceId::PasskeySecret).await.map(Challenges::new);
        self.inner.challenges.get_or_try_init(made).await
    }

    /// Takes over what another process made of the viewers' secret; `true` when it is another one.
    ///
    /// # Errors
    /// The store's.
    pub async fn follow_viewer_secret(&self, held: &ViewerSecret) -> Result<bool, Refused> {
        Ok(held.replace(self.secret(InstanceId::ViewerSecret).await?))
    }

    /// Makes a new secret for viewer tokens: those signed before stand for nobody, as soon as each server has followed.
    ///
    /// # Errors
    /// The store's.
    pub async fn rotate_viewer_secret(&self) -> Result<(), Refused> {
        let fresh = SecretRecord { secret: secrets::encode(&secrets::random()) };
        self.catalogue.set_instance(InstanceId::ViewerSecret, &fresh).await
    }

    /// A new set-up secret while there is no account, else `None`. An earlier one stops working.
    ///
    /// # Errors
    /// The store's.
    pub async fn new_setup_secret(&self, now_us: u64) -> Result<Option<Secret>, Refused> {
        if self.catalogue.has_accounts().await? {
            return Ok(None);
        }
        let secret = Secret::new("brm_setup_");
        let record = SetupRecord { hash: hash(secret.reveal()), created_at_us: now_us };
        self.catalogue.set_instance(InstanceId::Setup, &record).await?;
        Ok(Some(secret))
    }

    /// Makes the first account, an admin, and signs it in. The set-up secret works once.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn set_up(
        &self,
        door: Door<'_>,
        secret: &str,
        name: &str,
        password: &str,
        now_us: u64,
    ) -> Result<SignedIn, AuthError> {
        self.inner.brakes.attempt_from(door.client).map_err(AuthError::TooMany)?;
        if self.catalogue.has_accounts().await? {
            return Err(AuthError::AlreadySetUp);
        }
        let given = hash(secret);
        let matches = |record: &SetupRecord| same(&record.hash, &given);
        // Before the password is hashed: only who has the link makes the server work.
        if !self.catalogue.instance(InstanceId::Setup).await?.as_ref().is_some_and(matches) {
            return Err(AuthError::Wrong);
        }
        let account = self.new_account(name, password, Role::Admin, now_us).await?;
        if !self.catalogue.take_instance(InstanceId::Setup, matches).await? {
            return Err(AuthError::Wrong);
        }
        self.catalogue.add_account(&account).await?;
        self.begin_session(&account, door.device, now_us).await
    }

    /// Signs in with name and password, and the code of the second factor if the account has one.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn log_in(
        &self,
        door: Door<'_>,
        name: &str,
        password: &str,
        code: Option<&str>,
        now_us: u64,
    ) -> Result<SignedIn, AuthError> {
        let folded: String = fold_key(name).chars().take(MAX_TITLE_CHARS).collect();
        let device = self.known_device(door, &folded).await?;
        let caller = self.inner.brakes.attempt(door.client, device, &folded).map_err(AuthError::TooMany)?;
        let account = self.catalogue.account(&folded).await?;
        // An unknown name costs as much as a known one, so that the time of the answer does not tell them apart.
        let right = self
            .inner
            .passwords
            .verify(password, account.as_ref().map(|account| account.password_hash.clone()), caller)
            .await?;
        match account {
            Some(account) if right => {
                let account = self.second_step(account, device, code, now_us).await?;
                self.begin_session(&account, door.device, now_us).await
            }
            _ => Err(AuthError::Wrong),
        }
    }

    /// Asks an account whose password was right for the code of its second factor, and uses that up.
    async fn second_step(
        &self,
        account: Account,
        device: Option<devices::DeviceId>,
        code: Option<&str>,
        now_us: u64,
    ) -> Result<Account, AuthError> {
        if account.second_factor.is_none() {
            return Ok(account);
        }
        let code = code.filter(|code| !code.trim().is_empty()).ok_or(AuthError::CodeRequired)?;
        self.inner.brakes.code(device, &fold_key(&account.name)).map_err(AuthError::TooMany)?;
        let accept = |stored: &mut Account| {
            let factor = stored.second_factor.as_mut().ok_or(AuthError::WrongCode)?;
            second_factor::accept(factor, code, now_us).then_some(()).ok_or(AuthError::WrongCode)
        };
        let (now, ()) = self.catalogue.change_account(&account.name, accept).await?;
        // What was checked is still so: somebody may have changed the password meanwhile.
        if now.password_hash == account.password_hash { Ok(now) } else { Err(AuthError::Wrong) }
    }

    /// Checks the password of somebody who is signed in.
    async fn check_own(&self, name: &str, password: &str) -> Result<Account, AuthError> {
        self.inner.brakes.again(&fold_key(name)).map_err(AuthError::TooMany)?;
        let account = self.catalogue.account(name).await?.ok_or(AuthError::WrongPassword)?;
        let hash = Some(account.password_hash.clone());
        match self.inner.passwords.verify(password, hash, Caller::Known).await? {
            true => Ok(account),
            false => Err(AuthError::WrongPassword),
        }
    }

    /// Confirms a session by the password of its account, and the code of the second factor if there is one: for
    /// [`CONFIRMED_US`] it may change accounts and tokens.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn confirm(
        &self,
        session: &str,
        name: &str,
        password: &str,
        code: Option<&str>,
        now_us: u64,
    ) -> Result<(), AuthError> {
        let account = self.check_own(name, password).await?;
        self.second_step(account, None, code, now_us).await?;
        Ok(self.catalogue.confirm_session(session, now_us).await?)
    }

    /// Begins to set up a second factor: the secret, and the address that an app reads.
    ///
    /// # Errors
    /// When the account has one, or there is no such account.
    pub async fn begin_second_factor(&self, name: &str, now_us: u64) -> Result<(String, String), Refused> {
        let pending = second_factor::begin(now_us);
        let begin = |account: &mut Account| {
            if account.second_factor.is_some() {
                let reason = "the account has a second factor already";
                return Err(Refused::conflict(Rule::FactorIsOn, reason, "switch it off first"));
            }
            account.pending_factor = Some(pending.clone());
            Ok(())
        };
        let (account, ()) = self.catalogue.change_account(name, begin).await?;
        Ok((pending.secret.clone(), second_factor::url(&pending, &account.name)))
    }

    /// Switches the second factor on that was begun; returns its recovery codes, which are not seen again.
    ///
    /// # Errors
    /// When the code is wrong, or nothing was begun, or too long ago.
    pub async fn finish_second_factor(&self, name: &str, code: &str, now_us: u64) -> Result<Vec<String>, AuthError> {
        self.inner.brakes.again(&fold_key(name)).map_err(AuthError::TooMany)?;
        let finish = |account: &mut Account| {
            let pending = account.pending_factor.as_ref().ok_or_else(no_factor)?;
            let made = second_factor::confirm(pending, code, now_us).ok_or(AuthError::WrongCode)?;
            let (factor, codes) = made;
            (account.second_factor, account.pending_factor) = (Some(factor), None);
            Ok::<_, AuthError>(codes)
        };
        let (_, codes) = self.catalogue.change_account(name, finish).await?;
        Ok(codes)
    }

    /// Makes new recovery codes; those before them open nothing any more.
    ///
    /// # Errors
    /// When the account has no second factor.
    pub async fn renew_recovery(&self, name: &str) -> Result<Vec<String>, Refused> {
        let renew = |account: &mut Account| {
            account.second_factor.as_mut().map(second_factor::renew_recovery).ok_or_else(no_factor)
        };
        let (_, codes) = self.catalogue.change_account(name, renew).await?;
        Ok(codes)
    }

    /// Switches the second factor of an account off.
    ///
    /// # Errors
    /// When it has none, or there is no such account.
    pub async fn end_second_factor(&self, name: &str) -> Result<(), Refused> {
        let end = |account: &mut Account| {
            account.pending_factor = None;
            account.second_factor.take().map(drop).ok_or_else(no_factor)
        };
        self.catalogue.change_account(name, end).await?;
        Ok(())
    }

    /// Begins a session of an account whose password was right a moment ago.
    async fn begin_session(&self, account: &Account, device: Option<&str>, now_us: u64) -> Result<SignedIn, AuthError> {
        let folded = fold_key(&account.name);
        let secret = Secret::new("brm_session_");
        let id = hash(secret.reveal());
        let session = Session {
            account: folded.clone(),
            created_at_us: now_us,
            seen_at_us: now_us,
            confirmed_at_us: now_us,
            password: mark_of(account),
        };
        self.catalogue.add_session(&id, &session).await?;
        // Checking a password takes long, and it may have been changed meanwhile. Whoever changes it after this look ends
        // the session that is there by now.
        if !self.catalogue.account(&folded).await?.is_some_and(|now| is_as_checked(&now, account)) {
            self.catalogue.delete_session(&id).await?;
            return Err(AuthError::Wrong);
        }
        let mut ended = self.end_over(now_us).await?;
        let own = self.catalogue.sessions().await?.into_iter().filter(|(_, session)| session.account == folded);
        let others: Vec<_> = own.map(|(other, _)| other).filter(|other| *other != id).collect();
        let surplus = (others.len() + 1).saturating_sub(MAX_SESSIONS_PER_ACCOUNT);
        for other in others.into_iter().take(surplus) {
            self.catalogue.delete_session(&other).await?;
            ended.push(other);
        }
        let device = self.devices().await?.after_sign_in(device, &folded);
        Ok(SignedIn {
            name: account.name.clone(),
            role: account.role,
            has_second_factor: account.second_factor.is_some(),
            has_passkey: !account.passkeys().is_empty(),
            session: secret,
            device,
            ended,
        })
    }

    /// Ends the sessions whose time is over; returns which. To be called now and then, because a socket that was opened
    /// with one does not ask again.
    ///
    /// # Errors
    /// The store's.
    pub async fn end_over(&self, now_us: u64) -> Result<Vec<String>, Refused> {
        let mut ended = Vec::new();
        for (id, session) in self.catalogue.sessions().await? {
            if is_over(&session, now_us) {
                self.catalogue.delete_session(&id).await?;
                ended.push(id);
            }
        }
        Ok(ended)
    }

    /// Notes that a socket is opened with a credential, for [`Auth::check_held`]. Subscribe to revocations first, then look
    /// whether the credential is valid, then call this.
    pub fn hold(&self, id: &str, opener: Opener) -> Held {
        self.inner.held.hold(id, opener)
    }

    /// Looks at the credentials of open sockets again: at all of them, or at those that are new. Returns those that open
    /// nothing any more.
    ///
    /// # Errors
    /// The store's: what could not be looked at is looked at the next time.
    pub async fn check_held(&self, all: bool, now_us: u64) -> Result<Vec<Arc<str>>, Refused> {
        let check = async |id: &str, opener: &Opener| match opener {
            Opener::Token => Ok(self.catalogue.token(id).await?.is_some_and(|token| !token.is_over(now_us))),
            Opener::Session => Ok::<_, Refused>(self.session_of(id, now_us).await?.is_some()),
            Opener::OverlayKey(channel) => Ok(self.catalogue.has_overlay_key(channel, id).await?),
        };
        let mut gone = Vec::new();
        let mut failed = None;
        for (id, opener) in self.inner.held.to_check(all) {
            match check(&id, &opener).await {
                Ok(true) => {}
                Ok(false) => gone.push(id),
                Err(error) => {
                    self.inner.held.look_again(&id);
                    failed = Some(error);
                }
            }
        }
        match failed {
            // What was found comes first; the rest is asked for again.
            Some(error) if gone.is_empty() => Err(error),
            _ => Ok(gone),
        }
    }

    /// A session that is not over, and its account.
    async fn session_of(&self, id: &str, now_us: u64) -> Result<Option<(Session, Account)>, Refused> {
        let Some(session) = self.catalogue.session(id).await? else { return Ok(None) };
        let Some(account) = self.catalogue.account(&session.account).await? else { return Ok(None) };
        // An account made anew under a deleted one's name does not inherit its sessions.
        let is_of_account = session.created_at_us >= account.created_at_us && session.password == mark_of(&account);
        let is_valid = is_of_account && !is_over(&session, now_us);
        Ok(is_valid.then_some((session, account)))
    }

    /// Who a session belongs to: id of the session, the session and the account; `None` when it is over.
    ///
    /// # Errors
    /// The store's.
    pub async fn session(&self, secret: &str, now_us: u64) -> Result<Option<(String, Session, Account)>, Refused> {
        let id = hash(secret);
        let Some((session, account)) = self.session_of(&id, now_us).await? else { return Ok(None) };
        if now_us.saturating_sub(session.seen_at_us) > SESSION_TOUCH_US {
            self.catalogue.touch_session(&id, now_us).await?;
        }
        Ok(Some((id, session, account)))
    }

    /// Who a bearer token belongs to: its id and document; `None` when it is unknown, or over.
    ///
    /// # Errors
    /// The store's.
    pub async fn token(&self, secret: &str, now_us: u64) -> Result<Option<(String, Token)>, Refused> {
        let id = hash(secret);
        Ok(self.catalogue.token(&id).await?.filter(|token| !token.is_over(now_us)).map(|token| (id, token)))
    }

    /// Makes an API token: its id, itself and the secret, which is not seen again.
    ///
    /// # Errors
    /// When the name is wrong, nothing is allowed to it, or there are too many.
    pub async fn make_token(&self, mut token: Token) -> Result<(String, Token, Secret), Refused> {
        token.name = checked_text("name", &token.name, 80)?;
        token.scopes.sort_unstable();
        token.scopes.dedup();
        if token.scopes.is_empty() {
            let remedy = "send some of read, drive, manage, accounts";
            return Err(Invalid::new("scopes", Rule::Required, "is empty", remedy).into());
        }
        let secret = Secret::new("brm_token_");
        let id = hash(secret.reveal());
        self.catalogue.add_token(&id, &token).await?;
        Ok((id, token, secret))
    }

    /// Makes an overlay key of a channel: its id and the key.
    ///
    /// # Errors
    /// When the name is wrong, there is no such channel, or it has too many.
    pub async fn new_overlay_key(&self, slug: &Slug, name: &str, now_us: u64) -> Result<(String, OverlayKey), Refused> {
        let secret = Secret::new("brm_overlay_");
        let id = hash(secret.reveal());
        let new = OverlayKey { name: name.to_owned(), created_at_us: now_us, key: Some(secret.reveal().to_owned()) };
        let made = self.catalogue.add_overlay_key(slug, &id, new).await?;
        Ok((id, made))
    }

    async fn new_account(&self, name: &str, password: &str, role: Role, now_us: u64) -> Result<Account, Refused> {
        let name = crate::catalogue::checked_account_name(name)?;
        let password_hash = self.inner.passwords.hash(password, &name).await?;
        Ok(Account {
            name,
            role,
            password_hash,
            created_at_us: now_us,
            second_factor: None,
            pending_factor: None,
            passkeys: None,
        })
    }

    /// Makes an account.
    ///
    /// # Errors
    /// When name or password are wrong, the name is taken, or there are too many.
    pub async fn add_account(&self, name: &str, password: &str, role: Role, now_us: u64) -> Result<Account, Refused> {
        let account = self.new_account(name, password, role, now_us).await?;
        self.catalogue.add_account(&account).await?;
        Ok(account)
    }

    /// Changes a password. Returns the sessions of the account that ended with it, all but `keep`.
    ///
    /// # Errors
    /// When the password is wrong, or there is no such account.
    pub async fn set_password(&self, name: &str, password: &str, keep: Option<&str>) -> Result<Vec<String>, Refused> {
        let hash = self.inner.passwords.hash(password, name).await?;
        let change = |account: &mut Account| {
            account.password_hash.clone_from(&hash);
            Ok::<_, Refused>(())
        };
        let (account, ()) = self.catalogue.change_account(name, change).await?;
        Ok(self.end_others(&account, keep).await)
    }

    /// Deletes the sessions of an account whose password was changed, all but `keep`. They are over already, and the
    /// password is changed, whatever the store says now: what is left of them goes when its time is over.
    async fn end_others(&self, account: &Account, keep: Option<&str>) -> Vec<String> {
        let end = async {
            if let Some(keep) = keep {
                self.catalogue.keep_session(keep, &mark_of(account)).await?;
            }
            self.end_sessions(&account.name, keep).await
        };
        end.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "sessions that a change of the password ended could not be deleted");
            Vec::new()
        })
    }

    /// Changes the password of somebody who gives the one before it; their session `keep` goes on.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn change_own_password(
        &self,
        name: &str,
        current: &str,
        password: &str,
        keep: &str,
    ) -> Result<Vec<String>, AuthError> {
        let checked = self.check_own(name, current).await?;
        let hash = self.inner.passwords.hash(password, name).await?;
        let change = |account: &mut Account| {
            // The one that was given may have been changed meanwhile, because somebody else knew it.
            if account.password_hash != checked.password_hash {
                return Err(AuthError::WrongPassword);
            }
            account.password_hash.clone_from(&hash);
            Ok(())
        };
        let (account, ()) = self.catalogue.change_account(name, change).await?;
        Ok(self.end_others(&account, Some(keep)).await)
    }

    /// Deletes an account. Returns the sessions that ended with it.
    ///
    /// # Errors
    /// When it is the last admin, or there is none.
    pub async fn delete_account(&self, name: &str) -> Result<Vec<String>, Refused> {
        self.catalogue.delete_account(name).await?;
        self.end_sessions(name, None).await
    }

    /// Forgets clients and names whose attempts lie long back; to be called now and then.
    pub fn forget_idle(&self) {
        self.inner.brakes.forget_idle();
    }

    async fn end_sessions(&self, name: &str, keep: Option<&str>) -> Result<Vec<String>, Refused> {
        let folded = fold_key(name);
        let mut ended = Vec::new();
        for (id, session) in self.catalogue.sessions().await? {
            if session.account == folded && keep != Some(id.as_str()) {
                self.catalogue.delete_session(&id).await?;
                ended.push(id);
            }
        }
        Ok(ended)
    }
}

/// Tells the password of an account from those before it: a digest of the salted hash.
fn mark_of(account: &Account) -> String {
    secrets::encode(&secrets::digest(account.password_hash.as_bytes()))
}

/// Whether whoever was let into an account a moment ago would be let in now. Codes and passkeys that were used or added since
/// then, and a second factor that is being set up, change nothing about that.
fn is_as_checked(now: &Account, checked: &Account) -> bool {
    let secret = |account: &Account| account.second_factor.as_ref().map(|factor| factor.secret.clone());
    now.password_hash == checked.password_hash
        && now.role == checked.role
        && now.created_at_us == checked.created_at_us
        && secret(now) == secret(checked)
        && checked.passkeys().iter().all(|key| now.passkeys().iter().any(|known| known.id == key.id))
}

fn no_factor() -> Refused {
    Refused::conflict(Rule::FactorIsOff, "the account has no second factor", "set one up first")
}

fn is_over(session: &Session, now_us: u64) -> bool {
    now_us.saturating_sub(session.created_at_us) > SESSION_LIFE_US
        || now_us.saturating_sub(session.seen_at_us) > SESSION_IDLE_US
}

#[cfg(test)]
mod tests;
