
"use strict";
const ROW_PX = 64; // as in the style sheet
const KEPT_ROWS = 6; // drawn above and below what is seen
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const list = byId("list"), dialog = byId("item");
let rows = [], shown = [], active = 0;

async function inflate(text) {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let n = 0; n < bytes.length; n++) bytes[n] = letters.charCodeAt(n); // three times as fast as Uint8Array.from
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

function readBlock([indices, keys, verdicts, widths, heights, classes, reasons, findings]) {
  return indices.map((index, n) => ({
    index, key: keys[n], lower: keys[n].toLowerCase(), verdict: data.names[verdicts[n]] || "done",
    width: widths[n], height: heights[n], reason: reasons[n], class: classes[n], findings: findings[n],
  }));
}

/* --- filters */

function tally(idsOf) {
  const counts = new Map();
  for (const row of rows) {
    const ids = idsOf(row);
    for (const id of ids.length > 1 ? new Set(ids) : ids) counts.set(id, (counts.get(id) || 0) + 1);
  }
  return [...counts].sort((one, other) => other[1] - one[1]);
}

function addOptions(parent, options) {
  for (const [value, text] of options) parent.append(new Option(text, value));
}

function makeFilters() {
  addOptions(byId("state"), [["", "all"]]);
  addOptions(byId("state"), tally((row) => [row.verdict]).map(([name, n]) => [name, `${name} (${n.toLocaleString("en")})`]));
  addOptions(byId("check"), [["", "any or none"]]);
  const groups = { "Failed checks": tally((row) => row.findings.map((one) => one[1])),
    Failures: tally((row) => (row.class === null ? [] : [row.class])) };
  for (const [label, counts] of Object.entries(groups)) {
    if (!counts.length) continue;
    const group = document.createElement("optgroup");
    group.label = label;
    addOptions(group, counts.map(([id, n]) => [id, `${data.names[id]} (${n.toLocaleString("en")})`]));
    byId("check").append(group);
  }
}

function filter() {
  const text = byId("text").value.toLowerCase(), verdict = byId("state").value;
  const check = byId("check").value === "" ? null : Number(byId("check").value);
  shown = rows.filter((row) => (!verdict || row.verdict === verdict) && (!text || row.lower.includes(text))
    && (check === null || row.class === check || row.findings.some((one) => one[1] === check)));
  const cut = rows.length < data.images ? ` (the list has ${rows.length.toLocaleString("en")} of ${data.images.toLocaleString("en")} images; results.jsonl has all)` : "";
  byId("count").textContent = `${shown.length.toLocaleString("en")} ${shown.length === 1 ? "image" : "images"}${cut}`;
  byId("rows").style.height = `${shown.length * ROW_PX}px`;
  list.scrollTop = 0;
  active = 0;
  draw();
}

/* --- the list: only the rows that are seen are elements */

function element(name, classes, text) {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  if (text !== undefined) made.textContent = text;
  return made;
}

function summary(row) {
  if (row.class !== null) return `${data.names[row.class]}: ${row.reason}`;
  const names = [...new Set(row.findings.map((one) => data.names[one[1]]))].join(", ");
  return [row.width ? `${row.width} x ${row.height}` : "", names].filter(Boolean).join("; ");
}

function image(source, text) {
  const made = element("img");
  made.alt = text;
  made.src = source;
  return made;
}

function rowElement(position) {
  const row = shown[position], made = element("div", "row"), words = element("div");
  made.id = `row-${position}`;
  made.setAttribute("role", "option");
  made.setAttribute("aria-setsize", shown.length);
  made.setAttribute("aria-posinset", position + 1);
  made.setAttribute("aria-selected", position === active);
  made.style.top = `${position * ROW_PX}px`;
  const preview = data.previews[row.index];
  words.append(element("div", "", row.key));
  words.firstChild.title = row.key;
  words.append(element("small", "", summary(row)));
  made.append(preview ? image(preview, "before and after") : element("span", "none"), words, element("span", row.verdict, row.verdict));
  made.addEventListener("click", () => { active = position; draw(); open(); });
  return made;
}

