// @ts-check
/** Passkeys of this browser: whether it has any here, making one and using one. */

/** What went wrong between this page, the browser and the person; its message is the key of the words for it. */
export class PasskeyProblem extends Error {}

/**
 * Why this browser has no passkeys here, as the key of the words for it; empty when it has.
 *
 * @param {string} party the host that the server makes them for; empty when its address is none for passkeys
 */
export function whyNoPasskeys(party) {
  if (!window.isSecureContext) return "admin.passkeys.insecure";
  if (party === "") return "admin.passkeys.numbers";
  if (location.hostname !== party) return "admin.passkeys.elsewhere";
  return "PublicKeyCredential" in window && navigator.credentials ? "" : "admin.passkeys.no_browser";
}

// By hand, and not with `toJSON()` and its like: what password managers put in their place does not have them all.
/** @param {string} text */
const bytesOf = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
/** @param {ArrayBuffer} bytes */
const textOf = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
/** @param {{id: string, type: "public-key"}[]} list */
const idsOf = (list) => list.map((one) => ({ ...one, id: bytesOf(one.id) }));

/**
 * @param {Promise<Credential|null>} asked
 * @returns {Promise<PublicKeyCredential>}
 */
async function given(asked) {
  const credential = await asked.catch((error) => {
    // Browsers say one thing for all that went otherwise, so that pages learn nothing of who has what.
    throw new PasskeyProblem(error?.name === "InvalidStateError" ? "admin.passkeys.on_device" : "admin.passkeys.cancelled");
  });
  if (credential === null) throw new PasskeyProblem("admin.passkeys.cancelled");
  return /** @type {PublicKeyCredential} */ (credential);
}

/**
 * Makes a passkey as the server asks for it; what the server is sent.
 *
 * @param {any} options `PublicKeyCredentialCreationOptionsJSON`
 */
export async function makePasskey(options) {
  const publicKey = { ...options, challenge: bytesOf(options.challenge), user: { ...options.user, id: bytesOf(options.user.id) }, excludeCredentials: idsOf(options.excludeCredentials) };
  const { rawId, response } = await given(navigator.credentials.create({ publicKey }));
  const { attestationObject, clientDataJSON } = /** @type {AuthenticatorAttestationResponse} */ (response);
  return { credential_id: textOf(rawId), client_data: textOf(clientDataJSON), attestation_object: textOf(attestationObject) };
}

/**
 * Uses a passkey as the server asks for it; what the server is sent.
 *
 * @param {any} options `PublicKeyCredentialRequestOptionsJSON`
 */
export async function usePasskey(options) {
  const publicKey = { ...options, challenge: bytesOf(options.challenge), allowCredentials: idsOf(options.allowCredentials) };
  const { rawId, response } = await given(navigator.credentials.get({ publicKey }));
  const { authenticatorData, clientDataJSON, signature, userHandle } = /** @type {AuthenticatorAssertionResponse} */ (response);
  return {
    credential_id: textOf(rawId),
    client_data: textOf(clientDataJSON),
    authenticator_data: textOf(authenticatorData),
    signature: textOf(signature),
    ...(userHandle && { user_handle: textOf(userHandle) }),
  };
}
