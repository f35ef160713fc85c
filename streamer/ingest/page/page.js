// The daemon's events → the page: the state at first, then only what has changed, which is applied to what is here.

import { showTail } from "./details.js";
import { drawRows } from "./rows.js";
import { $, act, count, facts, list, mayAct, now, plural, relative, setClock, size, span, tell, text, time } from "./words.js";

const SILENT_MS = 45_000; // a connection that says nothing for so long is made anew; it says something every 15 s

const view = { state: null, edition: 0, lost: null };

// ---- the headline

function headline({ state, paused, held, counts, warnings }) {
  const { quarantined = 0, failed = 0 } = counts;
  const troubles = [];
  if (quarantined) troubles.push(plural(quarantined, "recording is quarantined", "recordings are quarantined"));
  if (failed) troubles.push(quarantined ? `${failed} failed` : plural(failed, "recording failed", "recordings failed"));
  const trouble = troubles.length ? ` ${troubles.join(", ")}.` : "";
  if (state === "draining") return ["wait", `Draining: what runs is finished, nothing new begins.${trouble}`];
  if (held) return ["wait", `Paused by hand: what runs goes on, nothing new begins.${trouble}`];
  if (state === "paused") return ["wait", `Paused: ${paused}.${trouble}`];
  if (trouble) return [quarantined ? "bad" : "wait", `Watching.${trouble}`];
  if (warnings.length) return ["wait", "Watching, with a warning."];
  return ["good", "All is well: watching for recordings."];
}

function drawHeadline() {
  const head = view.state?.head;
  let [tone, words] = head ? headline(head) : ["none", "Connecting …"];
  if (view.lost) [tone, words] = ["lost", `Disconnected since ${time(view.lost)}.`];
  $("headline").dataset.tone = tone;
  text($("headline"), words);
  document.title = `${words.replace(/[.:].*$/s, "")} · rosbag-streamer`;
  document.body.classList.toggle("stale", Boolean(view.lost));
  if (view.lost) {
    const below = head ? " What stands below was true then." : "";
    text($("summary"), `The daemon does not answer; this page tries again by itself.${below}`);
  } else if (head) {
    text($("summary"), `Watching ${head.watch.join(", ")}; last looked ${relative(head.last_scan ?? head.began)}.`);
  }
}

// ---- the daemon itself

function drawDaemon(head) {
  const { used, budget } = head.memory;
  facts($("machine"), [
    ["Memory", budget ? `${size(used)} of ${size(budget)}` : size(used)],
    ...Object.entries(head.free).map(([path, bytes]) => [`Free on ${path}`, size(bytes)]),
    ["At the same time", plural(head.jobs, "recording", "recordings")],
    ["Frames so far", count(head.frames_done ?? 0)],
    ["Version", head.version],
    ["Process", String(head.pid)],
    ["Up for", span(now() - head.began)],
    ["Configuration", head.config],
  ]);
  $("log").hidden = !mayAct;
  if (mayAct && !view.lost) showTail($("log"), $("log-text"), "log");
}

$("log").ontoggle = () => { if (view.state) drawDaemon(view.state.head); };

$("pause").onclick = (event) => act("pause", "Begin nothing new until you resume? What runs goes on.", event.target);
$("resume").onclick = (event) => act("resume", "", event.target);
$("drain").onclick = (event) =>
  act("drain", "Finish the chunks at hand and end the daemon? Nothing new begins until it is started again.", event.target);

function draw() {
  drawHeadline();
  if (!view.state) return;
  const { head } = view.state;
  text($("config"), head.config.split("/").at(-1));
  $("warnings").hidden = !head.warnings.length;
  list($("warnings"), "warning", [...new Set(head.warnings)], (warning) => warning, text);
  $("acts").hidden = !mayAct || Boolean(view.lost) || head.state === "draining";
  $("pause").hidden = head.held;
  $("resume").hidden = !head.held;
  drawRows(view.state, draw);
  drawDaemon(head);
}

// ---- the connection

let events = null;
let timer = 0;
let heard = true; // since the last connection was made

// A merge patch (RFC 7396); objects without a prototype, so that no name of a file or process means anything.
function merged(old, patch) {
  const found = Object.assign(Object.create(null), old);
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete found[key];
    else if (typeof value === "object" && !Array.isArray(value)) found[key] = merged(isTable(found[key]) ? found[key] : null, value);
    else found[key] = value;
  }
  return found;
}

const isTable = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

function take({ edition, since, now: daemonNow, all, patch }) {
  if (all) {
    if (view.state && view.state.head.version !== all.head.version) location.reload();
    view.state = merged(null, all);
  } else if (patch && since === view.edition) {
    view.state = merged(view.state, patch);
  } else if (patch || edition !== view.edition) {
    return false; // one was lost
  }
  setClock(daemonNow);
  view.edition = edition;
  view.lost = null;
  return true;
}

function connect() {
  clearTimeout(timer);
  if (!heard && !document.hidden) lose();
  heard = false;
  events?.close();
  events = null;
  if (document.hidden) return; // a page that nobody looks at costs the daemon nothing
  view.edition = 0;
  events = new EventSource("events");
  events.onopen = () => { view.edition = 0; };
  events.onmessage = ({ data }) => {
    heard = true;
    if (!take(JSON.parse(data))) {
      again(0); // whoever connects is told all
      return;
    }
    again(SILENT_MS);
    draw();
  };
  events.onerror = () => {
    lose();
    // The browser tries again by itself, unless it was refused in words (too many pages, another token).
    if (events.readyState === EventSource.CLOSED) again(5_000);
  };
  again(SILENT_MS);
}

function lose() {
  view.lost ??= Date.now();
  draw();
}

function again(milliseconds) {
  clearTimeout(timer);
  timer = setTimeout(connect, milliseconds);
}

document.addEventListener("visibilitychange", connect);
setInterval(() => document.hidden || draw(), 5_000); // "3 min ago" grows old by itself
tell("");
connect();
