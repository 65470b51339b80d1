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
const button = (label, click, attributes = {}) => element("button", { type: "button", click, ...attributes }, label);

// Puts other content into a place only if it is other: what a reader has opened or focused stays.
const shown = new WeakMap();
function put(place, content, make) {
  const key = JSON.stringify(content ?? null);
  if (shown.get(place) === key) return;
  shown.set(place, key);
  place.replaceChildren(...(content ? [make(content)].flat() : []));
}

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

// --- gates

const RESULTS = { pass: ["passed", "good"], fail: ["failed", "bad"], skipped: ["skipped", "dim"] };
// What a reader has unfolded, so that it stays so when it is drawn anew.
const unfolded = new Set();

function gateStep(step, key) {
  const [word, kind] = RESULTS[step.result] || [step.result];
  const head = [`${step.name} `, text("span", word, kind), text("span", ` ${age(step.took_ms)}`, "dim")];
  if (!step.evidence.length) return element("li", {}, ...head);
  return element("li", {}, fold(key, head, element("ul", {}, ...step.evidence.map((line) => text("li", line)))));
}

function fold(key, head, ...body) {
  const made = element("details", {}, element("summary", {}, ...head), ...body);
  made.open = unfolded.has(key);
  made.addEventListener("toggle", () => { if (made.open) unfolded.add(key); else unfolded.delete(key); });
  return made;
}

function gateSteps(steps, key) {
  return element("ul", { class: "steps" }, ...steps.map((step) => gateStep(step, `${key}/${step.name}`)));
}

function gateReport(key, gate, when) {
  const word = gate.passed ? "passed" : `failed: ${gate.steps.filter((step) => step.result === "fail").map((step) => step.name).join(", ")}`;
  const head = ["gate ", text("span", word, gate.passed ? "good" : "bad"), text("span", when ? ` ${new Date(when).toLocaleString()}` : "", "dim")];
  return fold(key, head, gateSteps(gate.steps, key));
}

function gateProgress(key, { steps, running }) {
  const now = running ? [text("p", `${running.name}${running.detail ? `: ${running.detail}` : ""} …`, "running")] : [];
  return [...(steps.length ? [gateSteps(steps, key)] : []), ...now];
}

// --- a change, with its question

function ask({ title, words, verb, underWay }) {
  byId("ask-title").textContent = title;
  byId("ask-text").textContent = words;
  byId("ask-yes").textContent = verb;
  byId("ask-reason").value = "";
  byId("ask-force").checked = byId("ask-supersede").checked = false;
  byId("ask-supersede").parentElement.hidden = !underWay;
  byId("ask-under-way").textContent = underWay || "";
  byId("ask-plan").replaceChildren();
  complain("");
  const dialog = byId("ask");
  dialog.showModal();
  return new Promise((resolve) => {
    byId("ask-no").onclick = () => dialog.close();
    dialog.onclose = () => resolve(null);
    byId("ask-yes").onclick = () => {
      const reason = byId("ask-reason").value.trim();
      const force = byId("ask-force").checked;
      if (force && !reason) return complain("Force overrules the gate: the journal must say why.");
      resolve({ force, ...(reason && { reason }), ...(byId("ask-supersede").checked && { supersede: true }) });
      dialog.close();
    };
  });
}

function complain(words) {
  byId("ask-problem").textContent = words;
  byId("ask-reason").setAttribute("aria-invalid", String(Boolean(words)));
  if (words) byId("ask-reason").focus();
}

// What a switch would do, as the proxy itself says it; shown in the dialog while the question stands.
async function plan(service, to) {
  const place = byId("ask-plan");
  place.replaceChildren(text("p", "Asking what it would do …", "dim"));
  const asked = `${service.name}/${to}`;
  place.dataset.asked = asked;
  let parts;
  try {
    parts = planned(await call("POST", `/v1/services/${service.name}/switch`, { to, dry_run: true }));
  } catch (error) {
    parts = [text("p", `What it would do cannot be told: ${error.message}`, "bad")];
  }
  if (place.dataset.asked === asked && byId("ask").open) place.replaceChildren(...parts);
}

