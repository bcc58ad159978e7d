/** Tools, panels and dialogs above the planes, and the line that says what was done. */
import { KEY_GROUPS } from "./commands.js";
import { SMALLEST, WIDEST } from "./brush.js";
import { clamp } from "./geometry.js";
import { element } from "./panels.js";
import { readFile } from "./server.js";
import { readVolume } from "./volume.js";

const TOOLS = [["look", "Look", "v"], ["brush", "Brush", "b"], ["erase", "Eraser", "x"]];
const EDITING = ["brush", "erase", "ball", "fillBetween", "threshold", "cleanup", "accept", "undo", "redo", "save"];
const CT_PRESETS = [["Soft tissue", [-160, 240]], ["Liver", [-15, 185]], ["Lung", [-1350, 150]], ["Bone", [-450, 1050]]];
const KINDS = { truth: "truth", earlier: "earlier", predicted: "predicted" };

const byId = (id) => document.getElementById(id);

/** Windows to choose from: the scan's own, brighter and darker ones, and those of CT where air is far below 0. */
export function windowPresets([low, high], lowest) {
  const width = high - low;
  const own = [["Scan", [low, high]], ["Brighter", [low, low + 0.6 * width]], ["Brightest", [low, low + 0.35 * width]], ["Wide", [low - 0.15 * width, high + 0.6 * width]]];
  return lowest < -200 ? [...own.slice(0, 1), ...CT_PRESETS] : own;
}

export class Toolbar {
  constructor({ model, edits, presets, tell }) {
    Object.assign(this, { model, edits, presets, tell, preset: 0 });
    byId("tools").replaceChildren(...TOOLS.map(([command, text, key]) => element("button", { "data-command": command, "aria-pressed": "false", title: `${text}  ${key}` }, text)));
    byId("window").replaceChildren(...presets.map(([text], i) => element("option", { value: i }, text)), element("option", { value: -1, hidden: true }, "Own"));
    byId("window").addEventListener("change", (event) => { this.choosePreset(Number(event.target.value)); event.target.blur(); });
    Object.assign(byId("size"), { min: SMALLEST, max: WIDEST });
    byId("size").addEventListener("input", (event) => { model.diameter = Number(event.target.value); model.changed("tool"); });
    byId("size").addEventListener("pointerup", (event) => event.target.blur()); // arrows are the slices' again
    this.#listenToThreshold();
  }

  /** Make every button do its command; `commands` are known only after the toolbar is. */
  connect(commands) {
    document.addEventListener("click", (event) => {
      const button = event.target.closest("[data-command]");
      if (!button || button.getAttribute("aria-disabled") === "true") {
        if (button) this.tell(`${this.model.whyNot}.`);
        return;
      }
      commands[button.dataset.command]();
      if (event.detail && !button.closest(".panel")) button.blur(); // by the mouse: keys are the planes' again
    });
  }

  #listenToThreshold() {
    const fields = ["value", "first", "last"].map((name) => byId(`threshold-${name}`));
    for (const field of fields) field.addEventListener("input", () => this.#readThreshold());
    byId("threshold").addEventListener("submit", (event) => { event.preventDefault(); this.edits.apply(); });
    byId("threshold-cancel").addEventListener("click", () => this.edits.cancel());
  }

