/** Keys to commands. NiiVue's own keys are off: it gets no events. */
import { keyTable } from "./commands.js";

const REPEATED = new Set(["next", "previousItem", "zoomIn", "zoomOut", "larger", "smaller", "undo", "redo"]); // by a key that is held
const ARROWS = { ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

export function listenToKeys({ model, planes, pointer, commands }) {
  const table = keyTable();
  window.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]") || pointer.drag) return;
    if (event.repeat && event.key === "Enter") { event.preventDefault(); return; } // a button would be pressed again and again
    const field = event.target.closest?.("input[type=number], select");
    if (field && event.key !== "Escape" && !event.ctrlKey && !event.metaKey) return;
    if (event.target.closest?.("input[type=range], [role=slider]") && /^(Arrow|Page|Home|End)/.test(event.key)) return;
    const used = move(event) || number(event) || peek(event) || run(event);
    if (used) event.preventDefault();
  });
  window.addEventListener("keyup", (event) => { if (event.key === " ") showImage(false); });
  window.addEventListener("blur", () => showImage(false));

  function showImage(alone) {
    if (model.shown.image === alone) return;
    model.shown.image = alone;
    model.changed("shown");
  }

  function move({ key, shiftKey, ctrlKey, altKey, metaKey }) {
    if (ctrlKey || altKey || metaKey) return false;
    if (key === "PageUp" || key === "PageDown") { model.step(key === "PageUp" ? 10 : -10); return true; }
    const arrow = ARROWS[key];
    if (!arrow) return false;
    if (!shiftKey) { if (arrow[1]) model.step(arrow[1]); else model.step(arrow[0]); return true; }
    const [across, up] = [0, 1, 2].filter((axis) => axis !== model.axis);
    const pane = planes.panes.find((one) => one.axis === model.axis);
    const cursor = [...model.cursor];
    cursor[across] += arrow[0] * Math.sign(pane?.step[0] ?? 1);
    cursor[up] -= arrow[1] * Math.sign(pane?.step[1] ?? -1);
    pointer.overlay.pointer = null;
    model.moveTo(cursor);
    return true;
  }

  function number({ key, ctrlKey, altKey, metaKey }) {
    if (!/^[1-9]$/.test(key) || ctrlKey || altKey || metaKey) return false;
    model.choose(Number(key) - 1);
    return true;
  }

  function peek(event) {
    if (event.key !== " " || event.target.closest?.("button, a")) return false;
    showImage(true);
    return true;
  }

  function run(event) {
    if (event.key === "Enter" && event.target.closest?.("button, a, input, [role=option]")) return false;
    const graph = event.getModifierState("AltGraph"); // [ and ] on many keyboards
    const letter = /^[a-z]$/i.test(event.key) || event.key.length > 1;
    const parts = [(event.ctrlKey || event.metaKey) && !graph && "ctrl", event.shiftKey && letter && "shift", event.key.toLowerCase()];
    if (event.altKey && !graph) return false;
    const command = table[parts.filter(Boolean).join("+")];
    if (command && (!event.repeat || REPEATED.has(command))) commands[command]();
    return Boolean(command);
  }
}
