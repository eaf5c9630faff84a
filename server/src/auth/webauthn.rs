//! The two ceremonies of [WebAuthn Level 3](https://www.w3.org/TR/webauthn-3/#sctn-rp-operations), on the side of the
//! relying party: what a browser is asked for, and whether its answer is right.
//!
//! `passki` reads and checks the answers, with `aws-lc-rs` for the signatures. What it leaves to its caller is checked here
//! and in `auth/passkeys.rs`, with the step of §7.1 (adding) or §7.2 (signing in) named beside it. Attestation is not asked
//! for and proves nothing here: which model somebody's authenticator is does not matter.
//!
//! **Invariant**: no answer is accepted without user verification, so that a passkey counts as both factors.

use passki::{
    AuthenticationCredential, AuthenticationOptions, AuthenticationState, ClientData, Passki, PasskiError,
    RegistrationCredential, RegistrationOptions, RegistrationState, ResidentKeyRequirement, StoredPasskey,
    UserVerificationRequirement,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::challenges::LIFE_US;
use crate::catalogue::{Account, Passkey};

/// How browsers call this program when they ask.
const NAME: &str = "Barème";
/// Ed25519, ECDSA on P-256, and RSA for computers whose chip has nothing else: the three that §5.4 recommends.
const ALGORITHMS: [i32; 3] = [-8, -7, -257];
/// Longest credential ID, in bytes (§7.1, step 25).
const MAX_ID_BYTES: usize = 1_023;
/// Longest public key as COSE, in bytes: an RSA key of 8,192 bits, and room.
const MAX_KEY_BYTES: usize = 1_200;
/// Where the flags stand in authenticator data, and the one that says that the passkey may be copied to other devices.
const FLAGS_AT: usize = 32;
const BACKUP_ELIGIBLE: u8 = 0x08;

/// Why a passkey is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.word())]
pub enum Refusal {
    /// The challenge is not one of this server, or was made for something else.
    Challenge,
    /// The challenge is too old.
    Late,
    /// The challenge was answered already.
    Used,
    /// No account has this passkey, or not any more.
    Unknown,
    /// It is the passkey of another account.
    Account,
    /// A page of another site asked for it.
    Origin,
    /// The authenticator did not verify who is there.
    Unverified,
    /// The signature is wrong.
    Signature,
    /// The signature counter did not go on: there may be a copy.
    Counter,
    /// What the authenticator says about the passkey has changed, and never does.
    Changed,
    /// It cannot be read, or is of a kind that was not asked for.
    Unreadable,
}

impl Refusal {
    /// In one word, for the audit log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Challenge => "challenge",
            Self::Late => "late",
            Self::Used => "used",
            Self::Unknown => "unknown",
            Self::Account => "account",
            Self::Origin => "origin",
            Self::Unverified => "unverified",
            Self::Signature => "signature",
            Self::Counter => "counter",
            Self::Changed => "changed",
            Self::Unreadable => "unreadable",
        }
    }
}

impl From<PasskiError> for Refusal {
    fn from(error: PasskiError) -> Self {
        match error {
            PasskiError::ChallengeMismatch => Self::Challenge,
            PasskiError::OriginMismatch { .. }
            | PasskiError::CrossOriginNotAllowed
            | PasskiError::TopOriginMismatch { .. }
            | PasskiError::RpIdHashMismatch => Self::Origin,
            PasskiError::UserNotPresent | PasskiError::UserVerificationRequired => Self::Unverified,
            PasskiError::SignatureVerificationFailed => Self::Signature,
            PasskiError::CounterRegression => Self::Counter,
            _ => Self::Unreadable,
        }
    }
}

