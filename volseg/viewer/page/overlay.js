/** What lies over the image: masks, outlines of other masks, the cross of the cursor, the brush. */
import { IN_PLANE } from "./geometry.js";
import { sliceOf } from "./masks.js";
import { tracePath } from "./contours.js";

const DASHES = { truth: [7, 4], earlier: [1.5, 4], predicted: [10, 3, 2, 3] };
const CROSS = "rgb(180 205 255 / .5)", GAP = 18; // pixels around the cursor without its cross
const HALO = "rgb(0 0 0 / .6)";

export class Overlay {
  constructor(canvas, model, planes) {
    Object.assign(this, { canvas, model, planes, context: canvas.getContext("2d"), paths: new Map(), pointer: null });
  }

  resize() {
    this.canvas.width = this.planes.canvas.width;
    this.canvas.height = this.planes.canvas.height;
  }

  draw() {
    const { context, model, planes } = this;
    context.resetTransform();
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    for (const pane of planes.panes) {
      context.save();
      context.beginPath();
      context.rect(pane.left, pane.top, pane.width, pane.height);
      context.clip();
      this.#drawCross(pane);
      if (!model.shown.image) this.#drawClasses(pane);
      this.#drawBrush(pane);
      context.restore();
    }
  }

  #drawClasses(pane) {
    const { model } = this;
    const numbers = model.classes.map((_, number) => number).filter((number) => number !== model.active);
    for (const number of [...numbers, model.active]) {
      if (model.hidden.has(number)) continue;
      for (const kind of ["earlier", "truth", "predicted"]) {
        const voxels = model.shown[kind] ? model.layers[kind]?.[number] : null;
        if (voxels) this.#stroke(this.#path(`${kind}${number}`, 0, pane, () => sliceOf(voxels, model.shape, pane.axis, model.cursor[pane.axis])), pane, number, kind);
      }
      if (model.shown.masks) this.#drawMask(pane, number);
    }
  }

  #drawMask(pane, number) {
    const { model, context } = this;
    const { masks } = model;
    const path = this.#path(`mask${number}`, masks.versions[number], pane, () => masks.slice(number, pane.axis, model.cursor[pane.axis]));
    if (model.shown.fill) {
      context.fillStyle = model.classes[number].colour;
      context.globalAlpha = number === model.active ? 0.3 : 0.16;
      context.fill(this.#placed(path, pane), "evenodd");
      context.globalAlpha = 1;
    }
    this.#stroke(path, pane, number, "mask");
    if (model.isNumbered && path.top) this.#drawNumber(path.top, pane, number);
  }

  /** Its number beside an outline, where several organs have its colour. */
  #drawNumber([x, y], { origin, step }, number) {
    const { context, planes, model } = this;
    const place = [(x - origin[0]) / step[0], (y - origin[1]) / step[1] - 4 * planes.density];
    context.font = `600 ${12 * planes.density}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.lineWidth = 3 * planes.density;
    context.strokeStyle = HALO;
    context.strokeText(number + 1, ...place);
    context.fillStyle = model.classes[number].colour;
    context.fillText(number + 1, ...place);
  }

  /** The outline of a slice in voxels, traced anew only where it may have changed. */
  #path(name, version, pane, slice) {
    const key = `${name} ${pane.axis}`;
    const index = this.model.cursor[pane.axis];
    const kept = this.paths.get(key);
    if (kept && kept.index === index && kept.version === version) return kept.path;
    const [u, v] = IN_PLANE[pane.axis];
    const path = tracePath(slice(), this.model.shape[u], this.model.shape[v]);
    this.paths.set(key, { index, version, path });
    return path;
  }

  #placed(path, { origin, step }) {
    const placed = new Path2D();
    placed.addPath(path, new DOMMatrix([1 / step[0], 0, 0, 1 / step[1], -origin[0] / step[0], -origin[1] / step[1]]));
    return placed;
  }

  #stroke(path, pane, number, kind) {
    const { context, planes, model } = this;
    const placed = this.#placed(path, pane);
    const width = (number === model.active ? 2 : 1.4) * planes.density;
    context.lineJoin = "round";
    context.setLineDash((DASHES[kind] ?? []).map((length) => length * planes.density));
    context.lineCap = kind === "earlier" ? "round" : "butt";
    context.strokeStyle = HALO;
    context.lineWidth = width + 1.6 * planes.density;
    context.stroke(placed);
    context.strokeStyle = kind === "mask" ? model.classes[number].colour : lighter(model.classes[number].colour);
    context.lineWidth = width;
    context.stroke(placed);
    context.setLineDash([]);
  }

  #drawCross(pane) {
    const { context, model, planes } = this;
    if (model.isPainting && this.pointer?.pane.axis === pane.axis) return;
    const [x, y] = planes.pixelOf(pane, model.cursor.map((index) => index + 0.5)).map((at) => Math.round(at) + 0.5);
    const gap = GAP * planes.density;
    context.strokeStyle = CROSS;
    context.lineWidth = planes.density;
    context.beginPath();
    for (const [x0, y0, x1, y1] of [[pane.left, y, x - gap, y], [x + gap, y, pane.left + pane.width, y], [x, pane.top, x, y - gap], [x, y + gap, x, pane.top + pane.height]]) {
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
    }
    context.stroke();
  }

  /** The brush where the mouse is, or at the cursor if the keyboard moved it last; a ball in all planes. */
  #drawBrush(pane) {
    const { context, model, planes } = this;
    if (!model.isPainting || !model.canEdit) return;
    const at = this.pointer ?? { pane: planes.panes[0], place: model.cursor.map((index) => index + 0.5) };
    if (at.pane.axis !== pane.axis) return;
    const [x, y] = planes.pixelOf(pane, at.place);
    const radius = model.diameter / 2;
    const sizes = IN_PLANE[pane.axis].map((axis, i) => radius / model.facts.spacing_mm[axis] / Math.abs(pane.step[i]));
    context.beginPath();
    context.ellipse(x, y, Math.max(1, sizes[0]), Math.max(1, sizes[1]), 0, 0, 2 * Math.PI);
    context.lineWidth = 3 * planes.density;
    context.strokeStyle = HALO;
    context.stroke();
    context.lineWidth = 1.4 * planes.density;
    context.strokeStyle = model.tool === "erase" ? "#fff" : model.classes[model.active].colour;
    context.setLineDash(model.tool === "erase" ? [4 * planes.density, 3 * planes.density] : []);
    context.stroke();
    context.setLineDash([]);
  }
}

/** A colour halfway to white: the outlines of masks that are not edited. */
function lighter(colour) {
  const parts = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  return `rgb(${parts.map((part) => Math.round((part + 255) / 2)).join(" ")})`;
}
