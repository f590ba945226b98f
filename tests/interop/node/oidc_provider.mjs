// An OpenID provider that nobody here wrote: the npm package oidc-provider, on this machine, with clients of every kind that we can be.
//
// `node oidc_provider.mjs DIRECTORY LOGOUT CALLBACK`, with the directory that `.ci/checkers` fills, the URL to which logout tokens are sent, and the one
// to which the client `cedarkeep` comes back. It prints its
// issuer as one line of JSON and serves until its standard input ends.
import { createServer } from "node:http";
import crypto from "node:crypto";
import path from "node:path";
import { pathToFileURL } from "node:url";

if (!crypto.hash) {
  throw new Error(`oidc-provider needs Node 20.12 or newer, this is ${process.version}`);
}

const entry = path.join(process.argv[2], "node_modules", "oidc-provider", "lib", "index.js");
const { Provider } = await import(pathToFileURL(entry).href);

const key = (type, options, more) => ({
  ...crypto.generateKeyPairSync(type, options).privateKey.export({ format: "jwk" }),
  ...more,
});

const callback = "https://app.example/sign-in/oidc/callback";
const client = (client_id, alg, method, more) => ({
  client_id,
  redirect_uris: [callback],
  response_types: ["code"],
  grant_types: ["authorization_code"],
  id_token_signed_response_alg: alg,
  token_endpoint_auth_method: method,
  ...(method === "none" ? {} : { client_secret: "a secret: with % and + in it" }),
  ...more,
});

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://localhost:${server.address().port}`;
  const logout = { backchannel_logout_uri: process.argv[3], backchannel_logout_session_required: true };
  const provider = new Provider(issuer, {
    clients: [
      client("basic-rs256", "RS256", "client_secret_basic", logout),
      client("post-ps256", "PS256", "client_secret_post"),
      client("public-es256", "ES256", "none"),
      client("basic-eddsa", "EdDSA", "client_secret_basic"),
      client("cedarkeep", "RS256", "client_secret_basic", { redirect_uris: [process.argv[4]], ...logout }),
    ],
    enabledJWA: {
      idTokenSigningAlgValues: ["RS256", "PS256", "ES256", "EdDSA"],
    },
    jwks: {
      keys: [
        key("rsa", { modulusLength: 2048 }, { kid: "rsa", use: "sig" }),
        key("ec", { namedCurve: "P-256" }, { kid: "ec", use: "sig" }),
        key("ed25519", {}, { kid: "ed", use: "sig", alg: "EdDSA" }),
      ],
    },
    cookies: { keys: ["signs cookies of one test"] },
    claims: {
      openid: ["sub"],
      email: ["email", "email_verified"],
      profile: ["name"],
      groups: ["groups"],
    },
    scopes: ["openid", "email", "profile", "groups"],
    features: { backchannelLogout: { enabled: true } },
    // Without the dispatcher by which it refuses to speak to this machine, where the test listens.
    fetch: (url, { dispatcher: _, ...options }) => globalThis.fetch(url, options),
    findAccount: (_, sub) => ({
      accountId: sub,
      claims: () => ({
        sub,
        email: `${sub}@example.com`,
        email_verified: true,
        name: `The one called ${sub}`,
        groups: ["staff", "finance"],
      }),
    }),
  });
  server.on("request", provider.callback());
  console.log(JSON.stringify({ issuer }));
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
