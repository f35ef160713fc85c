// The daemon's snapshots (/events) → the page. What comes from recordings is hostile: it is set as text, never as HTML.

const STATES = ["running", "queued", "settling", "seen", "failed", "quarantined", "done"];
const SILENT_MS = 45_000; // a connection that says nothing for so long is made anew
const ROWS = 50;
const PICTURE_MS = 2_000;

const $ = (id) => document.getElementById(id);
const view = { snapshot: null, at: 0, lost: null, filter: "all", words: "", rows: ROWS };

// ---- words for people

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const exact = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "short" });

function size(bytes) {
  if (bytes == null) return "–";
  const step = bytes < 999.5e3 ? [1e3, "kB"] : bytes < 999.5e6 ? [1e6, "MB"] : bytes < 999.5e9 ? [1e9, "GB"] : [1e12, "TB"];
  const value = bytes / step[0];
  return `${value.toFixed(value < 9.95 && step[0] > 1e6 ? 1 : 0)} ${step[1]}`;
}

function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

function coarse(seconds) {
  const s = Math.abs(seconds);
  if (s < 59.5) return `${Math.round(s)} s`;
  if (s < 3570) return `${Math.round(s / 60)} min`;
  return s < 129600 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
}

const plural = (count, one, many) => `${number.format(count)} ${count === 1 ? one : many}`;
const date = (seconds) => exact.format(seconds * 1000);
// The daemon's clock, which need not agree with this machine's.
const now = () => view.snapshot.updated + (performance.now() - view.at) / 1000;

function relative(seconds) {
  const away = now() - seconds;
  if (Math.abs(away) < 2) return "now";
  return away > 0 ? `${coarse(away)} ago` : `in ${coarse(away)}`;
}

// ---- elements

// Control characters, and marks that turn the direction of writing, are shown and not obeyed.
const unsafe = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
const visible = (value) =>
  typeof value === "string"
    ? value.replace(unsafe, (c) => (c === "\n" ? "\\n" : `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`))
    : value;

function text(node, value) {
  value = visible(value);
  if (node.textContent !== value) node.textContent = value;
}

function parts(node) {
  node.parts ??= Object.fromEntries([...node.querySelectorAll("[data-is]")].map((part) => [part.dataset.is, part]));
  return node.parts;
}

// Keeps the element of each key, so that focus, open details and scroll positions outlive an update.
function list(parent, template, items, key, fill) {
  const wanted = new Set(items.map((item) => String(key(item))));
  const kept = new Map();
  for (const node of [...parent.children]) {
    if (wanted.has(node.dataset.key)) kept.set(node.dataset.key, node);
    else node.remove();
  }
  let place = parent.firstElementChild;
  for (const item of items) {
    let node = kept.get(String(key(item)));
    if (!node) {
      node = $(template).content.firstElementChild.cloneNode(true);
      node.dataset.key = key(item);
    }
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
    fill(node, item);
  }
}

function facts(parent, pairs) {
  const shown = pairs.filter(([, value]) => value != null && value !== "");
  list(parent, "fact", shown, ([name]) => name, (node, [name, value]) => {
    text(node.firstElementChild, name);
    text(node.lastElementChild, value);
  });
}

function when(node, seconds) {
  node.hidden = seconds == null;
  if (seconds == null) return;
  node.dateTime = new Date(seconds * 1000).toISOString();
  node.title = date(seconds);
  text(node, relative(seconds));
}

// ---- the headline

function headline(snapshot) {
  const { quarantined = 0, failed = 0 } = snapshot.counts;
  const troubles = [];
  if (quarantined) troubles.push(plural(quarantined, "recording is quarantined", "recordings are quarantined"));
  if (failed) troubles.push(quarantined ? `${failed} failed` : plural(failed, "recording failed", "recordings failed"));
  const trouble = troubles.length ? ` ${troubles.join(", ")}.` : "";
  if (snapshot.state === "paused") return ["wait", `Paused: ${snapshot.paused}.${trouble}`];
  if (snapshot.state === "draining") return ["wait", `Draining: what runs is finished, nothing new begins.${trouble}`];
  if (trouble) return [quarantined ? "bad" : "wait", `Watching.${trouble}`];
  if (snapshot.warnings.length) return ["wait", "Watching, with a warning."];
  return ["good", "All is well: watching for recordings."];
}

