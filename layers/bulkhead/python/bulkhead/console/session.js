// Who is signed in: a token in this tab's sessionStorage, and never in a URL. Sign-in by code with PKCE (RFC 7636) where the issuer has it.

const TOKEN = "bulkhead-token";
const PENDING = "bulkhead-sign-in";

export class Session extends EventTarget {
  constructor() {
    super();
    this.token = sessionStorage.getItem(TOKEN) ?? "";
    this.open = false;
    /** The server's SMART configuration, once it is known. */
    this.configuration = null;
  }

  get claims() {
    return this.open ? { scope: "system/*.cruds accounts.write" } : claimsOf(this.token);
  }

  /** Whether requests can be sent: there is a token, or the server needs none. */
  get ready() {
    return this.open || Boolean(this.token);
  }

  /** Whether the server explains access to this token (docs/sharing.md): it reads without a fence, or may set accounts. */
  get explains() {
    const claims = this.claims;
    return maySetAccounts(claims) || !isFenced(claims);
  }

  set(token) {
    this.token = token;
    token ? sessionStorage.setItem(TOKEN, token) : sessionStorage.removeItem(TOKEN);
    this.dispatchEvent(new Event("change"));
  }

  /** Read what the server says of its tokens; then finish a sign-in that the issuer has sent back. Error with a text for the user. */
  async start() {
    const url = new URL("fhir/R4/.well-known/smart-configuration", document.baseURI);
    const answer = await fetch(url, { credentials: "omit" }).catch(() => ({ ok: false }));
    if (!answer.ok) throw new Error("The server does not say how to sign in. Reload the page to try again.");
    this.configuration = await answer.json();
    this.open = !this.configuration.issuer && !this.configuration.token_endpoint;
    this.dispatchEvent(new Event("change"));
    await this.#finish();
  }

  get signsIn() {
    const known = this.configuration ?? {};
    return Boolean(known.authorization_endpoint && known.token_endpoint && crypto.subtle);
  }

  /** Leave for the issuer. */
  async signIn(client, scope) {
    const verifier = base64url(crypto.getRandomValues(new Uint8Array(32)));
    const state = base64url(crypto.getRandomValues(new Uint8Array(16)));
    const hashed = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
    sessionStorage.setItem(PENDING, JSON.stringify({ verifier, state, client, hash: location.hash }));
    const url = new URL(this.configuration.authorization_endpoint);
    const query = {
      response_type: "code",
      client_id: client,
      redirect_uri: redirectUri(),
      scope,
      state,
      aud: new URL("fhir/R4", document.baseURI).href,
      code_challenge: base64url(new Uint8Array(hashed)),
      code_challenge_method: "S256",
    };
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    location.assign(url);
  }

  async #finish() {
    const query = new URLSearchParams(location.search);
    const pending = JSON.parse(sessionStorage.getItem(PENDING) ?? "null");
    if (!query.has("state") && !query.has("code") && !query.has("error")) return;
    sessionStorage.removeItem(PENDING);
    history.replaceState(null, "", location.pathname + (pending?.hash ?? ""));
    if (!pending || query.get("state") !== pending.state) throw new Error("The sign-in was not started in this tab: sign in again.");
    if (query.has("error")) throw new Error(query.get("error_description") ?? `The issuer refused the sign-in: ${query.get("error")}`);
    const form = {
      grant_type: "authorization_code",
      code: query.get("code") ?? "",
      redirect_uri: redirectUri(),
      client_id: pending.client,
      code_verifier: pending.verifier,
    };
    const answer = await fetch(this.configuration.token_endpoint, { method: "POST", body: new URLSearchParams(form), credentials: "omit" });
    const found = await answer.json().catch(() => ({}));
    if (!answer.ok || !found.access_token) throw new Error(found.error_description ?? "The issuer gave no token for the sign-in.");
    this.set(found.access_token);
    dispatchEvent(new HashChangeEvent("hashchange"));
  }
}

function redirectUri() {
  return location.origin + location.pathname;
}

/** The claims in a token, unchecked: the server checks it, the page only shows them. {} where it is no JWT. */
export function claimsOf(token) {
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0))));
  } catch {
    return {};
  }
}

/** The accounts that fence; null where the claim is not there. As for the server, one that cannot be read fences to nothing. */
export function accountsOf(claims) {
  const given = claims.accounts;
  if (given === undefined) return null;
  const list = typeof given === "string" && /^\[(.*)\]$/.exec(given);
  const words = Array.isArray(given) ? given : list ? list[1].split(/\s+/).filter(Boolean) : [given];
  return words.every((word) => typeof word === "string" && /^[A-Z][A-Za-z]*\/[A-Za-z0-9.-]{1,64}$/.test(word)) ? words : [];
}

/** The id of the patient that fences; null where nothing asks for one, "" where the claim cannot be read, or a scope asks for one and it is not there. */
export function patientOf(claims) {
  const given = claims.patient;
  if (given === undefined && !scopeOf(claims).split(/\s+/).some((scope) => scope.startsWith("patient/"))) return null;
  return typeof given === "string" && /^[A-Za-z0-9.-]{1,64}$/.test(given) ? given : "";
}

export function scopeOf(claims) {
  const given = claims.scope ?? claims.scp ?? "";
  return Array.isArray(given) ? given.join(" ") : given;
}

export function isFenced(claims) {
  return accountsOf(claims) !== null || patientOf(claims) !== null;
}

export function maySetAccounts(claims) {
  // Cognito puts the name of its resource server before every scope (docs/operations/identity.md).
  return scopeOf(claims).split(/\s+/).some((scope) => scope === "accounts.write" || scope === "bulkhead/accounts.write");
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
