use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::catalogue::{MAX_TOKENS, Scope, SecondFactor};
use crate::records::Records;
use crate::store::faulty::{Fault, FaultyStore};
use crate::store::memory::MemoryStore;
use crate::store::{ErrorKind, RecordKey, RecordKind, Store};

const NOW: u64 = 1_800_000_000 * SECOND_US;
const PASSWORD: &str = "un mot de passe";

async fn auth() -> Auth {
    let auth = Auth::new(Catalogue::new(Records::new(Arc::new(MemoryStore::exclusive()))));
    auth.add_account("Max", PASSWORD, Role::Admin, NOW).await.unwrap();
    auth
}

fn door(last: u8) -> Door<'static> {
    Door { client: ClientKey::V4([192, 0, 2, last]), device: None }
}

#[tokio::test]
async fn a_session_ends_when_idle_and_when_old_however_busy() {
    let auth = auth().await;
    let session = auth.log_in(door(1), "max", PASSWORD, None, NOW).await.unwrap().session;
    let is_on = async |at: u64| auth.session(session.reveal(), at).await.unwrap().is_some();
    let day = 24 * HOUR_US;
    for days in [1, 6, 12, 18, 24, 29] {
        assert!(is_on(NOW + days * day).await, "used every few days: day {days}");
    }
    assert!(!is_on(NOW + 31 * day).await, "old");
    let idle = auth.log_in(door(1), "max", PASSWORD, None, NOW).await.unwrap().session;
    assert!(auth.session(idle.reveal(), NOW + 8 * day).await.unwrap().is_none(), "idle");
}

#[tokio::test]
async fn a_session_whose_time_is_over_is_ended_and_named_once() {
    let auth = auth().await;
    let old = auth.log_in(door(1), "max", PASSWORD, None, NOW).await.unwrap().session;
    let new = auth.log_in(door(1), "max", PASSWORD, None, NOW + 5 * 24 * HOUR_US).await.unwrap().session;
    let later = NOW + 8 * 24 * HOUR_US;
    assert_eq!(auth.end_over(NOW + 24 * HOUR_US).await.unwrap(), Vec::<String>::new());
    assert_eq!(auth.end_over(later).await.unwrap(), [hash(old.reveal())]);
    assert_eq!(auth.end_over(later).await.unwrap(), Vec::<String>::new());
    assert!(auth.session(new.reveal(), later).await.unwrap().is_some());
}

#[tokio::test]
async fn a_password_that_is_changed_while_it_is_checked_lets_nobody_in() {
    let auth = auth().await;
    let checked = auth.catalogue.account("max").await.unwrap().unwrap();
    auth.set_password("max", "un autre mot de passe", None).await.unwrap();
    assert!(matches!(auth.begin_session(&checked, None, NOW).await, Err(AuthError::Wrong)));
    auth.catalogue.delete_account("max").await.unwrap_err();
    auth.add_account("lea", PASSWORD, Role::Admin, NOW).await.unwrap();
    let gone = auth.catalogue.account("lea").await.unwrap().unwrap();
    auth.delete_account("lea").await.unwrap();
    assert!(matches!(auth.begin_session(&gone, None, NOW).await, Err(AuthError::Wrong)));
    assert_eq!(auth.catalogue.sessions().await.unwrap(), []);
    assert!(auth.log_in(door(1), "max", "un autre mot de passe", None, NOW).await.is_ok());
}

#[tokio::test]
async fn what_changes_nothing_about_who_may_enter_keeps_nobody_out() {
    let auth = auth().await;
    let checked = auth.catalogue.account("max").await.unwrap().unwrap();
    auth.begin_second_factor("max", NOW).await.unwrap();
    assert!(auth.begin_session(&checked, None, NOW).await.is_ok(), "one that is being set up");
    let switch_on = |account: &mut Account| {
        account.second_factor =
            Some(SecondFactor { secret: "A".to_owned(), since_us: NOW, last_step: 1, recovery: vec!["x".to_owned()] });
        Ok::<_, Refused>(())
    };
    let (on, ()) = auth.catalogue.change_account("max", switch_on).await.unwrap();
    assert!(matches!(auth.begin_session(&checked, None, NOW).await, Err(AuthError::Wrong)), "one that is on");
    let use_code = |account: &mut Account| {
        let factor = account.second_factor.as_mut().unwrap();
        (factor.last_step, factor.recovery) = (2, Vec::new());
        Ok::<_, Refused>(())
    };
    auth.catalogue.change_account("max", use_code).await.unwrap();
    assert!(auth.begin_session(&on, None, NOW).await.is_ok(), "codes of another sign-in");
}

