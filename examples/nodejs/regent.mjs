// A client of a regent cluster, made of the stock NATS library and of nothing
// that is regent's: subjects, JSON, and headers, as docs/api.md describes them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { connect, credsAuthenticator, nkeyAuthenticator } from "@nats-io/transport-node";

const read = (...path) => readFileSync(join(...path));

// files are what "regent cookie creds --dir DIR" wrote. On servers that are not
// the nodes' own there is an nkey instead of creds and certificates.
export function filesOf(dir) {
  const options = { servers: read(dir, "url").toString().trim().split(",") };
  try {
    options.authenticator = credsAuthenticator(read(dir, "creds"));
    options.tls = { caFile: join(dir, "ca"), certFile: join(dir, "cert"), keyFile: join(dir, "key") };
  } catch {
    options.authenticator = nkeyAuthenticator(new TextEncoder().encode(read(dir, "nkey").toString().trim()));
  }
  return options;
}

// token is a name as one part of a subject: other bytes than letters, digits,
// _ and - are =XX.
export function token(name) {
  return [...new TextEncoder().encode(name)]
    .map((b) => (/[A-Za-z0-9_-]/.test(String.fromCharCode(b)) ? String.fromCharCode(b) : "=" + b.toString(16).toUpperCase().padStart(2, "0")))
    .join("");
}

// Refusal is an answer that says no: code and words are the node's.
export class Refusal extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export class Regent {
  constructor(nc, cluster = "default") {
    this.nc = nc;
    this.cluster = cluster;
  }

  static async connect(options, cluster) {
    return new Regent(await connect(options), cluster);
  }

  // call asks one node for a verb. Without an answer in time nobody knows
  // whether it was done: the error is the library's, not a Refusal.
  async call(node, verb, request = {}, timeout = 10_000) {
    const subject = `regent.${this.cluster}.api.${token(node)}.${verb}`;
    const reply = await this.nc.request(subject, JSON.stringify(request), { timeout });
    const code = reply.headers?.get("Nats-Service-Error-Code");
    if (code) throw new Refusal(Number(code), reply.headers.get("Nats-Service-Error"));
    return reply.json();
  }

  status(node) {
    return this.call(node, "status");
  }

  // start returns when the app runs somewhere: that may take as long as its
  // better nodes need.
  start(app, node, timeout) {
    return this.call(node, "start", { app }, timeout);
  }

  takeover(app, node, timeout) {
    return this.call(node, "takeover", { app }, timeout);
  }

  stop(app, node) {
    return this.call(node, "stop", { app });
  }

  // events follows what happens from now on, as it is published. Whoever needs
  // what came before reads the stream regent_CLUSTER_events.
  async *events() {
    for await (const m of this.nc.subscribe(`regent.${this.cluster}.event.>`)) yield m.json();
  }

  close() {
    return this.nc.drain();
  }
}
