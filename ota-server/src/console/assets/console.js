// What pages do beyond HTML: they stay current, show times in the viewer's zone, sort and filter tables, and upload
// with progress. Without this file everything but drag and drop works all the same.
"use strict";

// The server writes times in the zone that this cookie names. A page that it wrote before it knew is told again here; the
// server draws what it alone can draw (charts, forms that are still empty) once more.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
const told = () => document.cookie.split("; ").includes(`ota_zone=${encodeURIComponent(zone)}`);
const wasTold = told();
if (!wasTold) document.cookie = `ota_zone=${encodeURIComponent(zone)}; path=/; max-age=31536000; samesite=strict`;
const isLate = !wasTold && told() && (document.body.dataset.zone ?? zone) !== zone;
function localTimes() {
  const parts = { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const form = new Intl.DateTimeFormat("en-US", { ...parts, timeZone: zone });
  for (const time of document.querySelectorAll("time[data-local]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const of = Object.fromEntries(form.formatToParts(at).map(({ type, value }) => [type, value]));
    time.textContent = `${of.day} ${of.month} ${of.year}, ${of.hour}:${of.minute}`;
  }
  document.querySelectorAll("[data-zone-name]").forEach((name) => { name.textContent = zone; });
}

// Makes an element say what a fresh one says, and leaves alone what is the same: whoever has the focus in it, has marked a
// word or has opened something keeps that. Elements that are called or lead the same are the same ones, wherever they are.
const called = (node) => node.id || node.getAttribute?.("href") || node.querySelector?.("a[href]")?.getAttribute("href") || "";
const kind = (node) => `${node.nodeName} ${called(node)}`;
function patch(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name, value } of [...fresh.attributes]) {
    // People open and close what they read themselves.
    if (old.getAttribute(name) !== value && name !== "open") old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !["open", "tabindex", "data-label", "role", "aria-sort"].includes(name)) old.removeAttribute(name);
  }
  // Its button was put there by this script.
  if (old.matches("th[data-sort]")) return;
  const left = [...old.childNodes].map((node) => ({ node, is: kind(node) }));
  const wanted = [...fresh.childNodes].map((child) => {
    const is = kind(child);
    const at = left.findIndex((one) => one.is === is);
    return { child, same: at >= 0 ? left.splice(at, 1)[0].node : null };
  });
  left.forEach(({ node }) => node.remove());
  let place = old.firstChild;
  for (const { child, same } of wanted) {
    if (same) patch(same, child);
    if (same && same === place) place = place.nextSibling;
    else old.insertBefore(same ?? document.importNode(child, true), place);
  }
}

// A page with parts marked `data-live` is asked for again and again; what differs in them is changed.
const sign = document.querySelector("[data-live-sign]");
const parts = document.querySelectorAll("[data-live]");
const every = Number(document.body.dataset.every || 0) * 1000;
let failures = 0;
async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { headers: { "x-live": "1" }, credentials: "same-origin" });
    if (answer.redirected || answer.status === 401) { location.reload(); return; }
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const now = fresh.getElementById(part.id);
      const focused = part.contains(document.activeElement) ? document.activeElement : null;
      // Whoever is typing there is not disturbed.
      if (!now || focused?.matches("input, select, textarea") || now.outerHTML === part.dataset.seen) continue;
      const seen = now.outerHTML;
      patch(part, now);
      part.dataset.seen = seen;
      prepare(part);
      // It was moved; or it is gone, and who was there stays in the same part of the page.
      if (focused && !focused.isConnected) part.tabIndex = -1;
      if (focused && document.activeElement !== focused) (focused.isConnected ? focused : part).focus({ preventScroll: true });
    }
    failures = 0;
    if (sign) { sign.className = "live on"; sign.textContent = `Live, as of ${new Date().toLocaleTimeString("en-GB", { timeZone: zone })}`; }
  } catch {
    failures += 1;
    if (sign) { sign.className = "live off"; sign.textContent = "No connection: what you see may be old. Trying again."; }
  }
}
if (every && parts.length) {
  if (sign) { sign.className = "live on"; sign.textContent = "Live"; }
  const again = () => setTimeout(async () => { await refresh(); again(); }, Math.min(every * 2 ** failures, 60000));
  again();
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
}

