/** The image in three linked planes, drawn by NiiVue; it knows nothing of masks. */
import { Niivue, NVImage } from "./niivue/index.js";
import { IN_PLANE, clamp } from "./geometry.js";
import { paintGrey } from "./volume.js";

const TYPE_OF_AXIS = { 2: 0, 1: 1, 0: 2 }; // NiiVue: 0 axial, 1 coronal, 2 sagittal
const CAL_MAX = 124, CAL_MIN = 128; // bytes of a NIfTI header

const GRADIENTS = [33990, 33992]; // texture units 6 and 8, which only NiiVue's 3D rendering uses

/**
 * NiiVue for planes alone. A plane fills its whole pane, so that zooming uses all of it. The volume does not run
 * through shaders (one draws its colours, two more its gradients for 3D): without a graphics card each takes
 * seconds, and `upload` is given the colours. No text is drawn, so no font is loaded from a data address.
 */
class PlanesOnly extends Niivue {
  drawn = false; // while it is false, nothing is drawn: NiiVue draws at each change, this page once a frame

  drawScene() { if (this.drawn) super.drawScene(); }

  async initText() {}

  drawLoadingText() {}

  calculateWidthHeight(type, scale, width, height) {
    this.paneAspect = width / height;
    return [width, height];
  }

  screenFieldOfViewExtendedVox(type) {
    const view = super.screenFieldOfViewExtendedVox(type);
    const { mnMM, mxMM, fovMM } = view;
    const side = this.paneAspect * fovMM[1] > fovMM[0] ? 0 : 1;
    const wanted = side === 0 ? this.paneAspect * fovMM[1] : fovMM[0] / this.paneAspect;
    const more = (wanted - fovMM[side]) / 2;
    mnMM[side] -= more;
    mxMM[side] += more;
    fovMM[side] = wanted;
    return view;
  }

  rgbaTex(texture, unit, dims, empty) {
    return super.rgbaTex(texture, unit, GRADIENTS.includes(unit) ? [3, 2, 2, 2] : dims, empty);
  }

  refreshLayers(volume, layer) {
    this.gl.drawArrays = () => {};
    try { super.refreshLayers(volume, layer); } finally { delete this.gl.drawArrays; }
  }

  /** Give the volume its colours, RGBA. */
  upload(colours, [x, y, z]) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_3D, this.volumeTexture);
    gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, 0, x, y, z, gl.RGBA, gl.UNSIGNED_BYTE, colours);
  }
}

export class Planes {
  /** `shape` and `spacing` (mm) are of the grid, which is closest to RAS+; `main` is the axis across slices. */
  constructor(canvas, { shape, spacing, main }) {
    Object.assign(this, { canvas, shape, spacing, main, single: null, panes: [] });
    this.order = [main, ...[2, 1, 0].filter((axis) => axis !== main)];
    this.nv = new PlanesOnly({
      isRadiologicalConvention: true, sagittalNoseLeft: true, isOrientationTextVisible: false, crosshairWidth: 0,
      interactive: false, dragAndDropEnabled: false, logLevel: "silent", loadingText: "", isResizeCanvas: false,
      multiplanarShowRender: 0, backColor: [0, 0, 0, 1],
    });
  }

  async open() {
    this.resize();
    await this.nv.attachToCanvas(this.canvas, false);
    this.nv.opts.isResizeCanvas = false;
  }

  /** Show a NIfTI file's bytes in a window of intensities. */
  async show(image, window) {
    this.image = image;
    const header = new DataView(image.bytes);
    header.setFloat32(CAL_MAX, window[1], true); // else NiiVue looks for a window of its own
    header.setFloat32(CAL_MIN, window[0], true);
    this.colours = new Uint32Array(image.voxels.length);
    this.volume = await NVImage.new(image.bytes, "image.nii");
    this.nv.addVolume(this.volume);
    this.setWindow(window);
  }

  /** Follow the size of the box around the canvas; says whether it has changed. */
  resize() {
    const density = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.canvas.parentElement;
    const [width, height] = [clientWidth, clientHeight].map((size) => Math.max(1, Math.round(size * density)));
    const changed = this.canvas.width !== width || this.canvas.height !== height;
    if (changed) Object.assign(this.canvas, { width, height });
    this.density = density;
    this.layOut();
    return changed;
  }

