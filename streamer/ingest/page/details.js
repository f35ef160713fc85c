// One recording, opened → how far it is, what is wrong and what to do, its pictures, outputs, memory and log.

import { act, ask, count, date, facts, list, mayAct, parts, plural, relative, size, span, text, visible, now } from "./words.js";

const PICTURE_MS = 2_000, CURVES_MS = 2_000, LOG_MS = 5_000, ABOUT_MS = 1_000;
const PICTURES = 6; // sheets of episodes that are shown before more are asked for
const CONSPICUOUS = ["growing", "leaking"];

// ---- how far a running one is

export function share(run) {
  const { done = 0, all = 0 } = run?.frames ?? {};
  return all ? done / all : 0;
}

export function progress(run) {
  const all = run?.frames?.all;
  const left = run?.seconds_left == null ? (all ? "" : "opening") : `${span(run.seconds_left)} left`;
  return all ? `${Math.floor(share(run) * 100)} %${left && ` · ${left}`}` : left;
}

const isOver = (consumer) => ["done", "failed", "stopped"].includes(consumer?.phase);

function waiting(run) {
  const consumers = Object.entries(run.consumers ?? {});
  const { done = 0, all = 0 } = run.frames ?? {};
  const open = consumers.filter(([, one]) => !isOver(one)).map(([name]) => name);
  if (!all || !open.length) return "";
  if (done >= all) return `All frames are through: ${open.join(", ")} ${open.length > 1 ? "finish their" : "finishes its"} output.`;
  const awaited = run.waits_for;
  if (!awaited) return "";
  if (awaited === "reader") return "Reading and decoding sets the pace.";
  const one = run.consumers?.[awaited];
  if (!one || isOver(one)) return "";
  return `${awaited} sets the pace${one.behind ? `: it is ${plural(one.behind, "frame", "frames")} behind` : ""}.`;
}

function drawRun(at, run) {
  at.run.hidden = !run;
  if (!run) return;
  const frames = run.frames ?? { done: 0, all: 0, per_second: 0 };
  const pool = run.pool;
  facts(at.figures, [
    ["Frames", frames.all ? `${count(frames.done)} of ${count(frames.all)}` : "–"],
    ["Rate", frames.all ? `${(frames.per_second ?? 0).toFixed(1)} frames/s` : "–"],
    ["Data", run.bytes_per_second == null ? "–" : `${size(run.bytes_per_second)}/s`],
    ["Shared memory", pool ? `${size(pool.in_use * pool.slot_bytes)} of ${size(pool.most * pool.slot_bytes)}` : "–"],
    ["Running for", run.began && span(now() - run.began)],
  ]);
  text(at.waits, waiting(run));
  at.waits.hidden = !at.waits.textContent;
  drawLatest(at.latest, run);
  drawMemory(at, run);
}

function drawLatest(link, run) {
  const picture = link.firstElementChild;
  if (!run.image) {
    link.hidden = true;
    return;
  }
  if (!link.href) {
    link.href = `image/${Number(run.id)}`;
    picture.onload = () => { link.hidden = false; };
    picture.onerror = () => { link.hidden = true; };
  }
  const at = performance.now();
  if (document.hidden || at - (link.asked ?? -Infinity) < PICTURE_MS) return;
  link.asked = at;
  picture.src = `image/${Number(run.id)}?at=${Math.round(at)}`;
}

// ---- memory: folded until it says something

function drawMemory(at, run) {
  const fold = at.memory, memory = run.memory ?? {};
  const known = Object.values(memory);
  fold.hidden = !known.length;
  const loud = Object.entries(memory).filter(([, one]) => CONSPICUOUS.includes(one.verdict)).map(([name]) => name);
  const held = size(known.reduce((sum, one) => sum + (one.anon ?? 0), 0));
  const worst = known.some((one) => one.verdict === "leaking") ? "leaking" : loud.length ? "growing" : known.some((one) => one.verdict === "stable") ? "stable" : "unknown";
  text(at.memoryWords, loud.length ? `${loud.join(", ")} ${loud.length > 1 ? "hold" : "holds"} more with every chunk` : `${held} in ${plural(known.length, "process", "processes")}`);
  text(at.memoryVerdict, worst === "unknown" ? "" : worst);
  at.memoryVerdict.dataset.verdict = worst;
  if (loud.length && fold.loud !== worst) fold.open = true; // once: a person may fold it again
  fold.loud = worst;
  if (!fold.open) return;
  const asked = performance.now();
  if (asked - (fold.asked ?? -Infinity) >= CURVES_MS) {
    fold.asked = asked;
    ask(`curves/${Number(run.id)}`).then((lines) => { fold.lines = lines; drawProcesses(at, run, memory, lines); }, () => {});
  }
  drawProcesses(at, run, memory, fold.lines ?? {});
}