// Tables that are whole on the page sort by their headings and filter by what is typed above them.
function sortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  const sort = (heading) => {
    const up = heading.getAttribute("aria-sort") === "ascending";
    const at = headings.indexOf(heading);
    const key = (row) => row.children[at].dataset.key ?? row.children[at].textContent.trim();
    const body = table.tBodies[0];
    const order = (a, b) => key(a).localeCompare(key(b), undefined, { numeric: true, sensitivity: "base" });
    const rows = [...body.rows].sort((a, b) => (up ? order(a, b) : order(b, a)));
    if (rows.some((row, index) => row !== body.rows[index])) body.append(...rows);
  };
  for (const heading of headings.filter((one) => one.matches("[data-sort]") && !one.querySelector("button"))) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      sort(heading);
    });
  }
  // Rows that came since stand where they belong.
  const sorted = headings.find((one) => one.hasAttribute("aria-sort"));
  if (sorted) sort(sorted);
}
// On a telephone each row of a wide table is shown as a block, with the name of its column beside each cell. Elements that
// are shown as blocks are no table any more for whoever hears the page, so their roles are named.
const ROLES = { TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TD: "cell" };
function labelled(table) {
  const names = [...table.tHead.rows[0].cells].map((heading) => (heading.querySelector(".visually-hidden") ? "" : heading.textContent.trim()));
  for (const part of [table, ...table.querySelectorAll("thead, tbody, tr, td")]) part.setAttribute("role", ROLES[part.nodeName]);
  for (const heading of table.querySelectorAll("th")) heading.setAttribute("role", heading.scope === "row" ? "rowheader" : "columnheader");
  for (const row of table.tBodies[0].rows) {
    [...row.cells].forEach((cell, at) => { cell.dataset.label = names[at] ?? ""; });
  }
  table.classList.add("labelled");
}
function filterable(input) {
  const table = document.getElementById(input.dataset.filter);
  const said = document.getElementById(`${input.dataset.filter}-said`);
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    if (said) said.textContent = words.length ? `${shown} shown` : "";
    const url = new URL(location.href);
    if (input.value) url.searchParams.set("find", input.value); else url.searchParams.delete("find");
    history.replaceState(null, "", url);
  };
  input.closest("[hidden]")?.removeAttribute("hidden");
  input.value = new URL(location.href).searchParams.get("find") ?? input.value;
  input.addEventListener("input", apply);
  if (input.value) apply();
}

// One request of an upload; `sent` is told of its progress. Ends well with what the server answers, and otherwise with what
// it refused, or with nothing where it cannot be reached.
function ask(method, address, csrf, { headers = {}, body = null, sent = null, current = {} } = {}) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    current.abort = () => request.abort();
    if (sent) request.upload.addEventListener("progress", (now) => sent(now.loaded));
    request.addEventListener("load", () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { answer = { detail: request.statusText }; }
      if (request.status < 300) done(answer);
      else fail({ status: request.status, refused: answer.detail });
    });
    for (const kind of ["error", "abort"]) request.addEventListener(kind, () => fail({}));
    request.open(method, address);
    request.setRequestHeader("x-csrf-token", csrf);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.send(body);
  });
}

// Uploads a file and goes on where it was when the connection breaks off, or the server is started anew.
async function send({ upload, csrf }, file, current, show) {
  const begun = await ask("POST", upload, csrf, { current });
  const address = `/api/v1/uploads/${begun.id}`;
  try {
    return await sendAll(address, csrf, file, current, show);
  } catch (why) {
    // Nobody goes on with it; if this does not get through, the server drops it after a while.
    ask("DELETE", address, csrf).catch(() => {});
    throw why;
  }
}

async function sendAll(address, csrf, file, current, show) {
  let [from, best, tries] = [0, 0, 0];
  for (;;) {
    try {
      const headers = { "upload-offset": String(from), "upload-complete": "?1", "content-type": "application/octet-stream" };
      const sent = (bytes) => show(from + bytes);
      return (await ask("PATCH", address, csrf, { headers, body: file.slice(from), sent, current })).content;
    } catch (why) {
      // What begins at the wrong place can be sent from the right one; anything else that is refused stays refused.
      if (current.isRemoved || (why.refused && why.status !== 409)) throw why;
    }
    for (;;) {
      if (current.isRemoved || tries >= 6) throw {};
      await new Promise((wake) => setTimeout(wake, 500 * 2 ** tries));
      tries += 1;
      try {
        const now = await ask("GET", address, csrf, { current });
        if (now.content) return now.content;
        if (now.offset > best) [best, tries] = [now.offset, 0];
        from = now.offset;
        break;
      } catch (why) {
        if (why.refused && why.status < 500) throw why;
      }
    }
  }
}

