// Sign in: by the issuer where it has code and PKCE, else by a token.

import { html, nothing } from "./lit.js";
import { View, fault } from "./view.js";

const SCOPE = "openid user/*.cruds accounts.write";

/** The token in what was pasted: a terminal breaks it into lines. */
const tokenIn = (text) => text.trim().replace(/^(Bearer\s+|TOKEN\w*=)/i, "").replace(/\s+/g, "");

class SignIn extends View {
  static properties = { ...View.properties, told: { attribute: false } };

  render() {
    const { session } = this.api;
    return html`<main class="page narrow" id="main" tabindex="-1">
      <h1>Who can see this, and why</h1>
      <p>This page shows a patient’s records, who sees which of them and for what reason, and what a share would do before it happens. It asks the server with your token, and can do what your token can.</p>
      ${fault(this.told)} ${fault(this.error)}
      ${session.signsIn ? this.issuer() : nothing}
      <form class="panel" @submit=${this.paste}>
        <label for="token">${session.signsIn ? "Or paste a token" : "Paste a token"}</label>
        <textarea id="token" name="token" rows="4" required spellcheck="false" autocomplete="off" placeholder="eyJ…" @input=${(event) => event.target.setCustomValidity("")}></textarea>
        <small>On your own machine, <code>make serve</code> prints tokens and <code>make token</code> makes more. It stays in this tab, and goes when you close it.</small>
        <p class="actions"><button>Open</button></p>
      </form>
    </main>`;
  }

  issuer() {
    const client = document.querySelector('meta[name="console-client"]').content;
    return html`<form class="panel" @submit=${this.leave}>
      <h2>Sign in</h2>
      ${client ? nothing : html`<label for="client">Client id of this page at the issuer</label><input id="client" name="client" required autocomplete="off">`}
      <label for="scope">Scopes</label><input id="scope" name="scope" .value=${SCOPE} autocomplete="off">
      <p class="actions"><button>Sign in at ${new URL(this.api.session.configuration.authorization_endpoint).host}</button></p>
    </form>`;
  }

  leave(event) {
    event.preventDefault();
    const form = new FormData(event.target);
    const client = document.querySelector('meta[name="console-client"]').content || form.get("client");
    return this.attempt(() => this.api.session.signIn(client, form.get("scope")));
  }

  paste(event) {
    event.preventDefault();
    const { token: field } = event.target.elements;
    const token = tokenIn(field.value);
    // In a header, another character would be an error that looks like a lost connection.
    field.setCustomValidity(/^[\x21-\x7e]+$/.test(token) ? "" : "This is no token: it has characters that no token has.");
    if (field.reportValidity()) this.api.session.set(token);
  }
}
customElements.define("sign-in", SignIn);
