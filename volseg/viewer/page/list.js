/** The list of scans, those to be trusted least first. */
import { element } from "./panels.js";
import { listScans } from "./server.js";
import { clock, warn } from "./status.js";

const byId = (id) => document.getElementById(id);

function row(scan) {
  const failed = scan.status === "failed";
  const name = failed ? element("span", {}, scan.name) : element("a", { href: `scans/${encodeURIComponent(scan.name)}/` }, scan.name);
  const cells = failed
    ? [element("td", { colspan: 4, class: "problem" }, `Failed: ${scan.reason}`)]
    : [confidence(scan), organs(scan), checked(scan), corrected(scan)];
  return element("tr", { class: failed ? "failed" : null, "data-scan": scan.name }, element("th", { scope: "row" }, name, ...scan.outside.map((one) => element("p", { class: "flag" }, one))), ...cells);
}

function confidence({ confidence: value, calibrated }) {
  if (value === null) return element("td", { "data-label": "Expected Dice" }, "unknown");
  return element("td", { "data-label": "Expected Dice", class: "trust" }, element("meter", { value, min: 0, max: 1 }), value.toFixed(2), calibrated ? "" : element("small", {}, " not calibrated"));
}

function organs(scan) {
  const list = scan.organs.map((one) => {
    const told = [one.volume_ml === null ? "" : `${one.volume_ml.toFixed(0)} ml`, one.confidence === null ? "" : one.confidence.toFixed(2)].filter(Boolean).join(" · ");
    return element("li", {}, one.title, " ", element("small", {}, told), ...one.flags.map((flag) => element("p", { class: "flag" }, flag)));
  });
  return element("td", {}, element("ul", {}, ...list));
}

function checked({ to_check: all, looked_at: looked }) {
  if (!all) return element("td", { "data-label": "To check" }, "nothing");
  const done = looked >= all;
  return element("td", { "data-label": "To check", class: done ? "done" : null }, done ? `✓ ${looked} of ${all}` : `${looked} of ${all}`);
}

function corrected({ corrected: names, saved, organs: all }) {
  if (!saved) return element("td", { "data-label": "Corrected" }, "");
  const titles = names.map((name) => all.find((one) => one.name === name)?.title ?? name);
  return element("td", { "data-label": "Corrected" }, titles.length ? titles.join(", ") : "looked at, unchanged", " ", element("small", {}, clock(saved)));
}

function links() { return [...document.querySelectorAll("#scans tr:not([hidden]) a")]; }

function find(text) {
  const wanted = text.trim().toLowerCase();
  for (const one of document.querySelectorAll("#scans tr[data-scan]")) one.hidden = !one.dataset.scan.toLowerCase().includes(wanted);
  byId("nothing").hidden = links().length > 0 || !wanted;
}

window.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const all = links();
  const at = all.indexOf(document.activeElement);
  if (event.key === "ArrowDown") all[Math.min(all.length - 1, at + 1)]?.focus();
  else if (event.key === "ArrowUp") all[Math.max(0, at - 1)]?.focus();
  else if (event.key === "/" && event.target !== byId("find")) byId("find").focus();
  else if (event.key === "Escape") { byId("find").value = ""; find(""); all[0]?.focus(); } else if (event.key === "Enter" && event.target === byId("find")) all[0]?.click();
  else return;
  event.preventDefault();
});
byId("find").addEventListener("input", (event) => find(event.target.value));
window.addEventListener("pageshow", (event) => { if (event.persisted) window.location.reload(); });

listScans().then(({ folder, read_only: readOnly, scans }) => {
  byId("folder").textContent = folder;
  byId("state").hidden = !readOnly;
  Object.assign(byId("state"), { textContent: "Read-only" }).dataset.state = "readonly";
  const done = scans.filter((one) => one.saved).length;
  byId("summary").textContent = `${scans.length} scan${scans.length === 1 ? "" : "s"}, ${done} reviewed`;
  byId("scans").replaceChildren(...scans.map(row), element("tr", { id: "nothing", hidden: true }, element("td", { colspan: 5, class: "none" }, "No scan of this name.")));
  document.body.dataset.ready = "";
  links()[0]?.focus();
}).catch((error) => {
  byId("scans").replaceChildren();
  warn("load", `The scans could not be listed: ${error.message}`);
});
