"use strict";
// The dashboard: reads /v1/services every two seconds and whenever an event says so. Everything that comes from the
// server is set as text, never as markup.

const POLL_MS = 2000;
const HISTORY_ENTRIES = 5;
const SLOTS = ["blue", "green"];

const byId = (id) => document.getElementById(id);
const cards = new Map();
let token = sessionStorage.getItem("token");

// --- elements

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const text = (name, content, kind) => element(name, { class: kind }, content);

function age(ms) {
  if (ms < 1000) return `${ms} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3600000) return `${Math.floor(ms / 60000)} min ${Math.floor(ms / 1000) % 60} s`;
  return `${Math.floor(ms / 3600000)} h ${Math.floor(ms / 60000) % 60} min`;
}

// --- the API

class Refused extends Error {
  constructor(status, problem) {
    super(problem.message || `status ${status}`);
    this.status = status;
    this.problem = problem;
  }

  inWords() {
    const failed = (this.problem.gate?.steps || []).filter((step) => step.result === "fail");
    const evidence = failed.flatMap((step) => step.evidence).filter((line) => !this.message.includes(line));
    return [this.message, ...evidence, this.problem.hint].filter(Boolean).join("\n");
  }
}

function open(method, path, body) {
  const headers = { "x-verdigris-actor": "dashboard" };
  if (token) headers.authorization = `Bearer ${token}`;
  return fetch(path, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
}

async function call(method, path, body) {
  const answer = await open(method, path, body);
  const json = await answer.json().catch(() => ({}));
  if (answer.status === 401) logIn(json.message);
  if (!answer.ok) throw new Refused(answer.status, json);
  return json;
}

function logIn(why) {
  if (byId("login").open) return;
  if (token) byId("login-text").textContent = why;
  byId("login-token").value = "";
  byId("login").showModal();
}

function say(where, message) {
  const place = where === "config" ? byId("config") : byId("notice");
  if (place.textContent !== message) place.textContent = message;
  place.hidden = !message;
}

// --- a change, with its question

function ask(title, words, verb) {
  byId("ask-title").textContent = title;
  byId("ask-text").textContent = words;
  byId("ask-yes").textContent = verb;
  byId("ask-reason").value = "";
  byId("ask-force").checked = false;
  const dialog = byId("ask");
  dialog.showModal();
  return new Promise((resolve) => {
    byId("ask-no").onclick = () => dialog.close();
    dialog.onclose = () => resolve(null);
    byId("ask-yes").onclick = () => {
      const reason = byId("ask-reason").value.trim();
      resolve({ force: byId("ask-force").checked, ...(reason && { reason }) });
      dialog.close();
    };
  });
}

// The generation that was on the screen goes along: a click on an outdated picture changes nothing.
async function change(service, verb, to) {
  const words = `${service.active} serves now, at generation ${service.generation}. New requests will go to ${to}.`;
  const asked = await ask(`${verb === "switch" ? "Switch" : "Roll back"} ${service.name} to ${to}?`, words, verb === "switch" ? "Switch" : "Roll back");
  if (!asked) return;
  const body = { ...asked, if_generation: service.generation, ...(verb === "switch" && { to }) };
  try {
    await call("POST", `/v1/services/${service.name}/${verb}`, body);
    say("change", "");
  } catch (error) {
    say("change", `${verb} of ${service.name}: ${error instanceof Refused ? error.inWords() : error.message}`);
  }
  await refresh();
}

// --- one service

function facts(pairs) {
  const rows = pairs.filter(([, value]) => value !== undefined);
  return element("dl", {}, ...rows.flatMap(([key, value, kind]) => [text("dt", key), text("dd", value, kind)]));
}

function endpoint(each) {
  const kind = { healthy: "good", unhealthy: "bad" }[each.health] || "dim";
  const address = [each.http, each.grpc].filter(Boolean).join(" + ");
  const when = each.probed_ms_ago === undefined ? "" : `, ${age(each.probed_ms_ago)} ago`;
  return element("li", {}, text("span", each.health, kind), ` ${address} `, text("span", `${each.detail}${when}`, "dim"));
}

function slot(each, active) {
  const { in_flight: flight, oldest_ms: oldest, cut, safe_to_delete: safe, why } = each.drain;
  const healthy = each.endpoints.filter((one) => one.health === "healthy").length;
  const all = each.endpoints.length;
  return element("section", { class: `slot ${each.slot}${active ? " active" : ""}` },
    element("h3", {}, each.slot, text("span", each.phase)),
    facts([
      ["version", each.version || "none given", each.version ? undefined : "dim"],
      ["health", all ? `${healthy} of ${all} healthy` : "no endpoints", healthy === all ? (all ? "good" : "dim") : healthy ? "warn" : "bad"],
      ["in flight", `${flight.total} (${flight.unary} unary, ${flight.stream} stream, ${flight.tunnel} tunnel)`],
      ["oldest", oldest === undefined ? undefined : age(oldest)],
      ["cut", cut ? String(cut) : undefined, "warn"],
      ["safe to delete", `${safe ? "yes" : "no"}: ${why}`, safe ? "good" : undefined],
    ]),
    element("ul", {}, ...each.endpoints.map(endpoint)));
}

function historyRow(entry) {
  const what = entry.action + (entry.from && entry.to ? ` ${entry.from} → ${entry.to}` : "") + (entry.forced ? ", forced" : "");
  return element("tr", {},
    text("td", new Date(entry.at).toLocaleString()),
    text("td", what),
    text("td", entry.outcome, entry.outcome === "done" ? "good" : "bad"),
    text("td", String(entry.generation)),
    text("td", entry.actor),
    element("td", {}, entry.reason || "", ...(entry.contents || []).map(putIn)));
}

function putIn({ slot: where, endpoints }) {
  const addresses = endpoints.map(({ http, grpc }) => [http, grpc].filter(Boolean).join(" + "));
  return text("div", `${where}: ${addresses.join(", ") || "emptied"}`, "dim");
}

function historyTable(entries) {
  const names = ["when", "what", "outcome", "generation", "who", "why"];
  return element("table", {}, text("caption", "Last changes"),
    element("thead", {}, element("tr", {}, ...names.map((name) => text("th", name)))),
    element("tbody", {}, ...entries.map(historyRow)));
}

// Buttons stay the same elements for as long as the service is there, so that a redraw takes no click or focus away.
class Card {
  constructor(name) {
    this.switch = element("button", { type: "button", click: () => change(this.service, "switch", this.other) });
    this.rollback = element("button", { type: "button", click: () => change(this.service, "rollback", this.service.rollback.to) });
    this.about = element("span", { class: "dim" });
    this.pending = element("p", { class: "warn" });
    this.slots = element("div", { class: "slots" });
    this.history = element("div", { class: "scroll" });
    this.root = element("article", { class: "service" },
      element("div", { class: "top" }, text("h2", name), this.about, element("div", { class: "buttons" }, this.switch, this.rollback)),
      this.pending, this.slots, this.history);
  }

  get other() {
    return SLOTS.find((each) => each !== this.service.active);
  }

  show(service) {
    const isNew = this.service?.generation !== service.generation;
    this.service = service;
    this.about.textContent = `generation ${service.generation} · ${service.active} serves · ${service.matches}`;
    this.pending.textContent = service.pending || "";
    this.switch.textContent = `Switch to ${this.other}`;
    this.switch.disabled = service.slots[this.other].phase === "empty";
    this.rollback.textContent = service.rollback.to ? `Roll back to ${service.rollback.to}` : "Roll back";
    this.rollback.disabled = !service.rollback.to;
    this.rollback.title = service.rollback.why;
    this.slots.replaceChildren(...SLOTS.map((each) => slot(service.slots[each], each === service.active)));
    if (isNew) this.readHistory();
  }

  async readHistory() {
    try {
      const { entries } = await call("GET", `/v1/services/${this.service.name}/history?limit=${HISTORY_ENTRIES}`);
      this.history.replaceChildren(...(entries.length ? [historyTable(entries)] : []));
    } catch (error) {
      this.history.replaceChildren(text("p", `The history cannot be read: ${error.message}`, "bad"));
    }
  }
}

// --- the whole page

function showProcess(proxy) {
  byId("process").textContent = `${proxy.version} · up ${age(proxy.uptime_ms)} · ${proxy.config}`;
  const reload = proxy.reload;
  const refused = reload.ok ? [] : ["The config file is refused; what it said before still holds.", ...(reload.problems || [])];
  const waiting = (reload.needs_restart || []).map((line) => `After a restart: ${line}`);
  const certificates = (proxy.certificate_problems || []).map((line) => `Older certificates serve on: ${line}`);
  say("config", [...refused, ...certificates, ...waiting].join("\n"));
}

function show({ proxy, services }) {
  showProcess(proxy);
  const names = new Set(services.map((service) => service.name));
  for (const [name, card] of cards) {
    if (!names.has(name)) {
      card.root.remove();
      cards.delete(name);
    }
  }
  for (const service of services) {
    if (!cards.has(service.name)) {
      cards.set(service.name, new Card(service.name));
      byId("services").append(cards.get(service.name).root);
    }
    cards.get(service.name).show(service);
  }
}

let reading = null;
// Calls that come while one is under way share it; one more follows, because the answer may be older than they are.
function refresh() {
  reading ||= read().finally(() => { reading = null; });
  return reading;
}

async function read() {
  try {
    show(await call("GET", "/v1/services"));
    if (byId("link").className === "lost") link("live");
  } catch (error) {
    if (error.status !== 401) link("lost");
  }
}

function link(state) {
  byId("link").className = state;
  byId("link").textContent = { live: "live", lost: "the proxy does not answer" }[state];
}

function onEvent(block) {
  const lines = block.split("\n");
  const kind = lines.find((line) => line.startsWith("event: "))?.slice(7);
  if (!kind) return;
  const data = JSON.parse(lines.find((line) => line.startsWith("data: "))?.slice(6) || "{}");
  // A refusal leaves the generation as it was, yet belongs to the history.
  if (kind === "change") cards.get(data.service)?.readHistory();
  refresh().then(refresh);
}

// By fetch and not by EventSource, which cannot send a token.
async function follow() {
  const answer = await open("GET", "/v1/events");
  if (!answer.ok) return;
  link("live");
  refresh();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    blocks.forEach(onEvent);
  }
}

async function followForever() {
  for (;;) {
    await follow().catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function useToken() {
  token = byId("login-token").value.trim();
  sessionStorage.setItem("token", token);
  byId("login").close();
  refresh();
}

byId("login-yes").addEventListener("click", useToken);
byId("login-token").addEventListener("keydown", (event) => { if (event.key === "Enter") useToken(); });
setInterval(() => { if (!document.hidden && !byId("login").open) refresh(); }, POLL_MS);
refresh();
followForever();
