//! The audit log: who changed what, when, through which door, and who tried to sign in.
//!
//! An entry is a document of its own, written once. Periods of 30 days are scopes (partitions, on a cluster), and ids begin
//! with the time counted down, so that a list is newest first without sorting.
//!
//! **Invariants**
//! - No secret is in it, and no address: neither a viewer's nor an admin's. A name that somebody tried to sign in with is
//!   in it only if an account has it, because people type passwords into the wrong field.
//! - An entry is durable before its request is answered, unless the store takes longer than [`WRITE_PATIENCE`]: the change
//!   itself was made by then, and its answer does not wait for the log. The entry is then logged, and written later.
//! - Whoever knows no password cannot push the entries of those who do out of the log, and nobody what others did by being
//!   refused: failures to sign in have a budget of their own, refusals one for each credential, and both a room of their own.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::auth::limits::Limiter;
use crate::domain::key::fold_key;
use crate::records::Records;
use crate::store::{RecordKey, RecordKind, Result, StoreError, Swap};

/// Entries of one scope.
const PERIOD_US: u64 = 30 * 24 * 3_600 * 1_000_000;
/// Whole periods that are kept besides the one that has begun: a year, and up to a month.
const PERIODS_KEPT: u64 = 12;
/// How many periods before the kept ones a pruning looks at: it runs several times a day, so that one would do.
const PERIODS_PRUNED: u64 = 3;
/// Most entries that are kept, besides refusals: at some 300 bytes each, 15 MB in all.
const MAX_ENTRIES: usize = 50_000;
/// Most refusals that are kept, failures to sign in among them.
const MAX_REFUSALS: usize = 10_000;
/// Entries read at once.
const PAGE: usize = 200;
/// Entries that one request for a page may look at: a filter that fits few of them goes on with the next request.
const MAX_SCANNED: usize = 5_000;
/// How long an answer waits for its entry to be durable.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);
/// Entries that wait for the store to come back; beyond them the oldest is given up, and counted.
const MAX_LATE: usize = 1_000;
/// Longest text in an entry, in characters.
const MAX_TEXT_CHARS: usize = 120;
/// Failures to sign in that are written down at once, and per minute afterwards; the next one says how many were not.
const FAILURES: (u32, u32) = (30, 4);
/// The same of what is refused to one credential: a page that is out of date has a handful.
const REFUSALS: (u32, u32) = (100, 10);
/// Credentials whose unwritten refusals are counted: more than there can be at once.
const MAX_COUNTED: usize = 10_000;
/// Counts entries that were given up because the store stayed away too long.
pub const AUDIT_LOST: &str = "audit_entries_lost_total";

/// Through which door somebody came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// A browser: the admin page, or its door.
    Page,
    /// An API token.
    Token,
    /// A command on the server's machine, or beside its store.
    Cli,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused, and changed nothing.
    Refused,
    /// The server failed: whether it was done is not known.
    Failed,
}

/// What happened once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Entry {
    /// When, microseconds since 1970.
    pub at_us: u64,
    /// Name of the account or token; empty when nobody is known by the name that was tried.
    pub who: String,
    /// Through which door.
    pub door: Door,
    /// The first 8 digits of the token's or session's id, which tell two of one name apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// What: the `operationId` of the call, or a command.
    pub action: String,
    /// On which object: parameters of the path, and names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub about: BTreeMap<String, String>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was refused, or how it failed: the `code` of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// Actions that are about being let in.
const DOORS: [&str; 6] = ["log_in", "log_in_with_passkey", "log_out", "set_up", "confirm", "confirm_with_passkey"];

impl Entry {
    /// An entry about a command.
    pub fn of_command(at_us: u64, action: &str, about: &[(&str, &str)]) -> Self {
        Self {
            at_us,
            who: String::new(),
            door: Door::Cli,
            credential: None,
            action: action.to_owned(),
            about: about.iter().map(|(name, value)| ((*name).to_owned(), plain(value))).collect(),
            outcome: Outcome::Done,
            code: None,
        }
    }
}