function drawProcesses(at, run, memory, lines) {
  const names = Object.keys(memory).sort((a, b) => (memory[b].anon ?? 0) - (memory[a].anon ?? 0));
  const ends = Object.values(lines).flatMap((points) => points.map(([, chunk]) => chunk));
  const domain = [ends.reduce((a, b) => Math.min(a, b), Infinity), ends.reduce((a, b) => Math.max(a, b), 1)];
  list(at.processes, "process", names, (name) => name, (node, name) =>
    drawProcess(node, name, memory[name], run.consumers?.[name], lines[name] ?? [], domain));
}

function drawProcess(node, name, memory, consumer, points, domain) {
  const at = parts(node);
  const peak = Math.max(memory.peak ?? 0, memory.anon ?? 0);
  const recycles = points.filter(([generation], n) => n && generation !== points[n - 1][0]).length;
  text(at.name, name);
  text(at.now, size(memory.anon));
  text(at.peak, peak ? `peak ${size(peak)}` : "");
  text(at.verdict, memory.verdict === "unknown" ? "too early to tell" : memory.verdict ?? "");
  at.verdict.dataset.verdict = memory.verdict ?? "unknown";
  text(at.slope, memory.mb_per_chunk == null ? "" : `${memory.mb_per_chunk.toFixed(2)} MB a chunk`);
  const said = [];
  if (consumer) {
    if (isOver(consumer)) said.push(consumer.phase);
    else if (consumer.behind) said.push(`${plural(consumer.behind, "frame", "frames")} behind`);
    said.push(plural(consumer.committed_chunks ?? 0, "chunk committed", "chunks committed"));
    if (consumer.recycled) said.push(`┊ replaced ${plural(consumer.recycled, "time", "times")} to give memory back`);
    if (consumer.crashed) said.push(`crashed ${plural(consumer.crashed, "time", "times")}`);
  }
  text(at.facts, said.join(" · "));
  const label = `Memory of ${name}: now ${size(memory.anon)}, peak ${size(peak)}, ${plural(recycles, "recycle", "recycles")}`;
  drawLine(node.querySelector("svg"), points, peak / 1e6, domain, label);
}

// A line for each process, from zero; where one is replaced by the next, there is an upright.
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

// ---- what is wrong, and what to do

function advice(one, about) {
  if (about?.advice) return `${about.advice[0].toUpperCase()}${about.advice.slice(1)}.`;
  if (one.state === "quarantined") return mayAct ? "Mend what is named above, then release it." : "Mend what is named above, then: streamer quarantine retry CONFIG";
  if (one.next_try) return `Nothing: it is tried again by itself ${relative(one.next_try)}.`;
  return one.state === "failed" ? "Nothing: it begins again when its file has settled." : "Nothing yet: its recorder may still close it.";
}

function drawTrouble(at, one, about) {
  const error = about?.error ?? one.error ?? "";
  at.trouble.hidden = !error;
  if (!error) return;
  const hint = about?.advice && error.endsWith(`; ${about.advice}`) ? about.advice.length + 2 : 0;
  text(at.wrong, error.slice(0, error.length - hint));
  text(at.todo, advice(one, about));
}

// ---- pictures and outputs

// Look before you train: a verdict and a note, kept beside the outputs; merging goes by them.
function drawReview(at, one, name, said, relearn) {
  at.review.hidden = !said;
  if (!said) return;
  at.review.setAttribute("aria-label", `Review of ${visible(name)}`);
  at.note.setAttribute("aria-label", `Note on ${visible(name)}`);
  if (document.activeElement !== at.note) at.note.value = said.note;
  const say = async (verdict, button) => {
    const query = new URLSearchParams({ name, verdict, note: at.note.value });
    if (await act(`review/${Number(one.id)}?${query}`, "", button)) relearn();
  };
  for (const [button, verdict] of [[at.accept, "accepted"], [at.reject, "rejected"]]) {
    button.setAttribute("aria-pressed", String(said.verdict === verdict));
    button.onclick = () => say(said.verdict === verdict ? "" : verdict, button);
  }
  at.note.onchange = () => say(said.verdict, at.note);
}

function drawPictures(at, one, about, relearn) {
  const drawn = about?.pictures ?? [];
  const said = Object.assign(Object.create(null), mayAct ? about?.review?.episodes : null);
  const names = drawn.length ? drawn : Object.keys(said);
  at.pictures.hidden = one.state !== "done" || !about;
  at.noPicture.hidden = drawn.length > 0;
  const most = at.pictures.most ?? PICTURES;
  list(at.sheets, "sheet", names.slice(0, most).map((name, n) => [name, n]), ([name]) => name, (node, [name, n]) => {
    const inside = parts(node);
    const path = `picture/${Number(one.id)}/${n}?of=${one.ended ?? 0}`;
    inside.link.hidden = !drawn.length;
    if (drawn.length && inside.link.getAttribute("href") !== path) {
      inside.link.href = path;
      inside.picture.src = path;
    }
    inside.picture.alt = `Pictures and curves of ${visible(name)}: frames side by side, below each stream its curve and how far it is from the tick`;
    text(inside.name, names.length > 1 ? name : "");
    drawReview(inside, one, name, said[name], relearn);
  });
  at.moreSheets.hidden = names.length <= most;
  text(at.moreSheets, `Show more: ${count(names.length - most)} are left`);
  at.moreSheets.onclick = () => { at.pictures.most = most + 4 * PICTURES; drawPictures(at, one, about, relearn); };
}