/// A passkey that a browser made.
#[derive(Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPasskey)]
pub struct Made {
    /// What its owner calls it.
    #[schema(min_length = 1, max_length = 80, pattern = "@text")]
    pub name: String,
    /// `rawId` of the credential, as all of the following in base64url without padding.
    #[schema(max_length = 1364, pattern = "^[A-Za-z0-9_-]*$")]
    pub credential_id: String,
    /// `response.clientDataJSON`.
    #[schema(max_length = 4096, pattern = "^[A-Za-z0-9_-]*$")]
    pub client_data: String,
    /// `response.attestationObject`.
    #[schema(max_length = 12288, pattern = "^[A-Za-z0-9_-]*$")]
    pub attestation_object: String,
}

/// What a passkey signed.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PasskeyAnswer)]
pub struct Answer {
    /// `rawId` of the credential, as all of the following in base64url without padding.
    #[schema(max_length = 1364, pattern = "^[A-Za-z0-9_-]*$")]
    pub credential_id: String,
    /// `response.clientDataJSON`.
    #[schema(max_length = 4096, pattern = "^[A-Za-z0-9_-]*$")]
    pub client_data: String,
    /// `response.authenticatorData`.
    #[schema(max_length = 4096, pattern = "^[A-Za-z0-9_-]*$")]
    pub authenticator_data: String,
    /// `response.signature`.
    #[schema(max_length = 2048, pattern = "^[A-Za-z0-9_-]*$")]
    pub signature: String,
    /// `response.userHandle`.
    #[schema(max_length = 86, pattern = "^[A-Za-z0-9_-]*$")]
    pub user_handle: Option<String>,
}

/// The challenge in the client data of an answer.
///
/// # Errors
/// [`Refusal::Unreadable`] when there is none.
pub(super) fn challenge_of(client_data: &str) -> Result<Vec<u8>, Refusal> {
    Ok(Passki::base64_decode(&ClientData::from_base64(client_data)?.challenge)?)
}

/// One of `passki`'s types, which are made by reading them.
fn read<T: DeserializeOwned>(value: Value) -> Result<T, Refusal> {
    serde_json::from_value(value).map_err(|_| Refusal::Unreadable)
}

fn stored(passkey: &Passkey) -> Result<StoredPasskey, Refusal> {
    let mut stored = StoredPasskey::default();
    stored.credential_id = Passki::base64_decode(&passkey.id)?;
    stored.public_key = Passki::base64_decode(&passkey.public_key)?;
    stored.algorithm = passkey.algorithm;
    // The counter stays 0, which lets any pass: it is compared where it is kept, after the signature over it is known to be
    // right and in the same compare-and-set, so that nobody can report a copy that does not exist.
    Ok(stored)
}

/// Whose passkeys they are: this site, under the address that people use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelyingParty {
    id: String,
    origin: String,
}

impl RelyingParty {
    /// The relying party of an address; `None` where browsers give no passkeys: at an IP address, or without https unless
    /// it is `localhost`.
    pub fn of(url: &url::Url) -> Option<Self> {
        let Some(url::Host::Domain(host)) = url.host() else { return None };
        let is_secure = url.scheme() == "https" || (url.scheme() == "http" && host == "localhost");
        is_secure.then(|| Self { id: host.to_owned(), origin: url.origin().ascii_serialization() })
    }

