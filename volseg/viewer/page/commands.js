/** What can be done by a key or a button, and the card that lists it. */
import { nextSize } from "./brush.js";
import { clamp } from "./geometry.js";
import { sliceText } from "./edits.js";

const PIXELS_TO_DOUBLE = 200; // how far to drag until the window is about three times as wide

/** Groups of the key card: rows of [keys, what they do, command]. Without a command, the mouse does it. */
export const KEY_GROUPS = [
  ["Work list", [["n", "next slices to check", "next"], ["Shift+n", "the ones before", "previousItem"], ["a", "accept, and on to the next", "accept"], ["Shift+a", "take the accepting back", "unaccept"]]],
  ["Move", [["↑ ↓  wheel", "one slice"], ["PgUp PgDn", "ten slices"], ["Shift+arrows", "the cursor within the plane"], ["Ctrl+wheel  + −", "zoom"], ["0", "whole scan", "resetView"], ["l", "one plane or three", "layout"], ["middle drag", "move the picture"]]],
  ["Show", [["h", "masks", "masks"], ["o", "outlines only", "outlines"], ["Space held", "the image alone"], ["t", "truth", "truth"], ["e", "earlier day", "earlier"], ["p", "the prediction", "predicted"], ["right drag", "window and level"], ["w", "next preset of the window", "window"]]],
  ["Draw", [["1 … 9", "organ to edit"], ["v", "look: move the cursor", "look"], ["b", "brush", "brush"], ["x", "eraser, and back to the brush", "erase"], ["Shift+drag", "the other of brush and eraser"], ["d", "brush in the plane or a ball", "ball"], ["[ ]  Shift+wheel", "size of the brush"], ["Enter", "a dab at the cursor", "dab"]]],
  ["Correct", [["f", "fill between slices", "fillBetween"], ["g", "threshold of a run of slices", "threshold"], ["j", "fill holes in each slice", "fillHoles"], ["k", "remove small parts", "removeSmall"], ["Del", "clear the slice", "clearSlice"]]],
  ["Keep", [["Ctrl+z", "undo", "undo"], ["Ctrl+Shift+z", "redo", "redo"], ["Ctrl+s", "save", "save"], [", .", "previous, next scan"], ["?", "this card", "help"], ["Esc", "cancel, close"]]],
];

const MORE_KEYS = { "ctrl+y": "redo", "+": "zoomIn", "=": "zoomIn", "-": "zoomOut", "[": "smaller", "]": "larger", ",": "previousScan", ".": "nextScan", delete: "clearSlice", escape: "escape" };

/** The keys of all commands, such as ctrl+shift+z. */
export function keyTable() {
  const rows = KEY_GROUPS.flatMap(([, group]) => group).filter(([, , command]) => command);
  return { ...Object.fromEntries(rows.map(([key, , command]) => [key.toLowerCase(), command])), ...MORE_KEYS };
}