function planned({ refused, steps, drain, rollback, active, to }) {
  const flight = drain.in_flight;
  const oldest = drain.oldest_ms === undefined ? "" : `, the oldest for ${age(drain.oldest_ms)}`;
  return [
    ...(refused ? [text("p", `It would be refused: ${refused}`, "bad")] : []),
    text("h3", `The gate of ${to}`),
    facts(steps.map(({ name, what }) => [name, what])),
    text("h3", "Then"),
    facts([
      [`open on ${active}`, `${flight.total} (${flight.unary} unary, ${flight.stream} stream, ${flight.tunnel} tunnel)${oldest}`],
      ["rollback", `${rollback.to ? (rollback.instant ? "instant" : "not instant") : "none"}: ${rollback.why}`, rollback.instant ? "good" : "warn"],
    ]),
  ];
}

// The generation that was on the screen goes along: a click on an outdated picture changes nothing.
async function change(service, verb, to) {
  const isSwitch = verb === "switch";
  const words = `${service.active} serves now, at generation ${service.generation}. New requests will go to ${to}.`;
  const answer = ask({
    title: `${isSwitch ? "Switch" : "Roll back"} ${service.name} to ${to}?`,
    words: isSwitch ? words : `${words} ${service.rollback.why}`,
    verb: isSwitch ? "Switch" : "Roll back",
    underWay: service.under_way?.what,
  });
  if (isSwitch) plan(service, to);
  const asked = await answer;
  if (!asked) return;
  await attempt(`${verb} of ${service.name}`, "POST", `/v1/services/${service.name}/${verb}`,
    { ...asked, if_generation: service.generation, ...(isSwitch && { to }) });
}