    /// The relying party ID: the host.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn passki(&self) -> Passki {
        Passki::new(&self.id, &[&self.origin], NAME)
    }

    fn adding(&self, account: &Account, handle: &str) -> Result<(Value, RegistrationState), Refusal> {
        let known = account.passkeys().iter().map(stored).collect::<Result<Vec<_>, _>>()?;
        let mut options = RegistrationOptions::default();
        options.timeout = LIFE_US / 1_000;
        // Discoverable: signing in asks for no name.
        options.resident_key = ResidentKeyRequirement::Required;
        options.user_verification = UserVerificationRequirement::Required;
        options.exclude_credentials = Some(&known);
        let handle = Passki::base64_decode(handle)?;
        let (mut asked, state) =
            self.passki().start_passkey_registration(&handle, &account.name, &account.name, options)?;
        asked.pub_key_cred_params.retain(|offered| ALGORITHMS.contains(&offered.alg));
        Ok((serde_json::to_value(asked).map_err(|_| Refusal::Unreadable)?, state))
    }

    fn signing_in(&self, known: &[Passkey]) -> Result<(Value, AuthenticationState), Refusal> {
        let known = known.iter().map(stored).collect::<Result<Vec<_>, _>>()?;
        let mut options = AuthenticationOptions::default();
        options.timeout = LIFE_US / 1_000;
        options.user_verification = UserVerificationRequirement::Required;
        let (asked, state) = self.passki().start_passkey_authentication(&known, options)?;
        Ok((serde_json::to_value(asked).map_err(|_| Refusal::Unreadable)?, state))
    }

    /// What a page passes to `navigator.credentials.create()` to add a passkey to an account, as
    /// `PublicKeyCredentialCreationOptionsJSON`.
    ///
    /// # Errors
    /// When what is stored of the account's passkeys cannot be read.
    pub(super) fn creation(&self, account: &Account, handle: &str, challenge: &[u8]) -> Result<Value, Refusal> {
        let (mut asked, _) = self.adding(account, handle)?;
        asked["challenge"] = json!(Passki::base64_encode(challenge));
        Ok(asked)
    }

    /// What a page passes to `navigator.credentials.get()`, as `PublicKeyCredentialRequestOptionsJSON`: for one of the
    /// `known` passkeys, or for any of this site's.
    ///
    /// # Errors
    /// As [`RelyingParty::creation`].
    pub(super) fn request(&self, known: &[Passkey], challenge: &[u8]) -> Result<Value, Refusal> {
        let (mut asked, _) = self.signing_in(known)?;
        asked["challenge"] = json!(Passki::base64_encode(challenge));
        Ok(asked)
    }

    /// The passkey that a browser made for a challenge which may be answered: §7.1. That nobody has it already (step 26) is
    /// for the caller.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn made(
        &self,
        account: &Account,
        handle: &str,
        challenge: Vec<u8>,
        made: &Made,
        now_us: u64,
    ) -> Result<Passkey, Refusal> {
        let credential: RegistrationCredential = read(json!({
            "rawId": made.credential_id,
            "response": {"clientDataJSON": made.client_data, "attestationObject": made.attestation_object},
        }))?;
        let (_, mut state) = self.adding(account, handle)?;
        state.challenge = challenge;
        let new = self.passki().finish_passkey_registration(&credential, &state)?;
        // Step 20: one of the algorithms that were asked for. Step 25: no longer than it may be.
        let is_right = ALGORITHMS.contains(&new.algorithm)
            && new.credential_id.len() <= MAX_ID_BYTES
            && new.public_key.len() <= MAX_KEY_BYTES;
        if !is_right {
            return Err(Refusal::Unreadable);
        }
        Ok(Passkey {
            id: Passki::base64_encode(&new.credential_id),
            name: made.name.clone(),
            public_key: Passki::base64_encode(&new.public_key),
            algorithm: new.algorithm,
            counter: new.counter,
            may_sync: new.be,
            party: self.id.clone(),
            created_at_us: now_us,
            used_at_us: None,
        })
    }

    /// Uses a passkey whose challenge may be answered: §7.2. Whose it is (step 6) is for the caller.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub(super) fn answered(
        &self,
        passkey: &mut Passkey,
        challenge: Vec<u8>,
        answer: &Answer,
        now_us: u64,
    ) -> Result<(), Refusal> {
        let credential: AuthenticationCredential = read(json!({
            "rawId": answer.credential_id,
            "response": {
                "clientDataJSON": answer.client_data,
                "authenticatorData": answer.authenticator_data,
                "signature": answer.signature,
            },
        }))?;
        let (_, mut state) = self.signing_in(std::slice::from_ref(passkey))?;
        state.challenge = challenge;
        let result = self.passki().finish_passkey_authentication(&credential, &state, &stored(passkey)?)?;
        // Step 19: whether it may be copied was said for good when it was made.
        let flags = Passki::base64_decode(&answer.authenticator_data)?.get(FLAGS_AT).copied().unwrap_or_default();
        if (flags & BACKUP_ELIGIBLE != 0) != passkey.may_sync {
            return Err(Refusal::Changed);
        }
        // Step 22. An authenticator that does not count says 0 for ever.
        if (result.counter, passkey.counter) != (0, 0) && result.counter <= passkey.counter {
            return Err(Refusal::Counter);
        }
        (passkey.counter, passkey.used_at_us) = (result.counter, Some(now_us));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(url: &str) -> Option<(String, String)> {
        RelyingParty::of(&url.parse().unwrap()).map(|party| (party.id, party.origin))
    }

    #[test]
    fn a_relying_party_is_a_host_name_with_https_or_localhost() {
        let of = |id: &str, origin: &str| Some((id.to_owned(), origin.to_owned()));
        assert_eq!(party("https://vote.example.org/notes/"), of("vote.example.org", "https://vote.example.org"));
        assert_eq!(party("https://vote.example.org:8443"), of("vote.example.org", "https://vote.example.org:8443"));
        assert_eq!(party("https://été.example"), of("xn--t-9fab.example", "https://xn--t-9fab.example"));
        assert_eq!(party("http://localhost:8080"), of("localhost", "http://localhost:8080"));
        for without in ["http://vote.example.org", "https://192.0.2.1", "http://127.0.0.1:8080", "http://[::1]:8080"] {
            assert_eq!(party(without), None, "{without}");
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// §16.1.1 of WebAuthn Level 3, "ES256 Credential with No Attestation", of the relying party `example.org`.
    mod vector {
        pub(super) const CREATED: &str = "a363666d74646e6f6e656761747453746d74a068617574684461746158a4bfabc37432958b063360\
            d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b559000000008446ccb9ab1db374750b2367ff6f3a1f0020f91f391db4c9b2fde0ea\
            70189cba3fb63f579ba6122b33ad94ff3ec330084be4a5010203262001215820afefa16f97ca9b2d23eb86ccb64098d20db90856062eb2\
            49c33a9b672f26df61225820930a56b87a2fca66334b03458abf879717c12cc68ed73290af2e2664796b9220";
        pub(super) const ID: &str = "f91f391db4c9b2fde0ea70189cba3fb63f579ba6122b33ad94ff3ec330084be4";
        pub(super) const CREATE_CHALLENGE: &str = "00c30fb78531c464d2b6771dab8d7b603c01162f2fa486bea70f283ae556e130";
        pub(super) const CREATE_DATA: &str = concat!(
            r#"{"type":"webauthn.create","challenge":"AMMPt4UxxGTStncdq417YDwBFi8vpIa-pw8oOuVW4TA","#,
            r#""origin":"https://example.org","crossOrigin":false,"extraData":"clientDataJSON may be extended with "#,
            r#"additional fields in the future, such as this: BkQeDjdcTBrXBiAwJTLE5Q"}"#
        );
        pub(super) const GET_CHALLENGE: &str = "39c0e7521417ba54d43e8dc95174f423dee9bf3cd804ff6d65c857c9abf4d408";
        pub(super) const GET_DATA: &str = concat!(
            r#"{"type":"webauthn.get","challenge":"OcDnUhQXulTUPo3JUXT0I97pvzzYBP9tZchXyav01Ag","#,
            r#""origin":"https://example.org","crossOrigin":false}"#
        );
        pub(super) const AUTHENTICATOR_DATA: &str =
            "bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b51900000000";
        pub(super) const SIGNATURE: &str = "3046022100f50a4e2e4409249c4a853ba361282f09841df4dd4547a13a87780218deffcd38022100\
            8480ac0f0b93538174f575bf11a1dd5d78c6e486013f937295ea13653e331e87";
    }

    fn base64url(text: &str) -> String {
        Passki::base64_encode(&hex(&text.replace(char::is_whitespace, "")))
    }

    #[test]
    fn the_vectors_of_the_standard_are_read_and_their_signature_is_right() {
        let party = RelyingParty::of(&"https://example.org".parse().unwrap()).unwrap();
        // Their authenticator verifies nobody, which is refused here, and nowhere before the signature otherwise.
        let account = account();
        let made = Made {
            name: "x".to_owned(),
            credential_id: base64url(vector::ID),
            client_data: Passki::base64_encode(vector::CREATE_DATA.as_bytes()),
            attestation_object: base64url(vector::CREATED),
        };
        assert_eq!(challenge_of(&made.client_data), Ok(hex(vector::CREATE_CHALLENGE)));
        let handle = Passki::base64_encode(&[7; 32]);
        let refused = party.made(&account, &handle, hex(vector::CREATE_CHALLENGE), &made, 1);
        assert_eq!(refused, Err(Refusal::Unverified));
        let (_, mut state) = party.adding(&account, &handle).unwrap();
        (state.challenge, state.user_verification) =
            (hex(vector::CREATE_CHALLENGE), UserVerificationRequirement::Discouraged);
        let credential = read(json!({
            "rawId": made.credential_id,
            "response": {"clientDataJSON": made.client_data, "attestationObject": made.attestation_object},
        }));
        let stored = party.passki().finish_passkey_registration(&credential.unwrap(), &state).unwrap();
        assert_eq!((stored.algorithm, stored.counter, stored.be), (-7, 0, true));
        assert!(stored.public_key.len() <= MAX_KEY_BYTES);

        let (_, mut state) = party.signing_in(&[]).unwrap();
        (state.challenge, state.user_verification) =
            (hex(vector::GET_CHALLENGE), UserVerificationRequirement::Discouraged);
        let answer = |signature: &str| -> AuthenticationCredential {
            let response = json!({
                "clientDataJSON": Passki::base64_encode(vector::GET_DATA.as_bytes()),
                "authenticatorData": base64url(vector::AUTHENTICATOR_DATA),
                "signature": signature,
            });
            read(json!({"rawId": base64url(vector::ID), "response": response})).unwrap()
        };
        let check = |signature: &str| party.passki().finish_passkey_authentication(&answer(signature), &state, &stored);
        assert_eq!(check(&base64url(vector::SIGNATURE)).unwrap().counter, 0);
        let wrong = base64url(&vector::SIGNATURE.replace("331e87", "331e86"));
        assert!(matches!(check(&wrong), Err(PasskiError::SignatureVerificationFailed)));
    }

    fn account() -> Account {
        Account {
            name: "Éloïse".to_owned(),
            role: crate::catalogue::Role::Admin,
            password_hash: String::new(),
            created_at_us: 1,
            second_factor: None,
            pending_factor: None,
            passkeys: None,
        }
    }

    #[test]
    fn a_page_is_asked_for_a_discoverable_passkey_that_verifies_its_owner() {
        let party = RelyingParty::of(&"https://vote.example.org/notes".parse().unwrap()).unwrap();
        let handle = Passki::base64_encode(&[7; 32]);
        let asked = party.creation(&account(), &handle, b"challenge").unwrap();
        assert_eq!(asked["rp"], json!({"name": "Barème", "id": "vote.example.org"}));
        assert_eq!(asked["user"], json!({"id": handle, "name": "Éloïse", "displayName": "Éloïse"}));
        assert_eq!(asked["challenge"], "Y2hhbGxlbmdl");
        let offered = asked["pubKeyCredParams"].as_array().unwrap().iter().map(|one| one["alg"].as_i64().unwrap());
        assert_eq!(offered.collect::<Vec<_>>(), ALGORITHMS.map(i64::from));
        assert_eq!(asked["authenticatorSelection"], json!({"residentKey": "required", "userVerification": "required"}));
        assert_eq!((&asked["attestation"], &asked["timeout"]), (&json!("none"), &json!(300_000)));
        let asked = party.request(&[], b"challenge").unwrap();
        let wanted = json!({"challenge": "Y2hhbGxlbmdl", "timeout": 300_000, "rpId": "vote.example.org",
            "allowCredentials": [], "userVerification": "required"});
        assert_eq!(asked, wanted);
    }
}