function drawOutputs(at, one, about) {
  const outputs = about?.outputs ?? [];
  at.outputs.hidden = !outputs.length;
  list(at.outputList, "output", outputs, ({ consumer }) => consumer, (node, output) => {
    const inside = parts(node);
    text(inside.consumer, output.consumer);
    text(inside.path, output.there ? output.path : `${output.path} (no longer there)`);
    list(inside.files, "file", output.files.map((file, n) => ({ ...file, n })), ({ name }) => name, (item, file) => {
      const link = item.firstElementChild;
      text(link, file.name);
      text(item.lastElementChild, size(file.size));
      if (mayAct) link.href = `output/${Number(one.id)}/${encodeURIComponent(output.consumer)}/${file.n}`;
    });
  });
}

// ---- its log

function drawLog(at, one, about) {
  const names = mayAct ? about?.logs ?? [] : [];
  at.log.hidden = !names.length;
  if (!names.length) return;
  const kept = at.logName.value;
  if ([...at.logName.options].map((option) => option.value).join("\n") !== names.join("\n")) {
    at.logName.replaceChildren(...names.map((name) => new Option(visible(name), name, false, name === kept)));
  }
  const look = () => showTail(at.log, at.logText, `log/${Number(one.id)}?of=${encodeURIComponent(at.logName.value)}`);
  at.logName.onchange = () => { at.log.asked = undefined; look(); };
  at.log.ontoggle = look;
  look();
}

export function showTail(fold, place, path) {
  const at = performance.now();
  if (!fold.open || document.hidden || at - (fold.asked ?? -Infinity) < LOG_MS) return;
  fold.asked = at;
  ask(path, "text").then((tail) => {
    const isAtEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 8;
    if (place.textContent !== tail) place.textContent = tail;
    if (isAtEnd) place.scrollTop = place.scrollHeight;
  }, (error) => { place.textContent = error.message; });
}

// ---- all of it

const RETRY = { failed: "Try again now", quarantined: "Release and try again", done: "Do it again" };

function drawRetry(button, one) {
  button.hidden = !mayAct || !RETRY[one.state];
  text(button, RETRY[one.state] ?? "");
  button.setAttribute("aria-label", `${RETRY[one.state] ?? "Retry"}: ${visible(one.name)}`);
  const replaces = one.state === "done" ? " Its outputs are replaced." : "";
  button.onclick = () => act(`retry/${Number(one.id)}`, `Queue ${visible(one.name)} again, from its first attempt?${replaces}`, button);
}

// What the daemon knows beside the row is asked for when a recording is opened, and again when its row has changed.
function learn(node, one, redraw) {
  const mark = JSON.stringify(one);
  if (one.id == null || node.mark === mark || performance.now() - (node.asked ?? -Infinity) < ABOUT_MS) return;
  node.mark = mark;
  node.asked = performance.now();
  ask(`recording/${Number(one.id)}`).then((about) => { node.about = about; redraw(); }, () => { node.mark = ""; });
}

export function drawDetails(node, one, run) {
  const at = parts(node);
  const about = node.about;
  learn(node, one, () => drawDetails(node, one, run));
  drawTrouble(at, one, about);
  drawRun(at, one.state === "running" ? run : null);
  drawPictures(at, one, about, () => {
    node.mark = "";
    node.asked = undefined;
    drawDetails(node, one, run);
  });
  drawOutputs(at, one, about);
  const skipped = Object.entries(about?.report?.frames?.skipped ?? {}).map(([why, n]) => `${count(n)} ${why}`).join(", ");
  facts(at.facts, [
    ["File", one.path],
    ["Size", size(one.size)],
    ["Frames", one.frames == null ? "" : count(one.frames)],
    ["Left out", skipped],
    ["Seen", one.seen && date(one.seen)],
    ["Began", one.began && date(one.began)],
    ["Ended", one.ended && date(one.ended)],
    ["Took", one.began && one.ended && one.state === "done" ? span(one.ended - one.began) : ""],
    ["Attempts", one.attempts > 1 || one.error ? String(one.attempts) : ""],
    ["Next try", one.next_try && date(one.next_try)],
    ["Note", about?.note],
    ["Warnings", (about?.report?.warnings ?? []).join("\n")],
  ]);
  drawRetry(at.retry, one);
  drawLog(at, one, about);
}
