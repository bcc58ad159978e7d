/** Names of the planes and the patient's sides at their edges, as text over the image. */
import { PLANE_NAMES, sidesOf } from "./geometry.js";
import { element } from "./panels.js";
import { position, positionText } from "./volume.js";

export class Labels {
  constructor(box, model, planes) { Object.assign(this, { box, model, planes }); }

  /** Place them anew: the panes have changed. */
  layOut() {
    const { density } = this.planes;
    this.names = [];
    this.box.replaceChildren(...this.planes.panes.map((pane) => {
      const name = element("span", { class: "plane" });
      this.names.push([pane.axis, name]);
      const sides = Object.entries(sidesOf(pane)).map(([edge, letter]) => element("abbr", { class: edge }, letter));
      const label = element("div", { "data-plane": PLANE_NAMES[pane.axis].toLowerCase() }, name, ...sides);
      for (const side of ["left", "top", "width", "height"]) label.style[side] = `${pane[side] / density}px`;
      return label;
    }));
    this.refresh();
  }

  refresh() {
    const { model, planes } = this;
    const mm = position(planes.image, model.cursor.map((index) => index + 0.5));
    for (const [axis, name] of this.names ?? []) {
      const at = axis === model.axis ? `slice ${model.number()}` : `${positionText(mm[axis], axis)} mm`;
      name.textContent = `${PLANE_NAMES[axis]} · ${at}`;
    }
  }
}
