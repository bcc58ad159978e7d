/** What the page says: the state of saving, what was just done, errors that stay, and questions. */
import { element } from "./panels.js";
import { intensity, position, positionText } from "./volume.js";

const byId = (id) => document.getElementById(id);

/** A sentence at the foot; a problem stays until the next. */
export function tell(text, problem = false) {
  Object.assign(byId("told"), { textContent: text, title: text }); // the whole of it where the line is too short
  byId("told").classList.toggle("problem", problem);
}

const NOTES = ["image", "webgl", "kept"]; // matters that are no failure

/** A warning at the top, one for each matter, until it is answered; no text takes it away. */
export function warn(matter, text, ...buttons) {
  const shown = [...byId("banners").children].find((one) => one.dataset.matter === matter);
  if (!text) { shown?.remove(); return; }
  if (shown?.firstChild.textContent === text) return;
  const close = element("button", { "aria-label": "Close" }, "×");
  const banner = element("div", { role: "alert", "data-matter": matter, class: NOTES.includes(matter) ? "note" : null }, element("p", {}, text), ...buttons, close);
  close.addEventListener("click", () => banner.remove());
  if (shown) shown.replaceWith(banner); else byId("banners").append(banner);
}

/** Ask in a dialog; resolves to the chosen answer's value, or the last one's when it is closed. */
export function ask(title, text, answers) {
  const dialog = byId("question");
  dialog.querySelector("h2").textContent = title;
  dialog.querySelector("p").textContent = text;
  dialog.querySelector("form").replaceChildren(...answers.map(([value, label], i) => element("button", { value, class: i ? null : "primary" }, label)));
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue || answers[answers.length - 1][0]), { once: true }));
}

export function clock(iso) {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return "";
  const today = new Date().toDateString() === time.toDateString();
  const hours = time.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  return today ? hours : `${time.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" })}, ${hours}`;
}

/** The chip of the state: one of loading, readonly, saving, unsaved, saved, clean. */
export function stateOf(model, session) {
  if (model.readOnly === "loading") return ["loading", "Loading …"];
  if (model.readOnly) return ["readonly", `Read-only: ${model.readOnly}`];
  if (session.saving) return ["saving", "Saving …"];
  if (model.busy) return ["saving", `${model.busy} …`];
  if (model.unsaved) {
    const aside = session.aside === model.stamp && session.asideAt;
    return ["unsaved", aside ? `Unsaved, kept aside ${clock(session.asideAt)}` : "Unsaved changes"];
  }
  return session.saved ? ["saved", `Saved ${clock(session.saved)}`] : ["clean", "No corrections"];
}

export function showState(model, session) {
  const [state, text] = stateOf(model, session);
  const chip = byId("state");
  if (chip.textContent !== text) chip.textContent = text;
  chip.dataset.state = state;
  chip.title = text;
  document.title = `${model.unsaved ? "● " : ""}${model.facts.name} · volseg view`;
}

export function showTime(session) {
  const seconds = Math.floor(session.seconds);
  byId("time").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** Where the mouse is, else the cursor: the voxel (from 0), the patient's mm, the intensity, and whose mask it is. */
export function showReadout(model, overlay, image) {
  const place = overlay.pointer?.place ?? model.cursor.map((index) => index + 0.5);
  const voxel = place.map(Math.floor);
  if (voxel.some((at, axis) => at < 0 || at >= model.shape[axis])) { byId("readout").textContent = ""; return; }
  const index = model.masks.indexOf(voxel);
  const organs = model.classes.filter((_, number) => model.masks.voxels[number][index]).map((one) => one.title);
  const mm = position(image, place).map(positionText).join(" ");
  const value = model.facts.image ? Number(intensity(image, index).toPrecision(5)) : "";
  byId("readout").textContent = [`voxel ${voxel.join(", ")}`, `${mm} mm`, String(value), organs.join(" + ")].filter(Boolean).join("  ·  ");
}