#[tokio::test]
async fn a_changed_password_ends_sessions_that_could_not_be_deleted() {
    let is_away = Arc::new(AtomicBool::new(false));
    let away = Arc::clone(&is_away);
    let plan = Arc::new(move |operation: &'static str| {
        let refuses = operation == "delete_record" && away.load(Ordering::Relaxed);
        if refuses { Fault::Refused(ErrorKind::Unavailable) } else { Fault::None }
    });
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(Arc::new(MemoryStore::exclusive()), plan));
    let auth = Auth::new(Catalogue::new(Records::new(store)));
    auth.add_account("Max", PASSWORD, Role::Admin, NOW).await.unwrap();
    let thief = auth.log_in(door(1), "max", PASSWORD, None, NOW).await.unwrap().session;
    let own = auth.log_in(door(2), "max", PASSWORD, None, NOW).await.unwrap().session;
    is_away.store(true, Ordering::Relaxed);
    let _ = auth.change_own_password("max", PASSWORD, "un autre mot de passe", &hash(own.reveal())).await;
    assert!(auth.session(thief.reveal(), NOW).await.unwrap().is_none());
    assert!(auth.session(own.reveal(), NOW).await.unwrap().is_some());
}

#[tokio::test]
async fn tokens_and_accounts_beyond_the_limit_are_seen_and_deleted() {
    let records = Records::new(Arc::new(MemoryStore::exclusive()));
    let auth = Auth::new(Catalogue::new(records.clone()));
    auth.add_account("Max", PASSWORD, Role::Admin, NOW).await.unwrap();
    let new = Token { name: "x".to_owned(), scopes: vec![], created_at_us: NOW, expires_at_us: None, made_by: None };
    let max = auth.catalogue.account("max").await.unwrap().unwrap();
    for number in 0..MAX_TOKENS + 5 {
        let id = format!("{number:04}");
        let token = RecordKey::new(RecordKind::Token, "", id.as_str());
        records.put(&token, 0, &new).await.unwrap();
        let account = RecordKey::new(RecordKind::Account, "", id.as_str());
        records.put(&account, 0, &max).await.unwrap();
    }
    assert_eq!(auth.catalogue.tokens().await.unwrap().len(), MAX_TOKENS + 5);
    assert_eq!(auth.catalogue.accounts().await.unwrap().len(), MAX_TOKENS + 6);
    let last = format!("{:04}", MAX_TOKENS + 4);
    assert_eq!(auth.catalogue.delete_token(&last).await.unwrap(), [last.as_str()]);
    auth.delete_account(&last).await.unwrap();
    assert!(auth.make_token(Token { scopes: vec![Scope::Read], ..new }).await.is_err(), "full");
}

#[tokio::test]
async fn one_session_too_many_ends_the_oldest() {
    let auth = auth().await;
    let account = auth.catalogue.account("max").await.unwrap().unwrap();
    let first = auth.begin_session(&account, None, NOW).await.unwrap().session;
    for number in 0..MAX_SESSIONS_PER_ACCOUNT {
        let at = NOW + SECOND_US * (1 + u64::try_from(number).unwrap());
        let signed = auth.begin_session(&account, None, at).await.unwrap();
        let is_surplus = number + 1 == MAX_SESSIONS_PER_ACCOUNT;
        assert_eq!(signed.ended, if is_surplus { vec![hash(first.reveal())] } else { Vec::new() });
    }
    assert!(auth.session(first.reveal(), NOW).await.unwrap().is_none());
    assert_eq!(auth.catalogue.sessions().await.unwrap().len(), MAX_SESSIONS_PER_ACCOUNT);
}