function drawHeadline() {
  const snapshot = view.snapshot;
  let [tone, words] = snapshot ? headline(snapshot) : ["none", "Connecting …"];
  if (view.lost) [tone, words] = ["lost", `Disconnected since ${clock.format(view.lost)}.`];
  $("headline").dataset.tone = tone;
  text($("headline"), words);
  document.title = `${words.replace(/[.:].*$/s, "")} · rosbag-streamer`;
  document.body.classList.toggle("stale", Boolean(view.lost));
  if (view.lost) {
    const below = snapshot ? " What stands below was true then." : "";
    text($("summary"), `The daemon does not answer; this page tries again by itself.${below}`);
  } else if (snapshot) {
    const { counts } = snapshot;
    const some = ["running", "queued", "settling", "done"].filter((state) => counts[state]);
    text($("summary"), `${some.map((state) => `${number.format(counts[state])} ${state}`).join(", ") || "Nothing yet"}. ` +
      `Watching ${snapshot.watch.join(", ")}; last looked ${relative(snapshot.last_scan ?? snapshot.began)}.`);
  }
}

// ---- running pipelines

function drawRun(node, run) {
  const at = parts(node);
  const status = run.status ?? {};
  const frames = status.frames ?? { done: 0, all: 0, per_second: 0 };
  const share = frames.all ? frames.done / frames.all : 0;
  const bar = node.querySelector("progress");
  text(at.name, run.name);
  text(at.path, run.path);
  bar.setAttribute("aria-label", `Progress of ${visible(run.name)}`);
  bar.value = share;
  const left = status.seconds_left == null ? (frames.all ? "" : "opening") : `${span(status.seconds_left)} left`;
  text(at.left, frames.all ? `${Math.floor(share * 100)} %${left && ` · ${left}`}` : left);
  const pool = status.pool;
  facts(at.figures, [
    ["Frames", frames.all ? `${number.format(frames.done)} of ${number.format(frames.all)}` : "–"],
    ["Rate", frames.all ? `${frames.per_second.toFixed(1)} frames/s` : "–"],
    ["Data", status.bytes_per_second == null ? "–" : `${size(status.bytes_per_second)}/s`],
    ["Pool", pool ? `${size(pool.in_use * pool.slot_bytes)} of ${size(pool.most * pool.slot_bytes)}` : "–"],
    ["Running for", span(now() - run.began)],
    ["Attempt", run.attempts > 1 ? String(run.attempts) : ""],
  ]);
  text(at.waits, waiting(status));
  at.waits.hidden = !at.waits.textContent;
  const names = [...new Set(["reader", ...Object.keys(status.consumers ?? {}), ...Object.keys(status.memory ?? {})])];
  const ends = Object.values(status.memory ?? {}).flatMap(({ points }) => points.map(([, chunk]) => chunk));
  const domain = [ends.reduce((a, b) => Math.min(a, b), Infinity), ends.reduce((a, b) => Math.max(a, b), 1)];
  list(at.processes, "process", Object.keys(status).length ? names : [], (name) => name, (item, name) =>
    drawProcess(item, name, status, domain));
  drawPicture(at.picture, run);
}

function waiting(status) {
  const awaited = status.waits_for;
  if (!awaited) return "";
  if (awaited === "reader") return "Consumers wait for the reader.";
  const { behind = 0, holds = 0 } = status.consumers?.[awaited] ?? {};
  const others = Object.keys(status.consumers ?? {}).length > 1 ? "The reader and the other consumers wait" : "The reader waits";
  const lag = behind ? `is ${plural(behind, "frame", "frames")} behind and ` : "";
  return `${others} for ${awaited}, which ${lag}holds ${plural(holds, "slot", "slots")}.`;
}

function drawProcess(node, name, status, domain) {
  const at = parts(node);
  const memory = status.memory?.[name];
  const consumer = status.consumers?.[name];
  const points = memory?.points ?? [];
  const values = points.map(([, , mb]) => mb);
  const peak = values.reduce((a, b) => Math.max(a, b), 0);
  const current = memory?.anon != null ? memory.anon / 1e6 : values.at(-1);
  const recycles = points.filter(([generation], n) => n && generation !== points[n - 1][0]).length;
  text(at.name, name);
  at.awaited.hidden = status.waits_for !== name;
  text(at.now, current == null ? "–" : size(current * 1e6));
  text(at.peak, peak ? `peak ${size(peak * 1e6)}` : "");
  text(at.verdict, memory?.verdict ?? "unknown");
  at.verdict.dataset.verdict = memory?.verdict ?? "unknown";
  text(at.slope, memory?.mb_per_chunk == null ? "" : `${memory.mb_per_chunk.toFixed(2)} MB a chunk`);
  const said = [];
  if (consumer) {
    said.push(consumer.behind ? `${plural(consumer.behind, "frame", "frames")} behind` : "up to date");
    said.push(`holds ${plural(consumer.holds, "slot", "slots")}`, plural(consumer.committed_chunks, "chunk committed", "chunks committed"));
    if (consumer.phase && consumer.phase !== "active") said.push(consumer.phase);
    if (consumer.recycled) said.push(`┊ recycled ${plural(consumer.recycled, "time", "times")}`);
    if (consumer.crashed) said.push(`crashed ${plural(consumer.crashed, "time", "times")}`);
  }
  text(at.facts, said.join(" · "));
  const label = current == null ? `Memory of ${name}: not yet known`
    : `Memory of ${name}: now ${size(current * 1e6)}, peak ${size(peak * 1e6)}, ${plural(recycles, "recycle", "recycles")}`;
  drawLine(node.querySelector("svg"), points, peak, domain, label);
}