function draw() {
  const first = Math.max(0, Math.floor(list.scrollTop / ROW_PX) - KEPT_ROWS);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW_PX) + KEPT_ROWS);
  const drawn = [];
  for (let position = first; position < last; position++) drawn.push(rowElement(position));
  byId("rows").replaceChildren(...drawn);
  if (active >= first && active < last) list.setAttribute("aria-activedescendant", `row-${active}`);
  else list.removeAttribute("aria-activedescendant");
}

function move(to) {
  if (!shown.length) return;
  active = Math.min(Math.max(to, 0), shown.length - 1);
  const top = active * ROW_PX;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW_PX > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW_PX - list.clientHeight;
  draw();
}

/* --- one image */

function previewOf(row) {
  const source = data.previews[row.index] || (data.folder && row.class === null ? `${data.folder}/${row.index}.webp` : null);
  if (!source) return element("p", "hint", "No preview.");
  const made = image(source, "before and after");
  made.addEventListener("error", () => made.replaceWith(element("p", "hint", `No preview at ${source}.`)));
  return made;
}

function open() {
  const row = shown[active];
  if (!row) return;
  byId("item-key").textContent = row.key;
  byId("item-image").replaceChildren(previewOf(row));
  const facts = [`image ${row.index}`, row.verdict, row.width ? `${row.width} x ${row.height}` : ""];
  if (row.class !== null) facts.push(`${data.names[row.class]}: ${row.reason}`);
  byId("item-facts").textContent = facts.filter(Boolean).join(" · ");
  const cells = row.findings.map(([output, check, value, limit, must]) =>
    [data.names[output], data.names[check], value, limit, must ? "must" : "should"]);
  if (cells.length) cells.unshift(["output", "check", "measured", "limit", "level"]);
  byId("item-findings").replaceChildren(...cells.map((line, n) => {
    const made = element("tr");
    made.append(...line.map((cell) => element(n ? "td" : "th", "", cell === null ? "" : String(cell))));
    return made;
  }));
  if (!dialog.open) dialog.showModal();
}

function step(by) {
  move(active + by);
  open();
}

/* --- keys */

function pageRows() {
  return Math.max(1, Math.floor(list.clientHeight / ROW_PX) - 1);
}

function onListKey(event) {
  const steps = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + pageRows(), PageUp: active - pageRows(), Home: 0, End: shown.length - 1 };
  if (event.key in steps) move(steps[event.key]);
  else if (event.key === "Enter" || event.key === " ") open();
  else return;
  event.preventDefault();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input, select");
  if (dialog.open) {
    if (event.key === "ArrowDown" || event.key === "ArrowRight") step(1);
    else if (event.key === "ArrowUp" || event.key === "ArrowLeft") step(-1);
    else return;
  } else if (event.key === "/" && !typing) {
    byId("text").focus();
    byId("text").select();
  } else if (event.key === "ArrowDown" && event.target === byId("text")) list.focus();
  else return;
  event.preventDefault();
}

async function start() {
  const blocks = await Promise.all(data.blocks.map(inflate));
  const read = blocks.flatMap(readBlock);
  // Blocks begin with the images that need a look; others with a preview in the page follow.
  const parts = [[], [], [], []];
  for (const row of read) {
    const isEarly = row.verdict !== "ok" && row.verdict !== "done";
    parts[(isEarly ? 0 : 2) + (data.previews[row.index] ? 0 : 1)].push(row);
  }
  rows = parts.flat();
  byId("note").textContent = "This report has totals only: the list of images was too large or could not be read.";
  if (!rows.length) return;
  byId("note").hidden = true;
  byId("images").hidden = false;
  makeFilters();
  for (const id of ["text", "state", "check"]) byId(id).addEventListener("input", filter);
  list.addEventListener("scroll", draw, { passive: true });
  list.addEventListener("keydown", onListKey);
  document.addEventListener("keydown", onKey);
  addEventListener("resize", draw);
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  filter();
}

start();