#[tokio::test]
async fn an_account_made_anew_does_not_inherit_sessions() {
    let auth = auth().await;
    auth.add_account("Léa", PASSWORD, Role::Admin, NOW).await.unwrap();
    let account = auth.catalogue.account("lea").await.unwrap().unwrap();
    let session = auth.begin_session(&account, None, NOW).await.unwrap().session;
    auth.catalogue.delete_account("lea").await.unwrap();
    assert!(auth.session(session.reveal(), NOW).await.unwrap().is_none());
    auth.add_account("LEA", PASSWORD, Role::Moderator, NOW + 1).await.unwrap();
    assert!(auth.session(session.reveal(), NOW + 1).await.unwrap().is_none());
}

#[tokio::test]
async fn an_unknown_name_and_a_wrong_password_get_the_same_answer() {
    let auth = auth().await;
    for (name, password) in [("max", "un autre mot"), ("lea", PASSWORD), ("", ""), ("max", "")] {
        assert!(matches!(auth.log_in(door(1), name, password, None, NOW).await, Err(AuthError::Wrong)), "{name}");
    }
}

#[tokio::test]
async fn whoever_guesses_from_elsewhere_keeps_no_known_browser_out() {
    let auth = auth().await;
    let known = auth.log_in(door(1), "Max", PASSWORD, None, NOW).await.unwrap().device;
    let (mut wrong, mut slowed) = (0, 0);
    for last in 2..=40 {
        match auth.log_in(door(last), "max", "faux faux faux", None, NOW).await.unwrap_err() {
            AuthError::Wrong => wrong += 1,
            AuthError::TooMany(_) => slowed += 1,
            other => panic!("{other}"),
        }
    }
    assert!(wrong >= 29 && slowed >= 1, "{wrong} were asked for a password, {slowed} were not");
    assert!(
        matches!(auth.log_in(door(99), "max", PASSWORD, None, NOW).await, Err(AuthError::TooMany(_))),
        "a stranger"
    );
    // From the address that guesses, too.
    let own = Door { device: Some(&known), ..door(2) };
    assert!(auth.log_in(own, "MAX", PASSWORD, None, NOW).await.is_ok());
    assert!(matches!(auth.log_in(own, "max", "faux faux faux", None, NOW).await, Err(AuthError::Wrong)));
    auth.add_account("Léa", PASSWORD, Role::Admin, NOW).await.unwrap();
    assert_eq!(auth.devices().await.unwrap().known(&known, "lea"), None);
}

#[tokio::test]
async fn a_new_set_up_link_replaces_the_one_before() {
    let auth = Auth::new(Catalogue::new(Records::new(Arc::new(MemoryStore::exclusive()))));
    let old = auth.new_setup_secret(NOW).await.unwrap().unwrap();
    let new = auth.new_setup_secret(NOW).await.unwrap().unwrap();
    let set_up = async |secret: &Secret| auth.set_up(door(1), secret.reveal(), "max", PASSWORD, NOW).await;
    assert!(matches!(set_up(&old).await, Err(AuthError::Wrong)));
    assert!(set_up(&new).await.is_ok());
    assert!(matches!(set_up(&new).await, Err(AuthError::AlreadySetUp)));
    assert!(auth.new_setup_secret(NOW).await.unwrap().is_none());
}

#[tokio::test]
async fn tokens_and_the_viewer_secret_are_found_again() {
    let auth = auth().await;
    let scopes = vec![Scope::Read];
    let new = Token { name: "bot".to_owned(), scopes, created_at_us: NOW, expires_at_us: None, made_by: None };
    let (id, token, secret) = auth.make_token(new).await.unwrap();
    assert_eq!(auth.token(secret.reveal(), NOW).await.unwrap(), Some((id, token)));
    assert_eq!(auth.token("brm_token_x", NOW).await.unwrap(), None);
    let (one, same) = (auth.viewer_secret().await.unwrap(), auth.viewer_secret().await.unwrap());
    assert_eq!(one.token([3; 16]), same.token([3; 16]));
}
