//! An authenticator in software, for tests: it makes passkeys and signs with them, and does it wrong where a test says so.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(super) const PRESENT: u8 = 0x01;
pub(super) const VERIFIED: u8 = 0x04;
pub(super) const MAY_SYNC: u8 = 0x08;
const ATTESTED: u8 = 0x40;

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A byte string in CBOR.
fn cbor(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0x59, length[0], length[1]], bytes].concat()
}

/// A private key, and the algorithm by which COSE knows it.
pub(super) enum Key {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(Box<RsaKeyPair>),
    /// As the first one, under a number of COSE that nobody asked for.
    Unasked(EcdsaKeyPair),
}

impl Key {
    pub(super) fn es256() -> Self {
        Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    pub(super) fn unasked() -> Self {
        Self::Unasked(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    pub(super) fn ed25519() -> Self {
        Self::EdDsa(Ed25519KeyPair::generate().unwrap())
    }

    pub(super) fn rs256() -> Self {
        Self::Rs256(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    /// The public key as COSE: RFC 9053.
    fn cose(&self) -> Vec<u8> {
        match self {
            Self::Es256(pair) | Self::Unasked(pair) => {
                let (point, alg) =
                    (pair.public_key().as_ref(), if matches!(self, Self::Es256(_)) { 0x26 } else { 0x2c });
                // kty EC2, alg ES256 (or -13), crv P-256, x, y
                [&[0xa5, 1, 2, 3, alg, 0x20, 1, 0x21][..], &cbor(&point[1..33]), &[0x22], &cbor(&point[33..])].concat()
            }
            // kty OKP, alg EdDSA, crv Ed25519, x
            Self::EdDsa(pair) => {
                [&[0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21][..], &cbor(pair.public_key().as_ref())].concat()
            }
            Self::Rs256(pair) => {
                let public = pair.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
                // kty RSA, alg RS256, n, e
                [&[0xa4, 1, 3, 3, 0x39, 1, 0, 0x20][..], &cbor(n), &[0x21], &cbor(e)].concat()
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Es256(pair) | Self::Unasked(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

/// A passkey, and what its authenticator and browser say of it.
pub(super) struct Passkey {
    key: Key,
    pub(super) id: Vec<u8>,
    pub(super) handle: Option<String>,
    /// The relying party ID whose hash is signed.
    pub(super) party: String,
    /// Where the page is from, as the browser says.
    pub(super) origin: String,
    /// Whether the page is framed by another site.
    pub(super) is_framed: bool,
    pub(super) flags: u8,
    /// What the next answer says it counts; 0: it counts nothing.
    pub(super) counter: u32,
}

impl Passkey {
    /// As a browser at `origin` makes it with `options`.
    pub(super) fn make(key: Key, origin: &str, options: &Value) -> Self {
        let id: [u8; 24] = rand::random();
        Self {
            key,
            id: id.to_vec(),
            handle: Some(options["user"]["id"].as_str().unwrap().to_owned()),
            party: options["rp"]["id"].as_str().unwrap().to_owned(),
            origin: origin.to_owned(),
            is_framed: false,
            flags: PRESENT | VERIFIED,
            counter: 0,
        }
    }

    pub(super) fn id(&self) -> String {
        encode(&self.id)
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        let data = json!({"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": self.is_framed});
        data.to_string().into_bytes()
    }

    fn authenticator_data(&self, flags: u8) -> Vec<u8> {
        [&Sha256::digest(self.party.as_bytes())[..], &[flags], &self.counter.to_be_bytes()].concat()
    }

    /// What a page sends to add it.
    pub(super) fn made(&self, name: &str, options: &Value) -> Value {
        let length = u16::try_from(self.id.len()).unwrap().to_be_bytes();
        let attested = [&[0; 16][..], &length, &self.id, &self.key.cose()].concat();
        let data = [self.authenticator_data(self.flags | ATTESTED), attested].concat();
        // {"fmt": "none", "attStmt": {}, "authData": data}
        let object = [&b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData"[..], &cbor(&data)].concat();
        json!({
            "name": name,
            "credential_id": self.id(),
            "client_data": encode(&self.client_data("webauthn.create", options)),
            "attestation_object": encode(&object),
        })
    }

    /// What a page sends to use it.
    pub(super) fn answer(&self, options: &Value) -> Value {
        let (client, data) = (self.client_data("webauthn.get", options), self.authenticator_data(self.flags));
        let signature = self.key.sign(&[&data[..], &Sha256::digest(&client)].concat());
        let mut answer = json!({
            "credential_id": self.id(),
            "client_data": encode(&client),
            "authenticator_data": encode(&data),
            "signature": encode(&signature),
        });
        if let Some(handle) = &self.handle {
            answer["user_handle"] = json!(handle);
        }
        answer
    }
}