/** All commands by name; they work on a scan that is loaded. */
export function makeCommands({ model, planes, overlay, edits, session, pointer, presets, page, tell }) {
  const show = (name, text) => () => { model.toggle(name); tell(`${text} ${model.shown[name] ? "shown" : "hidden"}.`); };
  const layer = (kind, text) => () => page.toggleLayer(kind, text);
  const goTo = (index) => {
    const item = model.facts.work[index];
    if (!item) return;
    model.item = index;
    const cursor = [...model.cursor];
    cursor[model.axis] = Math.round((item.first + item.last) / 2);
    const number = model.classes.findIndex((one) => one.name === item.class);
    if (number >= 0 && number !== model.active) model.choose(number);
    model.moveTo(centred(model, number < 0 ? model.active : number, cursor));
    model.changed("work");
  };
  const paintingOr = (tool) => () => {
    if (model.readOnly) tell(`${model.whyNot}.`);
    model.use(tool);
  };
  const nextItem = (direction) => {
    const { work } = model.facts;
    if (!work.length) { tell("Nothing on the list of slices to check."); return; }
    for (let i = 1; i <= work.length; i += 1) {
      const index = (model.item + direction * i + 2 * work.length + (model.item < 0 && direction < 0 ? 1 : 0)) % work.length;
      if (!model.isLooked(work[index])) { goTo(index); return; }
    }
    tell("All slices on the list are looked at.");
    goTo(clamp(model.item, 0, work.length - 1));
  };
  const accept = (accepted) => {
    const item = model.facts.work[model.item];
    if (model.readOnly) { tell(`${model.whyNot}.`); return; }
    if (!item) { tell("Press n first: nothing on the list is open."); return; }
    model.looked[accepted ? "add" : "delete"](String(item.numbers));
    model.changed("work", "save");
    tell(`${sliceText(model, item.first, item.last)} ${accepted ? "accepted" : "to check again"}: ${model.lookedCount} of ${model.facts.work.length} looked at.`);
    if (accepted && model.lookedCount < model.facts.work.length) nextItem(1);
  };
  const mayEdit = () => {
    if (!model.canEdit) tell(`${model.whyNot}.`);
    return model.canEdit;
  };
  const turnOver = (word, done) => {
    if (!mayEdit()) return;
    const step = model.history[word]();
    if (step) { model.show(step); tell(`${done}: ${step.text}, ${model.classes[step.number].title}.`); } else tell(`Nothing to ${word}.`);
  };
  const size = (direction) => { model.diameter = nextSize(model.diameter, direction); model.changed("tool"); };
  const zoom = (factor) => { planes.zoomBy(factor, overlay.pointer?.place ?? model.cursor.map((at) => at + 0.5)); model.changed("view"); };

  return {
    next: () => nextItem(1), previousItem: () => nextItem(-1), goTo, accept: () => accept(true), unaccept: () => accept(false),
    look: () => model.use("look"), brush: paintingOr("brush"), erase: () => paintingOr(model.tool === "erase" ? "brush" : "erase")(),
    ball: () => { model.ball = !model.ball; model.changed("tool"); tell(model.ball ? "Brush: a ball, through slices." : "Brush: a disc, in the plane."); },
    size, larger: () => size(1), smaller: () => size(-1), zoomIn: () => zoom(1.25), zoomOut: () => zoom(0.8),
    startDrawing: () => { if (mayEdit()) edits.keepShown(); return model.canEdit; },
    dab: () => {
      if (edits.preview) edits.apply();
      else if (model.isPainting) pointer.dab();
      else tell("Take the brush first: b.");
    },
    masks: show("masks", "Masks"), outlines: () => { model.toggle("fill"); tell(model.shown.fill ? "Masks filled." : "Outlines only."); },
    truth: layer("truth", "Truth"), earlier: layer("earlier", "Earlier day"), predicted: layer("predicted", "Prediction"),
    resetView: () => { planes.resetZoom(); model.changed("view"); },
    layout: () => { planes.single = planes.single === null ? (overlay.pointer?.pane.axis ?? model.axis) : null; planes.layOut(); model.changed("view"); },
    window: () => page.choosePreset((page.preset + 1) % presets.length),
    dragWindow: ([low, high], x, y) => {
      const width = (high - low) * Math.exp(x / PIXELS_TO_DOUBLE);
      const level = (low + high) / 2 + ((high - low) * y) / PIXELS_TO_DOUBLE;
      model.window = [level - width / 2, level + width / 2];
      page.preset = -1;
      model.changed("window");
    },
    fillBetween: () => edits.fillBetween(), fillHoles: () => edits.fillHoles(), keepLargest: () => edits.keepLargest(),
    removeSmall: () => edits.removeSmall(page.smallest()), clearSlice: () => edits.clearSlice(), threshold: () => page.openThreshold(),
    cleanup: () => page.toggleCleanup(),
    undo: () => { if (edits.preview) edits.cancel(); else turnOver("undo", "Undone"); },
    redo: () => { edits.cancel(); turnOver("redo", "Redone"); },
    save: async () => { await edits.apply(); return session.save(); },
    previousScan: () => page.openScan(model.facts.previous_scan), nextScan: () => page.openScan(model.facts.next_scan),
    help: () => page.openKeys(), escape: () => page.escape(),
  };
}

/** A cursor moved within its slice to the middle of a class there, so that the other planes show it too. */
function centred(model, number, cursor) {
  const slice = model.masks.slice(number, model.axis, cursor[model.axis]);
  const across = [0, 1, 2].filter((axis) => axis !== model.axis);
  const width = model.shape[across[0]];
  let [count, x, y] = [0, 0, 0];
  for (let i = slice.indexOf(1); i >= 0; i = slice.indexOf(1, i + 1)) { count += 1; x += i % width; y += Math.floor(i / width); }
  const moved = [...cursor];
  if (count) [moved[across[0]], moved[across[1]]] = [x / count, y / count];
  return moved;
}
