// Numbers, times and names → words for people, and elements that show them. What comes from recordings is set as text,
// never as HTML.

export const $ = (id) => document.getElementById(id);

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const exact = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const short = new Intl.DateTimeFormat("en-GB", { timeStyle: "short" });
const clock = { ahead: 0 }; // seconds by which the daemon's clock is ahead of this machine's

export const count = (value) => number.format(value);
export const date = (seconds) => exact.format(seconds * 1000);
export const time = (milliseconds) => short.format(milliseconds);
export const plural = (value, one, many) => `${number.format(value)} ${value === 1 ? one : many}`;
export const setClock = (seconds) => { clock.ahead = seconds - Date.now() / 1000; };
export const now = () => Date.now() / 1000 + clock.ahead;

export function size(bytes) {
  if (bytes == null) return "–";
  const step = bytes < 999.5e3 ? [1e3, "kB"] : bytes < 999.5e6 ? [1e6, "MB"] : bytes < 999.5e9 ? [1e9, "GB"] : [1e12, "TB"];
  const value = bytes / step[0];
  return `${value.toFixed(value < 9.95 && step[0] > 1e6 ? 1 : 0)} ${step[1]}`;
}

export function span(seconds) {
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

export function relative(seconds) {
  const away = now() - seconds;
  if (Math.abs(away) < 2) return "now";
  return away > 0 ? `${coarse(away)} ago` : `in ${coarse(away)}`;
}

// ---- elements

// Control characters, and marks that turn the direction of writing, are shown and not obeyed.
const unsafe = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
export const visible = (value) =>
  typeof value === "string"
    ? value.replace(unsafe, (c) => (c === "\n" ? "\\n" : `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`))
    : value;

export function text(node, value) {
  value = visible(value);
  if (node.textContent !== value) node.textContent = value;
}

export function parts(node) {
  node.parts ??= Object.fromEntries([...node.querySelectorAll("[data-is]")].map((part) => [part.dataset.is, part]));
  return node.parts;
}

// Keeps the element of each key, so that focus, open details and scroll positions outlive an update.
export function list(parent, template, items, key, fill) {
  const wanted = new Set(items.map((item) => String(key(item))));
  const kept = new Map();
  for (const node of [...parent.children]) {
    if (wanted.has(node.dataset.key) && !kept.has(node.dataset.key)) kept.set(node.dataset.key, node);
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

export function facts(parent, pairs) {
  const shown = pairs.filter(([, value]) => value != null && value !== "");
  parent.hidden = !shown.length;
  list(parent, "fact", shown, ([name]) => name, (node, [name, value]) => {
    text(node.firstElementChild, name);
    text(node.lastElementChild, value);
  });
}

export function when(node, seconds) {
  node.hidden = seconds == null;
  if (seconds == null) return;
  node.dateTime = new Date(seconds * 1000).toISOString();
  node.title = date(seconds);
  text(node, relative(seconds));
}

// ---- what a person may do

const key = document.querySelector('meta[name="act"]').content; // empty: this page only shows
export const mayAct = Boolean(key);

export async function act(path, question, button) {
  if (question && !confirm(question)) return false;
  button.disabled = true;
  let words, good = false;
  try {
    const answer = await fetch(path, { method: "POST", headers: { "X-Streamer-Act": key } });
    words = (await answer.text()).trim();
    good = answer.ok;
    if (good) words = JSON.parse(words).text;
  } catch {
    words = "The daemon did not answer.";
  }
  button.disabled = false;
  tell(words);
  return good;
}

const TOLD_MS = 15_000;
let forgetting = 0;

export function tell(words) {
  clearTimeout(forgetting);
  if (words) forgetting = setTimeout(() => tell(""), TOLD_MS);
  $("told").hidden = !words;
  text($("told"), words ?? "");
}

export async function ask(path, as = "json") {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer[as]();
}