// A line for each generation, from zero; a recycle is an upright where the next one begins.
function drawLine(svg, points, peak, [first, last], label) {
  const x = (chunk) => (((chunk - first) / Math.max(1, last - first)) * 100).toFixed(2);
  const y = (mb) => (31 - (mb / (peak * 1.15 || 1)) * 30).toFixed(2);
  let line = "", area = "", recycles = "", before = null;
  for (const [generation, chunk, mb] of points) {
    if (before === null || before[0] !== generation) {
      if (before) {
        area += `V32Z`;
        recycles += `M${x(chunk)} 0V32`;
      }
      line += `M${x(chunk)} ${y(mb)}h.01`; // a lone point shows, too
      area += `M${x(chunk)} 32V${y(mb)}`;
    } else {
      line += `L${x(chunk)} ${y(mb)}`;
      area += `L${x(chunk)} ${y(mb)}`;
    }
    before = [generation, chunk];
  }
  svg.setAttribute("aria-label", label);
  svg.querySelector(".line").setAttribute("d", line);
  svg.querySelector(".area").setAttribute("d", area && `${area}V32Z`);
  svg.querySelector(".recycles").setAttribute("d", recycles);
}

function drawPicture(link, run) {
  const picture = link.firstElementChild;
  if (!run.image) {
    link.hidden = true;
    return;
  }
  if (link.hidden) {
    link.href = `image/${Number(run.id)}`;
    picture.alt = `Latest preview of ${run.name}`;
    picture.onload = () => { link.hidden = false; };
    picture.onerror = () => { link.hidden = true; };
  }
  const time = performance.now();
  if (view.lost || time - (link.asked ?? -Infinity) < PICTURE_MS) return;
  link.asked = time;
  picture.src = `image/${Number(run.id)}?at=${Math.round(time)}`;
}

// ---- recordings

function drawStates(counts) {
  const total = view.snapshot.recordings.length;
  const shown = ["all", ...STATES.filter((state) => counts[state] || state === view.filter)];
  for (const state of ["all", ...STATES]) {
    let button = $("states").querySelector(`[data-state=${state}]`);
    if (!button) {
      button = document.createElement("button");
      button.type = "button";
      button.dataset.state = state;
      button.append(document.createElement("span"), " ", document.createElement("b"));
      button.onclick = () => {
        view.filter = view.filter === state ? "all" : state;
        view.rows = ROWS;
        draw();
      };
      $("states").append(button);
    }
    button.hidden = !shown.includes(state);
    button.setAttribute("aria-pressed", String(view.filter === state));
    text(button.firstElementChild, state);
    text(button.lastElementChild, number.format(state === "all" ? total : counts[state] ?? 0));
  }
}

function drawRecordings() {
  const words = view.words.toLowerCase();
  const { recordings } = view.snapshot;
  const found = recordings.filter((one) =>
    (view.filter === "all" || one.state === view.filter) &&
    (!words || [one.name, one.path, one.error].some((value) => value?.toLowerCase().includes(words))));
  const needs = (one) => Number(one.state === "quarantined" || one.state === "failed");
  found.sort((a, b) => needs(b) - needs(a)); // what needs a look first, and otherwise as they come
  list($("recordings"), "recording", found.slice(0, view.rows), (one) => one.id, drawRecording);
  $("none").hidden = found.length > 0;
  text($("none"), recordings.length ? "No recording is like that." : "No recording has appeared yet.");
  $("more").hidden = found.length <= view.rows;
  text($("more"), `Show more: ${number.format(found.length - view.rows)} are left`);
}