// Does it, and says why not. How it goes on is told by events meanwhile.
async function attempt(what, method, path, body) {
  say("change", "");
  const done = call(method, path, body);
  refresh();
  try {
    await done;
  } catch (error) {
    say("change", `${what}: ${error instanceof Refused ? error.inWords() : error.message}`);
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

function slotFacts(each) {
  const { in_flight: flight, oldest_ms: oldest, cut, safe_to_delete: safe, why } = each.drain;
  const healthy = each.endpoints.filter((one) => one.health === "healthy").length;
  const all = each.endpoints.length;
  return [
    facts([
      ["version", each.version || "none given", each.version ? undefined : "dim"],
      ["health", all ? `${healthy} of ${all} healthy` : "no endpoints", healthy === all ? (all ? "good" : "dim") : healthy ? "warn" : "bad"],
      ["in flight", `${flight.total} (${flight.unary} unary, ${flight.stream} stream, ${flight.tunnel} tunnel)`],
      ["oldest", oldest === undefined ? undefined : age(oldest)],
      ["cut", cut ? String(cut) : undefined, "warn"],
      ["safe to delete", `${safe ? "yes" : "no"}: ${why}`, safe ? "good" : undefined],
    ]),
    element("ul", {}, ...each.endpoints.map(endpoint)),
  ];
}

// One slot of a card. Its elements stay, so that a redraw takes no click or focus away and folds nothing up.
class SlotView {
  constructor(service, name) {
    this.key = `${service}/${name}`;
    this.path = `/v1/services/${service}/slots/${name}/test`;
    this.phase = text("span", "");
    this.test = button("Test", () => attempt(`test of ${service} ${name}`, "POST", this.path, {}));
    this.cancel = button("Cancel test", () => attempt(`cancel of the test of ${service} ${name}`, "DELETE", this.path));
    this.facts = element("div", {});
    this.gate = element("div", { class: "gate" });
    this.root = element("section", { class: `slot ${name}` },
      element("h3", {}, name, this.phase), this.facts, this.gate, element("div", { class: "actions" }, this.test, this.cancel));
  }

  show(each, active) {
    this.slot = each;
    this.root.classList.toggle("active", active);
    this.phase.textContent = each.phase;
    this.facts.replaceChildren(...slotFacts(each));
    this.test.hidden = active || each.phase === "empty";
    this.draw();
  }

  // A test that runs, as events tell it; or the last report.
  draw() {
    this.test.disabled = Boolean(this.running);
    this.cancel.hidden = !this.running;
    if (this.running) put(this.gate, this.running, (gate) => [text("p", "Test under way", "warn"), ...gateProgress(`${this.key}/test`, gate)]);
    else put(this.gate, this.slot?.tested, ({ at, gate }) => gateReport(`${this.key}/${at}`, gate, at));
  }

  progress(gate) {
    this.running = gate;
    this.draw();
  }
}

function historyRow(entry) {
  const what = entry.action + (entry.from && entry.to ? ` ${entry.from} → ${entry.to}` : "") + (entry.forced ? ", forced" : "");
  return element("tr", {},
    text("td", new Date(entry.at).toLocaleString()),
    text("td", what),
    text("td", entry.outcome, entry.outcome === "done" ? "good" : "bad"),
    text("td", String(entry.generation)),
    text("td", entry.actor),
    element("td", {}, entry.reason || "", ...(entry.contents || []).map(putIn),
      ...(entry.gate ? [gateReport(`${entry.service}/${entry.at}/history`, entry.gate)] : [])));
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
    this.switch = button("", () => change(this.service, "switch", this.other));
    this.rollback = button("", () => change(this.service, "rollback", this.service.rollback.to));
    this.cancel = button("Cancel", () => attempt(`cancel of ${name}`, "DELETE", `/v1/services/${name}/change`));
    this.about = element("span", { class: "dim" });
    this.pending = text("p", "", "warn");
    this.pending.setAttribute("role", "status");
    this.progress = element("div", { class: "gate" });
    this.underWay = element("section", { class: "under-way" }, this.pending, this.progress, this.cancel);
    this.views = Object.fromEntries(SLOTS.map((each) => [each, new SlotView(name, each)]));
    this.history = element("div", { class: "scroll" });
    this.root = element("article", { class: "service" },
      element("div", { class: "top" }, text("h2", name), this.about, element("div", { class: "buttons" }, this.switch, this.rollback)),
      this.underWay, element("div", { class: "slots" }, ...SLOTS.map((each) => this.views[each].root)), this.history);
  }

  get other() {
    return SLOTS.find((each) => each !== this.service.active);
  }

  show(service) {
    const isNew = this.service?.generation !== service.generation;
    this.service = service;
    this.about.textContent = `generation ${service.generation} · ${service.active} serves · ${service.matches}`;
    this.drawUnderWay();
    this.switch.textContent = `Switch to ${this.other}`;
    this.switch.disabled = service.slots[this.other].phase === "empty";
    this.rollback.textContent = service.rollback.to ? `Roll back to ${service.rollback.to}` : "Roll back";
    this.rollback.disabled = !service.rollback.to;
    this.rollback.title = service.rollback.why;
    for (const each of SLOTS) this.views[each].show(service.slots[each], each === service.active);
    if (isNew) this.readHistory();
  }

  drawUnderWay() {
    const { under_way: under, pending } = this.service;
    const words = under ? `Under way: ${under.what}, by ${under.actor}, since ${new Date(under.since).toLocaleTimeString()}` : pending || "";
    if (this.pending.textContent !== words) this.pending.textContent = words;
    this.underWay.hidden = !words;
    this.cancel.hidden = !under?.cancellable;
    put(this.progress, under?.gate, (gate) => gateProgress(`${this.service.name}/under-way`, gate));
  }

  // Each event of a gate has its whole progress: no need to ask for it.
  gateWentOn({ slot: where, purpose, progress, passed }) {
    const over = passed !== undefined;
    if (purpose === "test") this.views[where].progress(over ? undefined : progress);
    else if (this.service.under_way && !over) this.service.under_way.gate = progress;
    this.drawUnderWay();
    if (over || (purpose !== "test" && !this.service.under_way)) refresh();
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
  if (kind === "gate") return cards.get(data.service)?.gateWentOn(data);
  refresh().then(refresh);
}

// By fetch and not by EventSource, which cannot send a token.
async function follow() {
  const answer = await open("GET", "/v1/events");
  if (!answer.ok) return;
  link("live");
  // What went on while nobody listened is unknown.
  cards.forEach((card) => SLOTS.forEach((each) => card.views[each].progress(undefined)));
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