  /** Share the canvas out: the plane of the slices large, the others beside it or below. */
  layOut() {
    const { width, height } = this.canvas;
    const boxes = this.single !== null ? [[0, 0, 1, 1]] : width > 1.15 * height
      ? [[0, 0, 0.64, 1], [0.642, 0, 0.358, 0.499], [0.642, 0.501, 0.358, 0.499]]
      : [[0, 0, 1, 0.64], [0, 0.642, 0.499, 0.358], [0.501, 0.642, 0.499, 0.358]];
    const whole = (share, size) => (Math.round(share * size) + 1e-6) / size; // NiiVue cuts pixels off, without the rest
    const axes = this.single !== null ? [this.single] : this.order;
    this.nv.customLayout = boxes.map((box, i) => ({
      sliceType: TYPE_OF_AXIS[axes[i]], position: box.map((share, side) => whole(share, side % 2 ? height : width)),
    }));
    this.axes = axes;
  }

  draw() {
    this.nv.drawn = true;
    this.nv.drawScene();
    this.nv.drawn = false;
    this.panes = this.nv.screenSlices.map((slice, i) => this.#pane(slice, i));
  }

  /** How a pane's pixels are the grid's: voxel edge = origin + step * pixel, along both of its axes. */
  #pane(slice, i) {
    const axis = this.axes[i];
    const [left, top, width, height] = slice.leftTopWidthHeight;
    const [u, v] = IN_PLANE[axis];
    const [near, far] = [[0.25, 0.25], [0.75, 0.75]].map(([x, y]) =>
      this.nv.screenXY2TextureFrac(left + x * width, top + y * height, i, false));
    const step = [(far[u] - near[u]) * this.shape[u] / (0.5 * width), (far[v] - near[v]) * this.shape[v] / (0.5 * height)];
    const origin = [near[u] * this.shape[u] - step[0] * (left + 0.25 * width), near[v] * this.shape[v] - step[1] * (top + 0.25 * height)];
    return { axis, left, top, width, height, step, origin };
  }

  paneAt(x, y) {
    return this.panes.find((p) => x >= p.left && x < p.left + p.width && y >= p.top && y < p.top + p.height);
  }

  /** The place in the grid (voxels, edges at whole numbers) of a pixel of a pane, at the cursor's slice. */
  placeOf(pane, x, y, cursor) {
    const place = cursor.map((index) => index + 0.5);
    const [u, v] = IN_PLANE[pane.axis];
    place[u] = pane.origin[0] + pane.step[0] * x;
    place[v] = pane.origin[1] + pane.step[1] * y;
    return place;
  }

  pixelOf(pane, place) {
    const [u, v] = IN_PLANE[pane.axis];
    return [(place[u] - pane.origin[0]) / pane.step[0], (place[v] - pane.origin[1]) / pane.step[1]];
  }

  /** Move the planes to a voxel. */
  moveTo(cursor) {
    this.nv.scene.crosshairPos = cursor.map((index, axis) => (index + 0.5) / this.shape[axis]);
  }

  /** Show intensities from black to white between these. */
  setWindow(window) {
    paintGrey(this.colours, this.image, window);
    this.nv.upload(new Uint8Array(this.colours.buffer), this.shape);
  }

  get zoom() { return this.nv.scene.pan2Dxyzmm[3]; }

  /** Zoom in or out; the place stays where it is on the screen. */
  zoomBy(factor, place) {
    const pan = this.nv.scene.pan2Dxyzmm;
    const zoom = clamp(pan[3] * factor, 0.5, 16);
    const low = this.volume.extentsMinOrtho;
    place.forEach((at, axis) => { pan[axis] += (low[axis] + at * this.spacing[axis]) * (pan[3] - zoom); });
    pan[3] = zoom;
  }

  /** Move a pane's picture by pixels. */
  panBy(pane, x, y) {
    const pan = this.nv.scene.pan2Dxyzmm;
    [x, y].forEach((pixels, i) => {
      const axis = IN_PLANE[pane.axis][i];
      pan[axis] += pixels * pane.step[i] * this.spacing[axis] * pan[3];
    });
  }

  resetZoom() { this.nv.scene.pan2Dxyzmm.set([0, 0, 0, 1]); }

}