// Files that are dropped or chosen are uploaded at once, one after the other, each with its progress; the form then only
// names what was uploaded.
function uploads(form) {
  const rows = form.querySelector("[data-rows]");
  const template = form.querySelector("template[data-row]");
  const drop = form.querySelector("[data-drop]");
  const said = form.querySelector("[data-said]");
  const submit = form.querySelector("button.first");
  const waiting = [];
  let number = Math.max(-1, ...[...rows.children].map((row) => Number(row.dataset.file))) + 1;
  let current = null;
  const tell = () => {
    const left = waiting.length + (current ? 1 : 0);
    submit.disabled = left > 0;
    said.textContent = left ? `${left} of the files on their way` : "";
  };
  const next = () => {
    current = waiting.shift() ?? null;
    tell();
    if (!current) return;
    const { row, file } = current;
    const state = row.querySelector("[data-state]");
    const bar = row.querySelector("progress");
    const failed = (why) => { state.textContent = why; bar.value = 0; };
    const show = (sent) => {
      bar.value = file.size ? sent / file.size : 1;
      state.textContent = `${Math.round(bar.value * 100)} % of ${(file.size / 1048576).toFixed(1)} MiB`;
    };
    send(form.dataset, file, current, show).then((content) => {
      row.querySelector("input[type=hidden]").value = JSON.stringify(content);
      bar.value = 1;
      state.textContent = `${file.size.toLocaleString()} bytes, uploaded`;
    }).catch((why) => failed(why.refused ? `Refused: ${why.refused}` : "The upload broke off; choose the file again.")).finally(next);
  };
  const add = (file) => {
    const box = document.createElement("div");
    box.innerHTML = template.innerHTML.replaceAll("NUMBER", String(number));
    const row = box.firstElementChild;
    const field = (name) => row.querySelector(`[name=file-${number}-${name}]`);
    const before = rows.lastElementChild;
    field("name").value = file.name;
    // Files of one package mostly share their revision.
    field("revision").value = before?.querySelector("[name$=-revision]").value ?? "";
    rows.append(row);
    removable(row);
    number += 1;
    waiting.push({ row, file });
    tell();
    if (!current) next();
  };
  const removable = (row) => row.querySelector("[data-remove]").addEventListener("click", () => {
    const at = waiting.findIndex((one) => one.row === row);
    if (at >= 0) waiting.splice(at, 1);
    if (current?.row === row) {
      current.isRemoved = true;
      current.abort?.();
    }
    row.remove();
    tell();
  });
  [...rows.children].forEach(removable);
  drop.hidden = false;
  drop.querySelector("input").addEventListener("change", (event) => {
    [...event.target.files].forEach(add);
    event.target.value = "";
  });
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    [...event.dataTransfer.files].forEach(add);
  });
}

// A file whose bytes go into a field as hexadecimal digits.
function hexFile(box) {
  box.hidden = false;
  box.querySelector("input").addEventListener("change", async (event) => {
    const bytes = new Uint8Array(await event.target.files[0].arrayBuffer());
    document.getElementById(box.dataset.hexFile).value = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  });
}

// Fields that only matter for one choice are shown with it.
function choices(root) {
  for (const select of root.querySelectorAll("select[data-shows]")) {
    const show = () => {
      for (const field of document.querySelectorAll(`[data-if^="${select.name}="]`)) {
        field.hidden = !field.dataset.if.slice(select.name.length + 1).split(" ").includes(select.value);
      }
    };
    select.addEventListener("change", show);
    show();
  }
}

function prepare(root) {
  root.querySelectorAll(".scroll > table").forEach(labelled);
  root.querySelectorAll("table[data-sortable]").forEach(sortable);
  root.querySelectorAll("input[data-filter]").forEach(filterable);
  root.querySelectorAll("form[data-upload]").forEach(uploads);
  root.querySelectorAll("[data-hex-file]").forEach(hexFile);
  choices(root);
}
prepare(document);
document.querySelector("[data-wrong]")?.focus();
if (isLate) {
  localTimes();
  if (document.querySelector("[data-fresh-zone]")) location.reload();
  else if (parts.length) refresh();
}