  #readThreshold() {
    const { model } = this;
    const numbers = model.facts.slice_numbers;
    const range = `Slices run from ${Math.min(...numbers)} to ${Math.max(...numbers)}.`;
    const places = ["first", "last"].map((name) => {
      const field = byId(`threshold-${name}`);
      const place = field.value === "" ? -1 : numbers.indexOf(Number(field.value));
      field.setCustomValidity(place < 0 ? range : ""); // then the browser keeps "Apply" from being done, and says why
      return place;
    });
    const threshold = Number(byId("threshold-value").value);
    byId("threshold-told").textContent = threshold.toFixed(2);
    if (places.includes(-1)) { this.tell(range, true); return; }
    this.edits.previewThreshold({ threshold, first: Math.min(...places), last: Math.max(...places) });
  }

  openThreshold() {
    if (this.edits.preview) { this.edits.cancel(); return; }
    this.closePanels();
    const asked = this.edits.startThreshold();
    if (!asked) return;
    const numbers = [this.model.number(asked.first), this.model.number(asked.last)].sort((a, b) => a - b);
    byId("threshold-organ").textContent = `Threshold of ${this.model.classes[this.model.active].title}`; // another may be active later
    byId("threshold-first").value = numbers[0];
    byId("threshold-last").value = numbers[1];
    byId("threshold-value").value = asked.threshold;
    this.#show("threshold", true);
    byId("threshold-value").focus();
    this.#readThreshold();
  }

  toggleCleanup() {
    const opened = byId("cleanup").hidden;
    this.closePanels();
    this.#show("cleanup", opened);
  }

  #show(id, shown) {
    byId(id).hidden = !shown;
    document.querySelector(`[data-command=${id}]`).setAttribute("aria-expanded", shown);
  }

  closePanels() {
    this.edits.apply();
    for (const id of ["threshold", "cleanup"]) this.#show(id, false);
  }

  smallest() { return clamp(Number(byId("small").value) || 0.5, 0.001, 1e6); }

  escape() {
    if (this.edits.preview) this.edits.cancel();
    else if (!byId("cleanup").hidden) this.#show("cleanup", false);
    else this.model.use("look");
    byId("overlay").focus({ preventScroll: true });
  }

  choosePreset(index) {
    this.preset = index;
    this.model.window = [...this.presets[index][1]];
    this.tell(`Window: ${this.presets[index][0]}.`);
    this.model.changed("window");
  }

  /** Show or hide the outlines of truth, the earlier day or the prediction; they are loaded when first shown. */
  async toggleLayer(kind, text) {
    const { model } = this;
    if (!model.layers[kind]) {
      const there = model.classes.map((one) => (kind === "predicted" ? true : one[kind]));
      if (!there.some(Boolean)) { this.tell(`${text}: there is none for this scan.`); return; }
      try {
        model.layers[kind] = await Promise.all(model.classes.map(async (one, number) => (there[number] ? readVolume(await readFile(model.facts.name, `${KINDS[kind]}/${one.name}.nii`), model.shape).voxels : null)));
      } catch (error) { this.tell(`${text}: ${error.message}`, true); return; }
    }
    model.toggle(kind);
    const dash = { truth: "dashed", earlier: "dotted", predicted: "dashes and dots" }[kind];
    this.tell(model.shown[kind] ? `${text} shown, ${dash}.` : `${text} hidden.`);
  }

  openScan(name) {
    if (name) window.location.assign(`../${encodeURIComponent(name)}/`);
    else this.tell("No further scan in this direction.");
  }

  openKeys() {
    byId("key-card").replaceChildren(...KEY_GROUPS.map(([title, rows]) => element("section", {}, element("h3", {}, title), element("dl", {}, ...rows.flatMap(([keys, text]) => [element("dt", {}, element("kbd", {}, keys)), element("dd", {}, text)])))));
    byId("keys").showModal();
  }

  refresh(what) {
    const { model } = this;
    if (what.has("threshold") && !this.edits.preview) this.#show("threshold", false);
    if (what.has("window")) byId("window").value = String(this.preset);
    if (!["tool", "save", "masks"].some((one) => what.has(one))) return;
    for (const [command] of TOOLS) this.#press(command, model.tool === command);
    this.#press("ball", model.ball);
    byId("size").value = model.diameter;
    byId("size-told").textContent = `${model.diameter} mm`;
    const blocked = model.readOnly || model.busy;
    for (const command of EDITING) {
      const nothing = (command === "undo" && !model.history.canUndo) || (command === "redo" && !model.history.canRedo);
      for (const button of document.querySelectorAll(`[data-command=${command}]`)) {
        button.toggleAttribute("disabled", nothing && !blocked);
        button.dataset.title ??= button.title;
        button.toggleAttribute("aria-disabled", Boolean(blocked));
        if (blocked) button.setAttribute("aria-disabled", "true");
        button.title = model.whyNot || button.dataset.title;
      }
    }
  }

  #press(command, pressed) { document.querySelector(`#toolbar [data-command=${command}]`).setAttribute("aria-pressed", pressed); }
}