/// A text from outside as it may stand in an entry: short, and on one line.
pub fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT_CHARS).collect()
}

/// Which entries somebody wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, utoipa::ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// All of them.
    #[default]
    All,
    /// Signing in and out, and failing to.
    SignIn,
    /// Changes that were made.
    Change,
    /// Everything that was refused or failed.
    Refused,
}

/// A choice of entries.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of which kind.
    pub kind: Kind,
    /// A text that is in the name, the action or the object, whatever its accents and case; empty for any.
    pub text: String,
}

impl Filter {
    fn fits(&self, entry: &Entry) -> bool {
        let is_door = DOORS.contains(&entry.action.as_str());
        let of_kind = match self.kind {
            Kind::All => true,
            Kind::SignIn => is_door,
            Kind::Change => !is_door && entry.outcome == Outcome::Done,
            Kind::Refused => entry.outcome != Outcome::Done,
        };
        let wanted = fold_key(&self.text);
        let has = |text: &str| fold_key(text).contains(&wanted);
        of_kind && (wanted.is_empty() || has(&entry.who) || has(&entry.action) || entry.about.values().any(|v| has(v)))
    }
}

/// Some entries, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// For `after` of the next page; null when there is none. A page may have few entries, or none, and a next one.
    pub next: Option<String>,
}

/// The log over the records of a store. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    records: Records,
    inner: Arc<Inner>,
}

struct Inner {
    late: Mutex<VecDeque<(RecordKey, Entry)>>,
    /// One bucket, whoever it is.
    failures: Limiter<&'static str>,
    unwritten: AtomicU64,
    /// A bucket for each credential.
    refusals: Limiter<String>,
    /// Refusals by credential that were not written since the last one that was.
    unwritten_of: Mutex<HashMap<String, u64>>,
}

const fn period_of(at_us: u64) -> u64 {
    at_us / PERIOD_US
}

fn scope_of(period: u64) -> String {
    format!("{period:06}")
}

/// The period of an entry's id.
fn period_of_id(id: &str) -> Option<u64> {
    let down = u64::from_str_radix(id.get(..16)?, 16).ok()?;
    Some(period_of(u64::MAX - down))
}

/// Whether a text may be the id of an entry.
pub fn is_id(text: &str) -> bool {
    text.len() == 25 && period_of_id(text).is_some()
}

fn new_key(at_us: u64) -> RecordKey {
    let id = format!("{:016x}-{:08x}", u64::MAX - at_us, rand::random::<u32>());
    RecordKey::new(RecordKind::Audit, scope_of(period_of(at_us)), id)
}

impl Audit {
    /// The log in `records`.
    pub fn new(records: Records) -> Self {
        let inner = Inner {
            late: Mutex::default(),
            failures: Limiter::burst_per_minute(FAILURES.0, FAILURES.1),
            unwritten: AtomicU64::new(0),
            refusals: Limiter::burst_per_minute(REFUSALS.0, REFUSALS.1),
            unwritten_of: Mutex::default(),
        };
        Self { records, inner: Arc::new(inner) }
    }