function drawRecording(node, one) {
  const at = parts(node);
  node.dataset.state = one.state;
  text(at.state, one.state);
  text(at.name, one.name);
  at.error.hidden = !one.error;
  text(at.error, one.error ?? "");
  const took = one.began && one.ended ? span(one.ended - one.began) : "";
  const what = {
    done: [one.frames == null ? "" : plural(one.frames, "frame", "frames"), took && `in ${took}`],
    failed: [plural(one.attempts, "attempt", "attempts"), one.next_try ? `next ${relative(one.next_try)}` : ""],
    quarantined: [`after ${plural(one.attempts, "attempt", "attempts")}`],
  }[one.state] ?? [size(one.size)];
  text(at.what, what.filter(Boolean).join(one.state === "done" ? " " : ", "));
  when(at.when, one.ended ?? one.began ?? one.seen);
  facts(at.facts, [
    ["Path", one.path],
    ["Size", size(one.size)],
    ["Frames", one.frames == null ? "" : number.format(one.frames)],
    ["Seen", one.seen && date(one.seen)],
    ["Began", one.began && date(one.began)],
    ["Ended", one.ended && date(one.ended)],
    ["Took", took],
    ["Attempts", one.attempts ? String(one.attempts) : ""],
    ["Next try", one.next_try && date(one.next_try)],
    ...Object.entries(one.outputs ?? {}).map(([name, path]) => [`Output of ${name}`, String(path)]),
    ["Configuration", one.configuration],
    ["Note", one.note],
    ["Error", one.error],
  ]);
  drawRetry(at.retry, one);
}

// ---- what a person may do

const key = document.querySelector('meta[name="act"]').content; // empty: this page only shows
const RETRY = { failed: "Try again now", quarantined: "Release and try again", done: "Do it again" };

async function act(path, question, button) {
  if (!confirm(question)) return;
  button.disabled = true;
  let words;
  try {
    const answer = await fetch(path, { method: "POST", headers: { "X-Streamer-Act": key } });
    words = answer.ok ? "" : (await answer.text()).trim();
  } catch {
    words = "The daemon did not answer.";
  }
  button.disabled = false;
  $("told").hidden = !words;
  text($("told"), words);
}

function drawRetry(button, one) {
  button.hidden = !key || !RETRY[one.state];
  text(button, RETRY[one.state] ?? "");
  button.setAttribute("aria-label", `${RETRY[one.state] ?? "Retry"}: ${visible(one.name)}`);
  const replaces = one.state === "done" ? " Its outputs are replaced." : "";
  button.onclick = () => act(`retry/${one.id}`, `Queue ${visible(one.name)} again, from its first attempt?${replaces}`, button);
}

$("drain").onclick = (event) =>
  act("drain", "Finish the chunks at hand and end the daemon? Nothing new begins until it is started again.", event.target);

// ---- all of it

function drawMachine(snapshot) {
  const { used, budget } = snapshot.memory;
  facts($("machine"), [
    ["Memory", budget ? `${size(used)} of ${size(budget)}` : size(used)],
    ...Object.entries(snapshot.free).map(([path, bytes]) => [`Free on ${path}`, size(bytes)]),
    ["Side by side", plural(snapshot.jobs, "recording", "recordings")],
    ["Version", snapshot.version],
    ["Process", String(snapshot.pid)],
    ["Up for", span(now() - snapshot.began)],
    ["Configuration", snapshot.config],
  ]);
}

function draw() {
  drawHeadline();
  const snapshot = view.snapshot;
  if (!snapshot) return;
  text($("config"), snapshot.config.split("/").at(-1));
  $("warnings").hidden = !snapshot.warnings.length;
  $("warnings").replaceChildren(...snapshot.warnings.map((warning) => {
    const item = document.createElement("li");
    text(item, warning);
    return item;
  }));
  $("acts").hidden = !key || Boolean(view.lost) || snapshot.state === "draining";
  $("idle").hidden = snapshot.running.length > 0;
  list($("running"), "run", snapshot.running, (run) => run.id, drawRun);
  drawStates(snapshot.counts);
  drawRecordings();
  drawMachine(snapshot);
}

$("search").oninput = (event) => {
  view.words = event.target.value;
  view.rows = ROWS;
  draw();
};
$("more").onclick = () => {
  view.rows += ROWS;
  draw();
};

// ---- the connection

let events = null;
let timer = 0;
let heard = true; // since the last connection was made

function connect() {
  clearTimeout(timer);
  if (!heard && !document.hidden) lose();
  heard = false;
  events?.close();
  events = null;
  if (document.hidden) return; // a page that nobody looks at costs the daemon nothing
  events = new EventSource("events");
  events.onmessage = ({ data }) => {
    const snapshot = JSON.parse(data);
    if (view.snapshot && view.snapshot.version !== snapshot.version) location.reload();
    Object.assign(view, { snapshot, at: performance.now(), lost: null });
    heard = true;
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
connect();
