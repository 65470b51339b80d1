// The dashboard: reads /v1/services once a second and listens to /v1/events. Text goes in as text, never as markup.
"use strict";

const EVENTS_SHOWN = 40;
const outcomes = new Map();
const byId = (id) => document.getElementById(id);

function fill(root, selector, text) {
  root.querySelector(selector).textContent = text;
}

function age(ms) {
  if (ms < 1000) return `${ms} ms`;
  if (ms < 120000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 7200000) return `${Math.round(ms / 60000)} min`;
  return `${(ms / 3600000).toFixed(1)} h`;
}

function slotNode(slot) {
  const node = byId("slot").content.cloneNode(true);
  const box = node.querySelector(".slot");
  box.classList.add(slot.slot, slot.phase);
  fill(node, ".slot-name", slot.slot);
  fill(node, ".phase", slot.phase);
  fill(node, ".version", slot.version || "");
  const list = node.querySelector(".endpoints");
  for (const endpoint of slot.endpoints) {
    const item = document.createElement("li");
    item.className = endpoint.health;
    item.textContent = [endpoint.http, endpoint.grpc].filter(Boolean).join(" + ") + ` (${endpoint.health})`;
    const detail = document.createElement("span");
    detail.className = "detail";
    detail.textContent = endpoint.detail;
    item.append(detail);
    list.append(item);
  }
  const flight = slot.drain.in_flight;
  const oldest = slot.drain.oldest_ms === undefined ? "" : `, oldest ${age(slot.drain.oldest_ms)}`;
  const cut = slot.drain.cut ? `, ${slot.drain.cut} cut` : "";
  fill(node, ".flight", `in flight: ${flight.unary} unary, ${flight.stream} streams, ${flight.tunnel} tunnels${oldest}${cut}`);
  const verdict = node.querySelector(".verdict");
  verdict.textContent = slot.drain.safe_to_delete ? "safe to delete" : `not safe to delete: ${slot.drain.why}`;
  verdict.classList.toggle("safe", slot.drain.safe_to_delete);
  return node;
}

function serviceNode(service) {
  const node = byId("service").content.cloneNode(true);
  fill(node, ".name", service.name);
  fill(node, ".rule", service.matches);
  fill(node, ".summary", `generation ${service.generation}, ${service.active} serves`);
  const pending = node.querySelector(".pending");
  pending.hidden = !service.pending;
  pending.textContent = service.pending || "";
  for (const slot of [service.slots.blue, service.slots.green]) node.querySelector(".slots").append(slotNode(slot));
  const other = service.active === "blue" ? "green" : "blue";
  const move = node.querySelector(".switch");
  move.textContent = `Switch to ${other}`;
  move.disabled = service.slots[other].endpoints.length === 0;
  move.addEventListener("click", () => ask(service, "switch", { to: other }, `Switch ${service.name} to ${other}?`));
  const back = node.querySelector(".rollback");
  back.disabled = !service.rollback.to;
  back.title = service.rollback.why;
  back.addEventListener("click", () => ask(service, "rollback", {}, `Roll ${service.name} back to ${service.rollback.to}?`));
  const outcome = outcomes.get(service.name);
  if (outcome) {
    const output = node.querySelector(".outcome");
    output.textContent = outcome.text;
    output.classList.toggle("failed", outcome.failed);
  }
  return node;
}

async function ask(service, what, body, question) {
  if (!window.confirm(question)) return;
  try {
    const answer = await fetch(`/v1/services/${encodeURIComponent(service.name)}/${what}`, {
      method: "POST",
      headers: { "content-type": "application/json", "if-match": `"${service.generation}"`, "x-verdigris-actor": "dashboard" },
      body: JSON.stringify(body),
    });
    const reply = await answer.json();
    outcomes.set(service.name, { text: reply.message, failed: !answer.ok });
  } catch (error) {
    outcomes.set(service.name, { text: `no answer: ${error.message}`, failed: true });
  }
  refresh();
}

async function refresh() {
  try {
    const answer = await fetch("/v1/services", { cache: "no-store" });
    if (!answer.ok) throw new Error(`${answer.status} ${(await answer.json()).message}`);
    const list = await answer.json();
    byId("process").textContent = `${list.proxy.version}, up ${age(list.proxy.uptime_ms)}, ${list.proxy.config}`;
    byId("connection").textContent = "";
    const problems = byId("problems");
    problems.hidden = list.proxy.reload.ok;
    problems.textContent = `The config file is refused, the old settings serve on:\n${(list.proxy.reload.problems || []).join("\n")}`;
    const focused = document.activeElement && document.activeElement.className;
    if (focused !== "switch" && focused !== "rollback") {
      byId("services").replaceChildren(...list.services.map(serviceNode));
    }
  } catch (error) {
    byId("connection").textContent = `not connected: ${error.message}`;
  }
}

function describe(event) {
  switch (event.kind) {
    case "change": {
      const move = event.from ? `${event.from} → ${event.to}` : event.to || "";
      return `${event.service}: ${event.action} ${move} ${event.outcome}${event.forced ? ", forced" : ""} by ${event.actor}${event.reason ? `: ${event.reason}` : ""}`;
    }
    case "health":
      return `${event.service}: ${event.slot} ${event.endpoint} ${event.healthy ? "healthy" : "unhealthy"}: ${event.detail}`;
    case "drained":
      return `${event.service}: ${event.slot} drained${event.cut ? `, ${event.cut} cut` : ""}`;
    default:
      return event.ok ? "config file read" : `config file refused: ${event.problems.join("; ")}`;
  }
}

function show(event) {
  const item = document.createElement("li");
  const at = document.createElement("time");
  at.dateTime = event.at;
  at.textContent = new Date(event.at).toLocaleTimeString();
  item.append(at, ` ${describe(event)}`);
  const list = byId("events");
  list.prepend(item);
  while (list.children.length > EVENTS_SHOWN) list.lastChild.remove();
}

const events = new EventSource("/v1/events");
for (const kind of ["change", "health", "drained", "reload"]) {
  events.addEventListener(kind, (message) => {
    show(JSON.parse(message.data));
    refresh();
  });
}
refresh();
window.setInterval(refresh, 1000);
