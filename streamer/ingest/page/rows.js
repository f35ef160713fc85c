// All recordings → the list: what runs first, then what needs a look, then the rest; filtered, searched, a page at a time.

import { drawDetails, progress, share } from "./details.js";
import { $, count, list, parts, plural, relative, size, span, text, visible, when } from "./words.js";

const STATES = ["running", "quarantined", "failed", "settling", "seen", "queued", "done"];
const ROWS = 50;

const shown = { filter: "all", words: "", rows: ROWS };

const rank = ({ state }) => (state === "failed" ? 1 : STATES.indexOf(state));
const newest = (a, b) => (b.ended ?? 0) - (a.ended ?? 0) || (b.id ?? Infinity) - (a.id ?? Infinity) || 0;

function drawStates(counts, redraw) {
  const total = STATES.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
  for (const state of ["all", ...STATES]) {
    let button = $("states").querySelector(`[data-state=${state}]`);
    if (!button) {
      button = document.createElement("button");
      button.type = "button";
      button.dataset.state = state;
      button.append(document.createElement("span"), " ", document.createElement("b"));
      button.onclick = () => {
        shown.filter = shown.filter === state ? "all" : state;
        shown.rows = ROWS;
        redraw();
      };
      $("states").append(button);
    }
    button.hidden = state !== "all" && !counts[state] && state !== shown.filter;
    button.setAttribute("aria-pressed", String(shown.filter === state));
    text(button.firstElementChild, state);
    text(button.lastElementChild, count(state === "all" ? total : counts[state] ?? 0));
  }
}

export function drawRows({ head, rows, running }, redraw) {
  drawStates(head.counts, redraw);
  const words = shown.words.toLowerCase();
  const all = Object.entries(rows).map(([key, row]) => Object.assign(Object.create(null), row, { key }));
  const found = all.filter((one) =>
    (shown.filter === "all" || one.state === shown.filter) &&
    (!words || [one.name, one.path, one.error].some((value) => value?.toLowerCase().includes(words))));
  found.sort((a, b) => rank(a) - rank(b) || newest(a, b));
  list($("recordings"), "recording", found.slice(0, shown.rows), (one) => one.key, (node, one) => drawRow(node, one, running[one.key]));
  $("none").hidden = found.length > 0;
  text($("none"), all.length ? "No recording is like that." : `No recording yet. One that appears in ${head.watch.join(" or ")} begins by itself.`);
  $("more").hidden = found.length <= shown.rows;
  text($("more"), `Show more: ${count(found.length - shown.rows)} are left`);
  const older = (head.counts.done ?? 0) - all.filter((one) => one.state === "done").length;
  $("older").hidden = older <= 0;
  text($("older"), `${plural(older, "older recording is", "older recordings are")} done and not listed.`);
  $("more").onclick = () => {
    shown.rows += ROWS;
    redraw();
  };
  $("search").oninput = ({ target }) => {
    shown.words = target.value;
    shown.rows = ROWS;
    redraw();
  };
}

function drawRow(node, one, run) {
  const at = parts(node);
  node.dataset.state = one.state;
  text(at.state, one.state);
  text(at.name, one.name);
  at.error.hidden = !one.error;
  text(at.error, one.error ?? "");
  const took = one.began && one.ended ? span(one.ended - one.began) : "";
  const what = {
    running: [progress(run)],
    done: [one.frames == null ? "" : plural(one.frames, "frame", "frames"), took && `in ${took}`],
    failed: [plural(one.attempts, "attempt", "attempts"), one.next_try ? `next ${relative(one.next_try)}` : ""],
    quarantined: [`after ${plural(one.attempts, "attempt", "attempts")}`],
  }[one.state] ?? [size(one.size)];
  text(at.what, what.filter(Boolean).join(one.state === "done" ? " " : ", "));
  when(at.when, one.state === "running" ? one.began : one.ended ?? one.seen);
  at.bar.hidden = one.state !== "running";
  at.bar.value = share(run);
  at.bar.setAttribute("aria-label", `Progress of ${visible(one.name)}`);
  const details = node.firstElementChild;
  details.ontoggle = () => { if (details.open) drawDetails(node, one, run); };
  if (details.open) drawDetails(node, one, run);
}

// ---- keys: / searches, j and k go down and up, Escape closes

document.addEventListener("keydown", (event) => {
  const place = event.target;
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "Escape") {
    if (place === $("search") && place.value) {
      place.value = "";
      place.dispatchEvent(new Event("input"));
    }
    const open = place.closest("#recordings > li > details[open]");
    if (open) {
      open.open = false;
      open.firstElementChild.focus();
    }
    return;
  }
  if (place.matches("input, textarea, select")) return;
  if (event.key === "/") {
    event.preventDefault();
    $("search").focus();
  } else if (event.key === "j" || event.key === "k") {
    const summaries = [...document.querySelectorAll("#recordings > li > details > summary")];
    const at = summaries.findIndex((summary) => summary.parentElement.contains(place));
    const to = at < 0 ? 0 : at + (event.key === "j" ? 1 : -1);
    summaries[Math.max(0, Math.min(summaries.length - 1, to))]?.focus();
  }
});
