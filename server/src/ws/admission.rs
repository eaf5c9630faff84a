//! How many sockets there may be, in all and from one address.
//!
//! **Invariant**: an address, and the networks around it, are remembered for as long as it has a socket, so the table is
//! never larger than three times the number of sockets, which is limited.

use std::sync::{Arc, Mutex, PoisonError};

use crate::auth::limits::{ClientKey, Counts};

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// This server has as many sockets as it may have.
    Server,
    /// This address has, or the network around it.
    Address,
}

impl Full {
    /// Name in the label `reason` of the metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Address => "address",
        }
    }
}

#[derive(Default)]
struct Taken {
    sockets: usize,
    by_address: Counts,
}

struct Inner {
    most: usize,
    most_per_address: u32,
    taken: Mutex<Taken>,
}

/// Counts sockets. Cheap to clone.
#[derive(Clone)]
pub struct Admission {
    inner: Arc<Inner>,
}

/// One socket's permission; giving it up makes room.
pub struct Ticket {
    inner: Arc<Inner>,
    client: Option<ClientKey>,
}

impl Admission {
    /// At most so many sockets, and so many of one address; of a network around IPv6 addresses, as many as are its worth.
    pub fn new(most: usize, most_per_address: u32) -> Self {
        Self { inner: Arc::new(Inner { most, most_per_address, taken: Mutex::default() }) }
    }

    /// Lets a socket in. `client` is `None` for those that are not counted by their address.
    ///
    /// # Errors
    /// [`Full`].
    pub fn admit(&self, client: Option<ClientKey>) -> Result<Ticket, Full> {
        let mut taken = self.inner.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.sockets >= self.inner.most {
            return Err(Full::Server);
        }
        if client.is_some_and(|client| !taken.by_address.add(client, self.inner.most_per_address)) {
            return Err(Full::Address);
        }
        taken.sockets += 1;
        Ok(Ticket { inner: Arc::clone(&self.inner), client })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut taken = self.inner.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.sockets = taken.sockets.saturating_sub(1);
        if let Some(client) = self.client {
            taken.by_address.remove(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> Option<ClientKey> {
        Some(ClientKey::V4([192, 0, 2, last]))
    }

    #[test]
    fn an_address_that_is_full_gets_no_more_until_one_of_its_sockets_ends_and_others_do() {
        let admission = Admission::new(100, 2);
        let first = admission.admit(client(1)).ok();
        let _second = admission.admit(client(1)).unwrap();
        assert_eq!(admission.admit(client(1)).err(), Some(Full::Address));
        let _other = admission.admit(client(2)).unwrap();
        drop(first);
        assert!(admission.admit(client(1)).is_ok());
    }

    #[test]
    fn a_network_of_ipv6_has_a_limit_however_many_addresses_are_used() {
        let admission = Admission::new(100_000, 2);
        let admit =
            |site: u8, subnet: u8| admission.admit(Some(ClientKey::V6([0x20, 1, 0xd, 0xb8, 0, site, 0, subnet])));
        let tickets: Vec<_> = (0..=255).filter_map(|subnet| admit(1, subnet).ok()).collect();
        assert_eq!(tickets.len(), 16, "one /48");
        let more: Vec<_> = (2..=255).filter_map(|site| admit(site, 0).ok()).collect();
        assert_eq!(more.len(), 128 - 16, "one /32");
        assert_eq!(admit(200, 0).err(), Some(Full::Address));
        drop((tickets, more));
        assert!(admission.inner.taken.lock().unwrap().by_address.is_empty());
    }

    #[test]
    fn whoever_is_exempt_counts_for_the_whole_only_and_nobody_is_remembered_afterwards() {
        let admission = Admission::new(3, 1);
        let mut tickets: Vec<_> = (0..2).map(|_| admission.admit(None).unwrap()).collect();
        tickets.push(admission.admit(client(1)).unwrap());
        assert_eq!(admission.admit(None).err(), Some(Full::Server));
        tickets.clear();
        let taken = admission.inner.taken.lock().unwrap();
        assert_eq!((taken.sockets, taken.by_address.len()), (0, 0));
    }
}
