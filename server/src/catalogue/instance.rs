//! Documents of the instance itself: secrets and the set-up link.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Catalogue, Refused, Result};
use crate::records::MAX_ATTEMPTS;
use crate::store::{RecordKey, RecordKind, Swap};

/// Which document of the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceId {
    /// The secret that viewer tokens are signed with.
    ViewerSecret,
    /// Hash of the one-time set-up secret.
    Setup,
    /// The secret that device cookies are made with.
    DeviceSecret,
    /// The secret that challenges of passkeys are made with.
    PasskeySecret,
    /// How often something was revoked.
    Revocations,
}

impl InstanceId {
    fn key(self) -> RecordKey {
        let id = match self {
            Self::ViewerSecret => "viewer_secret",
            Self::Setup => "setup",
            Self::DeviceSecret => "device_secret",
            Self::PasskeySecret => "passkey_secret",
            Self::Revocations => "revocations",
        };
        RecordKey::new(RecordKind::Instance, "", id)
    }
}

/// A count of revocations, as stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Revocations {
    count: u64,
}

impl Catalogue {
    /// Tells every pod that a session, a token or an overlay key is gone: to be called after it is, by whatever revokes one.
    ///
    /// # Errors
    /// The store's. Sockets are then closed when their credentials are looked at anyway: see `app.rs`.
    pub(super) async fn revoked(&self) -> Result<()> {
        let count_up = |revocations: &mut Revocations| {
            revocations.count += 1;
            Ok::<_, Refused>(())
        };
        self.records.update_or_new(&InstanceId::Revocations.key(), count_up).await??;
        Ok(())
    }

    /// How often something was revoked: pods look at it to know when to look at what their sockets were opened with.
    ///
    /// # Errors
    /// The store's.
    pub async fn revocations(&self) -> Result<u64> {
        Ok(self.instance::<Revocations>(InstanceId::Revocations).await?.map_or(0, |revocations| revocations.count))
    }

    /// A document of the instance.
    ///
    /// # Errors
    /// The store's.
    pub async fn instance<T: DeserializeOwned>(&self, id: InstanceId) -> Result<Option<T>> {
        Ok(self.records.get::<T>(&id.key()).await?.map(|row| row.value))
    }

    /// The document if there is one, or `fresh`, which is then kept. Of several that try at once, all get the same.
    ///
    /// # Errors
    /// The store's; [`Refused::Conflict`] when others change it all the time.
    pub async fn instance_or<T: DeserializeOwned + Serialize>(&self, id: InstanceId, fresh: T) -> Result<T> {
        for _ in 0..MAX_ATTEMPTS {
            if let Some(value) = self.instance(id).await? {
                return Ok(value);
            }
            if let Swap::Done(_) = self.records.put(&id.key(), 0, &fresh).await? {
                return Ok(fresh);
            }
        }
        Err(Refused::raced("a document of the instance"))
    }

    /// Replaces a document of the instance.
    ///
    /// # Errors
    /// The store's; [`Refused::Conflict`] when others change it all the time.
    pub async fn set_instance<T: Serialize>(&self, id: InstanceId, value: &T) -> Result<()> {
        for _ in 0..MAX_ATTEMPTS {
            let revision = self.records.get::<serde_json::Value>(&id.key()).await?.map_or(0, |row| row.revision);
            if let Swap::Done(_) = self.records.put(&id.key(), revision, value).await? {
                return Ok(());
            }
        }
        Err(Refused::raced("a document of the instance"))
    }

    /// Takes a document away if `matches` says so; `true` for the one caller that took it.
    ///
    /// # Errors
    /// The store's.
    pub async fn take_instance<T: DeserializeOwned>(
        &self,
        id: InstanceId,
        matches: impl FnOnce(&T) -> bool,
    ) -> Result<bool> {
        let Some(row) = self.records.get::<T>(&id.key()).await? else { return Ok(false) };
        if !matches(&row.value) {
            return Ok(false);
        }
        Ok(matches!(self.records.delete(&id.key(), row.revision).await?, Swap::Done(_)))
    }
}
