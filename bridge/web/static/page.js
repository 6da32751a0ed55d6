"use strict";
// Shows what the server sends on `events`: first everything, then what has changed. All texts go in as text, never as HTML.

const FIRST = 60; // cards drawn at once; the rest on demand
const FILTER_FROM = 7;
const EVENTS_WITHIN_MS = 5000;
const ASK_EACH_MS = 3000;
const AGAIN_MS = 5000;
const state = { transmitters: new Map(), panels: new Map(), events: [], problems: { count: 0, first: [] }, connected: null };
const cards = { transmitters: new Map(), panels: new Map() };
let most = FIRST;
let loaded = false;

const $ = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function time(iso, long = false) {
  const at = new Date(iso);
  if (!iso || Number.isNaN(at.getTime())) return null;
  const today = at.toDateString() === new Date().toDateString();
  const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  const text = today && !long ? at.toLocaleTimeString([], clock)
    : at.toLocaleString([], { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  return make("time", { datetime: iso, title: at.toLocaleString() }, text);
}

const words = (name) => String(name).replaceAll("_", " ");
const badge = (kind, text) => make("span", { class: `badge ${kind}` }, text);
const upDown = (up, on = "up", off = "down") => up === null || up === undefined ? badge("unknown", "unknown") : badge(up ? "up" : "down", up ? on : off);

function row(list, title, ...values) {
  list.append(make("dt", {}, title), make("dd", {}, ...values));
}

function result(found) {
  if (!found) return ["none yet"];
  const good = ["accepted", "duplicate"].includes(found.outcome);
  const more = [found.event_code, found.request === "restore" ? "restore" : null, found.receiver, found.path].filter(Boolean).join(", ");
  const at = time(found.completed_at);
  return [badge(good ? "up" : "down", found.outcome), " ", make("small", {}, more, more && at ? ", " : "", at ?? "")];
}

function days(one) {
  if (!one.days?.length) return [];
  const list = make("ul", { class: "days", "aria-hidden": "true" });
  for (const day of one.days) {
    const shares = { up: day.up_s ?? 0, down: day.down_s ?? 0, unknown: day.unknown_s ?? 0 };
    const whole = Object.values(shares).reduce((sum, each) => sum + each, 0) || 1;
    const percent = typeof day.percent === "number" ? `${day.percent.toFixed(3)} %` : "unknown";
    const item = make("li", { title: `${day.day}: ${percent}` });
    for (const [kind, share] of Object.entries(shares)) {
      if (!share) continue;
      const bar = make("i", { class: `is-${kind}` });
      bar.style.flex = `${Math.max(share / whole, 0.06)} 0 0`; // a short outage is drawn larger than it was
      item.append(bar);
    }
    list.append(item);
  }
  const known = one.days.filter((day) => typeof day.percent === "number");
  const least = known.length ? known.reduce((worst, day) => (day.percent < worst.percent ? day : worst)) : null;
  return [list, least ? `lowest day ${least.percent.toFixed(3)} %` : "nothing is known yet"];
}

function monthBefore(month) {
  const [year, number] = month.split("-").map(Number);
  return number === 1 ? `${year - 1}-12` : `${year}-${String(number - 1).padStart(2, "0")}`;
}

function reports(name, one) {
  const month = one.month ?? new Date().toISOString().slice(0, 7);
  const link = (which, text) => make("a", { href: `report/${encodeURIComponent(name)}/${which}`, "aria-label": `Report of ${name}, ${which}` }, text);
  return make("span", {}, "Report ", link(month, month), " · ", link(monthBefore(month), monthBefore(month)));
}

function part(info) {
  const small = info.up === false && info.last_error ? info.last_error : info.address;
  return [upDown(info.up), " ", small ? make("small", {}, small) : ""];
}

function drawTransmitter(name, one) {
  const list = make("dl");
  for (const [receiver, info] of Object.entries(one.receivers)) row(list, `${receiver[0].toUpperCase()}${receiver.slice(1)}`, ...part(info));
  for (const [path, info] of Object.entries(one.paths)) row(list, `Path ${path}`, ...part(info));
  const waiting = one.pending ? [badge("warn", `${one.pending} waiting`), " ", make("small", {}, "since ", time(one.oldest_at) ?? "unknown")]
    : [one.pending === 0 ? "none" : "unknown"];
  row(list, "Waiting", ...waiting);
  if (one.rejected) row(list, "Rejected", badge("down", `${one.rejected} rejected`));
  if (one.active.length) row(list, "Active alarms", badge("warn", String(one.active.length)), " ", make("small", {}, one.active.map((alarm) => alarm.event_code).join(", ")));
  row(list, "Last alarm", ...result(one.last_alarm));
  row(list, "Last test", ...result(one.last_test));
  const [bars, text] = days(one);
  return [
    make("div", { class: "top" }, make("h3", {}, name), upDown(one.link, "link up", "link down")), list,
    one.problems.length ? make("ul", { class: "faults" }, ...one.problems.map((each) => make("li", {}, `${words(each.kind)}: ${each.text}`))) : null,
    bars, make("div", { class: "foot" }, make("span", { class: "dim" }, text ? `Availability by day: ${text}` : ""), reports(name, one)),
  ];
}

function drawPanel(guid, one) {
  const list = make("dl");
  row(list, "State", one.state ? badge(one.state === "triggered" ? "down" : "up", words(one.state)) : "unknown");
  if (one.ac_power !== undefined) row(list, "Mains power", upDown(one.ac_power, "on", "off"));
  if (one.battery_low !== undefined) row(list, "Battery", badge(one.battery_low ? "down" : "up", one.battery_low ? "low" : "good"));
  if (one.last_seen) row(list, "Last heard", time(one.last_seen) ?? "");
  row(list, "GUID", guid);
  const open = one.sensors.filter((sensor) => sensor.on).length;
  const items = one.sensors.map((sensor) => {
    const faults = [sensor.tamper ? "tamper" : "", sensor.battery_low ? "battery low" : ""].filter(Boolean);
    return make("li", {}, make("span", {}, sensor.name || `Sensor ${sensor.index}`, " ", make("small", { class: "dim" }, words(sensor.type ?? ""))),
      make("span", {}, ...faults.map((each) => badge("down", each)), " ", badge(sensor.on ? "warn" : "unknown", sensor.on ? "on" : "off")));
  });
  return [
    make("div", { class: "top" }, make("h3", {}, one.name || guid), upDown(one.online, "online", "offline")), list,
    items.length ? make("details", {}, make("summary", {}, `${items.length} sensors, ${open} on`), make("ul", { class: "sensors" }, ...items)) : null,
  ];
}

function isWrong(one) {
  return Boolean(one.problems?.length) || one.online === false;
}

function wanted() {
  const text = $("name").value.trim().toLowerCase();
  const names = [...state.transmitters.keys()].filter((name) => name.includes(text) && (!$("wrong").checked || isWrong(state.transmitters.get(name))));
  const wrongFirst = (name) => (isWrong(state.transmitters.get(name)) ? 0 : 1);
  return names.sort((one, other) => wrongFirst(one) - wrongFirst(other) || one.localeCompare(other, undefined, { numeric: true }));
}

/** Show exactly `names`, in this order; draw again only cards that are new or in `changed`, and keep the focus. */
function place(kind, names, changed, draw) {
  const held = cards[kind], box = $(kind);
  for (const [name, card] of held) if (!names.includes(name)) { card.remove(); held.delete(name); }
  names.forEach((name, index) => {
    let card = held.get(name);
    if (!card || changed.has(name)) {
      const open = card?.querySelector("details")?.open;
      const focused = card?.contains(document.activeElement) ? [...card.querySelectorAll("a, summary")].indexOf(document.activeElement) : -1;
      if (!card) held.set(name, card = make("article", { class: "card" }));
      const one = state[kind].get(name);
      card.classList.toggle("wrong", isWrong(one));
      card.replaceChildren(...draw(name, one).filter(Boolean));
      if (open) card.querySelector("details").open = true;
      if (focused >= 0) card.querySelectorAll("a, summary")[focused]?.focus();
    }
    if (box.children[index] !== card) box.insertBefore(card, box.children[index] ?? null);
  });
}

function drawTransmitters(changed) {
  $("lines").hidden = state.transmitters.size === 0;
  $("filter").hidden = state.transmitters.size < FILTER_FROM;
  const names = wanted();
  place("transmitters", names.slice(0, most), changed, drawTransmitter);
  $("more").hidden = names.length <= most;
  write($("shown"), $("filter").hidden ? "" : `${Math.min(most, names.length)} of ${state.transmitters.size} shown, those with problems first`);
}

function drawProblems() {
  const { count, first } = state.problems;
  $("attention").hidden = count === 0;
  const items = first.slice(0, 50).map((each) => {
    const whose = each.transmitter ?? each.panel ?? "bridge";
    return make("li", {}, make("strong", {}, `${whose}: ${words(each.kind)}`), ` ${each.text} `, time(each.since));
  });
  if (count > items.length) items.push(make("li", {}, `and ${count - items.length} more`));
  $("problems").replaceChildren(...items);
  const link = [...state.transmitters.values()].filter((one) => one.link === false).length;
  const unknown = [...state.transmitters.values()].some((one) => one.link === null || one.link === undefined);
  const text = count ? `${count} ${count === 1 ? "thing needs" : "things need"} a person${link ? `, ${link} of ${state.transmitters.size} links down` : ""}`
    : $("broker").textContent === "standby" ? "This node stands by: another one is at work" : unknown ? "Not everything was checked yet" : "Everything works";
  $("overall").className = `overall ${count ? "down" : unknown ? "unknown" : "up"}`;
  write($("overall"), text);
  document.title = count ? `(${count}) sosbridge` : "sosbridge";
}

function drawEvents(added) {
  const rows = added.map((each) => make("tr", {}, make("td", {}, time(each.at) ?? ""), make("td", {}, each.name || each.from),
    make("td", {}, words(each.type)), make("td", {}, each.text)));
  $("rows").prepend(...rows.reverse());
  while ($("rows").children.length > 100) $("rows").lastElementChild.remove();
  const any = $("rows").children.length > 0;
  $("events").hidden = !any;
  $("quiet").hidden = any;
}

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function mark(kind, text) {
  $("broker").className = `badge ${kind}`;
  write($("broker"), text);
}

function take(news) {
  if (news.whole) {
    state.transmitters.clear(); state.panels.clear(); $("rows").replaceChildren();
  }
  for (const kind of ["transmitters", "panels"]) for (const [name, one] of Object.entries(news[kind])) state[kind].set(name, one);
  state.problems = news.problems;
  const standby = news.state === "standby";
  mark(news.connected || standby ? "up" : "down", standby ? "standby" : news.connected ? "broker connected" : "broker away");
  const version = news.info.version ? `Version ${news.info.version}` : "";
  const since = time(news.info.started_at, true);
  $("about").replaceChildren(version, since ? ", running since " : "", since ?? "");
  drawProblems();
  drawTransmitters(new Set(Object.keys(news.transmitters)));
  $("houses").hidden = state.panels.size === 0;
  place("panels", [...state.panels.keys()].sort(), new Set(Object.keys(news.panels)), drawPanel);
  drawEvents(news.events);
  loaded = true;
}

for (const id of ["name", "wrong"]) $(id).addEventListener("input", () => { most = FIRST; drawTransmitters(new Set()); });
$("filter").addEventListener("submit", (event) => event.preventDefault());
$("more").addEventListener("click", () => { most += FIRST; drawTransmitters(new Set()); });

function lost() {
  mark("unknown", "no connection to the bridge");
  $("overall").className = "overall unknown";
  write($("overall"), loaded ? "The page is out of date: the bridge does not answer" : "The bridge does not answer");
}

function follow() {
  const source = new EventSource("events");
  // A proxy that compresses, such as the ingress of Home Assistant, holds events back: then it is asked regularly.
  const late = setTimeout(() => { source.close(); ask(-1, null); }, EVENTS_WITHIN_MS);
  source.onmessage = (message) => { clearTimeout(late); take(JSON.parse(message.data)); };
  source.onerror = () => {
    lost();
    if (source.readyState !== EventSource.CLOSED) return; // the browser tries again
    clearTimeout(late);
    setTimeout(follow, AGAIN_MS);
  };
}

async function ask(since, run) {
  try {
    const answer = await fetch(`state?since=${since}`);
    if (!answer.ok) throw new Error(answer.statusText);
    const news = await answer.json();
    if (run !== null && news.info.started_at !== run) { // started again: its numbers begin anew
      setTimeout(ask, 0, -1, null);
      return;
    }
    take(news);
    setTimeout(ask, ASK_EACH_MS, news.sequence, news.info.started_at);
  } catch {
    lost();
    setTimeout(ask, AGAIN_MS, -1, null);
  }
}

follow();