    fn late(&self) -> std::sync::MutexGuard<'_, VecDeque<(RecordKey, Entry)>> {
        self.inner.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more failure to sign in is to be written down, and how many were not since the last one that was.
    pub fn may_keep_failure(&self) -> Option<u64> {
        if self.inner.failures.check(&"").is_ok() {
            return Some(self.inner.unwritten.swap(0, Ordering::Relaxed));
        }
        self.inner.unwritten.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Whether one more thing that was refused to a credential is to be written down, and how many were not since the last
    /// one that was.
    pub fn may_keep_refusal(&self, credential: &str) -> Option<u64> {
        let mut unwritten = self.inner.unwritten_of.lock().unwrap_or_else(PoisonError::into_inner);
        if self.inner.refusals.check(&credential.to_owned()).is_ok() {
            return Some(unwritten.remove(credential).unwrap_or(0));
        }
        if let Some(count) = unwritten.get_mut(credential) {
            *count += 1;
        } else if unwritten.len() < MAX_COUNTED {
            unwritten.insert(credential.to_owned(), 1);
        }
        None
    }

    /// Keeps the entry of a command, which has no later to write it in.
    ///
    /// # Errors
    /// The store's: what the entry is about was done all the same.
    pub async fn keep_now(&self, entry: &Entry) -> Result<()> {
        self.write(&new_key(entry.at_us), entry).await
    }

    /// Keeps an entry: durably, or, when the store takes too long, in memory until it is back.
    pub async fn keep(&self, entry: Entry) {
        let key = new_key(entry.at_us);
        let why = match tokio::time::timeout(WRITE_PATIENCE, self.write(&key, &entry)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the store takes too long".to_owned(),
        };
        let (who, action, outcome) = (&entry.who, &entry.action, entry.outcome);
        tracing::warn!(%why, who, action, ?outcome, about = ?entry.about, "an entry of the audit log has to wait");
        let mut late = self.late();
        if late.len() == MAX_LATE {
            late.pop_front();
            metrics::counter!(AUDIT_LOST).increment(1);
        }
        late.push_back((key, entry));
    }

    /// Writes an entry, once: that it is there already is fine.
    async fn write(&self, key: &RecordKey, entry: &Entry) -> Result<()> {
        match self.records.put(key, 0, entry).await? {
            Swap::Done(_) | Swap::Conflict(_) => Ok(()),
        }
    }

    /// Writes what had to wait, until the store fails again; to be called now and then.
    ///
    /// # Errors
    /// The store's; what could not be written waits on.
    pub async fn write_late(&self) -> Result<()> {
        loop {
            let Some((key, entry)) = self.late().front().cloned() else { return Ok(()) };
            self.write(&key, &entry).await?;
            // It may have been given up for a newer one meanwhile.
            self.late().retain(|(waiting, _)| *waiting != key);
        }
    }

    /// Entries that fit, newest first, after the one with this id.
    ///
    /// # Errors
    /// The store's.
    pub async fn page(&self, filter: &Filter, after: Option<&str>, limit: usize, now_us: u64) -> Result<Page> {
        // Another pod's clock may be ahead.
        let newest = period_of(now_us) + 1;
        let oldest = period_of(now_us).saturating_sub(PERIODS_KEPT);
        let mut after = after.map(str::to_owned);
        let mut period = after.as_deref().and_then(period_of_id).unwrap_or(newest).min(newest);
        let (mut entries, mut scanned) = (Vec::new(), 0);
        while period >= oldest {
            let rows = self.raw(period, after.as_deref()).await?;
            let is_last = rows.len() < PAGE;
            for (id, value) in rows {
                scanned += 1;
                after = Some(id);
                // One that cannot be read must not hide the others.
                let Ok(entry) = serde_json::from_value::<Entry>(value) else { continue };
                if filter.fits(&entry) {
                    entries.push(entry);
                }
                if entries.len() == limit || scanned == MAX_SCANNED {
                    return Ok(Page { entries, next: after });
                }
            }
            if is_last {
                let Some(before) = period.checked_sub(1) else { break };
                period = before;
            }
        }
        Ok(Page { entries, next: None })
    }

    async fn raw(&self, period: u64, after: Option<&str>) -> Result<Vec<(String, serde_json::Value)>> {
        let scope = scope_of(period);
        let rows = self.records.list::<serde_json::Value>(RecordKind::Audit, &scope, after, PAGE).await?;
        Ok(rows.into_iter().map(|(id, row)| (id, row.value)).collect())
    }

    /// Deletes what is older than a year, and the oldest of what is too much. Pods may do it at the same time.
    ///
    /// # Errors
    /// The store's.
    pub async fn prune(&self, now_us: u64) -> Result<u64> {
        self.inner.refusals.forget_idle();
        let (newest, oldest) = (period_of(now_us) + 1, period_of(now_us).saturating_sub(PERIODS_KEPT));
        let (mut entries, mut refusals, mut deleted) = (MAX_ENTRIES, MAX_REFUSALS, 0);
        for period in (oldest.saturating_sub(PERIODS_PRUNED)..=newest).rev() {
            let mut after: Option<String> = None;
            loop {
                let rows = self.raw(period, after.as_deref()).await?;
                let is_last = rows.len() < PAGE;
                for (id, value) in rows {
                    let entry = serde_json::from_value::<Entry>(value);
                    let is_refusal = entry.is_ok_and(|entry| entry.outcome == Outcome::Refused);
                    let room = if is_refusal { &mut refusals } else { &mut entries };
                    after = Some(id.clone());
                    if period >= oldest && *room > 0 {
                        *room -= 1;
                        continue;
                    }
                    self.delete(&RecordKey::new(RecordKind::Audit, scope_of(period), id)).await?;
                    deleted += 1;
                }
                if is_last {
                    break;
                }
            }
        }
        Ok(deleted)
    }

    async fn delete(&self, key: &RecordKey) -> std::result::Result<(), StoreError> {
        if let Some(row) = self.records.get::<serde_json::Value>(key).await? {
            self.records.delete(key, row.revision).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::store::faulty::{Fault, FaultyStore};
    use crate::store::memory::MemoryStore;
    use crate::store::{ErrorKind, Store};

    const NOW: u64 = 1_800_000_000_000_000;

    fn audit() -> Audit {
        Audit::new(Records::new(Arc::new(MemoryStore::exclusive())))
    }

    fn entry(at_us: u64, who: &str, action: &str, outcome: Outcome) -> Entry {
        let who = who.to_owned();
        Entry { who, door: Door::Page, outcome, ..Entry::of_command(at_us, action, &[("channel", "max")]) }
    }

    async fn all(audit: &Audit, filter: &Filter, limit: usize, now_us: u64) -> Vec<Entry> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = audit.page(filter, after.as_deref(), limit, now_us).await.unwrap();
            found.extend(page.entries);
            after = page.next;
            if after.is_none() {
                return found;
            }
        }
    }

    #[tokio::test]
    async fn pages_of_any_size_have_every_entry_once_newest_first_across_periods() {
        let audit = audit();
        let times: Vec<u64> = (0..450).map(|n| NOW - n * PERIOD_US / 60).collect();
        for at_us in times.iter().rev() {
            audit.keep(entry(*at_us, "max", "next_jeu", Outcome::Done)).await;
        }
        for limit in [1, 7, 200, 1_000] {
            let found = all(&audit, &Filter::default(), limit, NOW).await;
            assert_eq!(found.iter().map(|entry| entry.at_us).collect::<Vec<_>>(), times, "pages of {limit}");
        }
    }

    #[tokio::test]
    async fn a_filter_finds_by_kind_and_by_any_of_its_words() {
        let audit = audit();
        audit.keep(entry(NOW, "Éloïse", "next_jeu", Outcome::Done)).await;
        audit.keep(entry(NOW + 1, "Éloïse", "log_in", Outcome::Done)).await;
        audit.keep(entry(NOW + 2, "", "log_in", Outcome::Refused)).await;
        audit.keep(entry(NOW + 3, "bot", "delete_channel", Outcome::Refused)).await;
        let found = async |kind, text: &str| {
            let filter = Filter { kind, text: text.to_owned() };
            all(&audit, &filter, 2, NOW + 9).await.iter().map(|entry| entry.at_us - NOW).collect::<Vec<_>>()
        };
        assert_eq!(found(Kind::All, "").await, [3, 2, 1, 0]);
        assert_eq!(found(Kind::SignIn, "").await, [2, 1]);
        assert_eq!(found(Kind::Change, "").await, [0]);
        assert_eq!(found(Kind::Refused, "").await, [3, 2]);
        assert_eq!(found(Kind::All, "eloise").await, [1, 0]);
        assert_eq!(found(Kind::All, "delete").await, [3]);
        assert_eq!(found(Kind::All, "max").await, [3, 2, 1, 0]);
    }

    #[tokio::test]
    async fn what_is_old_or_too_much_is_pruned_and_refusals_push_nothing_else_out() {
        let audit = audit();
        audit.keep(entry(NOW - (PERIODS_KEPT + 1) * PERIOD_US, "max", "old", Outcome::Done)).await;
        audit.keep(entry(NOW - PERIODS_KEPT * PERIOD_US, "max", "kept", Outcome::Done)).await;
        for n in 0..u64::try_from(MAX_REFUSALS).unwrap() + 5 {
            let (who, action) = if n % 2 == 0 { ("", "log_in") } else { ("bot", "delete_channel") };
            audit.keep(entry(NOW + n, who, action, Outcome::Refused)).await;
        }
        assert_eq!(audit.prune(NOW + 1).await.unwrap(), 6, "the old one, and five refusals");
        let left = all(&audit, &Filter { kind: Kind::Refused, text: String::new() }, 500, NOW + 1).await;
        assert_eq!((left.len(), left.last().map(|entry| entry.at_us)), (MAX_REFUSALS, Some(NOW + 5)));
        let changes = all(&audit, &Filter { kind: Kind::Change, text: String::new() }, 500, NOW + 1).await;
        assert_eq!(changes.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(), ["kept"]);
    }

    #[tokio::test]
    async fn an_entry_that_the_store_did_not_take_is_written_when_it_is_back() {
        let is_away = Arc::new(AtomicBool::new(true));
        let away = Arc::clone(&is_away);
        let plan = Arc::new(move |operation: &'static str| {
            let refuses = operation == "put_record" && away.load(Ordering::Relaxed);
            if refuses { Fault::Refused(ErrorKind::Unavailable) } else { Fault::None }
        });
        let store: Arc<dyn Store> = Arc::new(FaultyStore::new(Arc::new(MemoryStore::exclusive()), plan));
        let audit = Audit::new(Records::new(store));
        for n in 0..u64::try_from(MAX_LATE).unwrap() + 1 {
            audit.keep(entry(NOW + n, "max", "next_jeu", Outcome::Done)).await;
        }
        assert!(audit.write_late().await.is_err());
        let of_command = Entry::of_command(NOW, "rotate_viewers", &[]);
        assert!(audit.keep_now(&of_command).await.is_err(), "a command says so");
        assert!(all(&audit, &Filter::default(), 100, NOW).await.is_empty());
        is_away.store(false, Ordering::Relaxed);
        audit.write_late().await.unwrap();
        let found = all(&audit, &Filter::default(), 100, NOW).await;
        assert_eq!(
            (found.len(), found.last().map(|entry| entry.at_us)),
            (MAX_LATE, Some(NOW + 1)),
            "the oldest is lost"
        );
    }

    #[test]
    fn failures_to_sign_in_have_a_budget_and_the_next_one_says_how_many_were_not_written() {
        let audit = audit();
        let written = (0..500).filter(|_| audit.may_keep_failure().is_some()).count();
        assert!((30..=90).contains(&written), "{written}");
        assert!(audit.inner.unwritten.load(Ordering::Relaxed) > 0);
    }

    #[test]
    fn refusals_have_a_budget_for_each_credential() {
        let audit = audit();
        let written = (0..500).filter(|_| audit.may_keep_refusal("a").is_some()).count();
        assert!((100..=300).contains(&written), "{written}");
        assert_eq!(audit.inner.unwritten_of.lock().unwrap().get("a"), Some(&u64::try_from(500 - written).unwrap()));
        assert_eq!(audit.may_keep_refusal("b"), Some(0), "another one has its own");
    }
}
