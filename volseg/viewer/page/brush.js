/** The brush: which voxels a stroke of it covers. Places are in voxels, whose edges are at whole numbers. */
import { clamp } from "./geometry.js";

/**
 * Visit the voxels (x, y, z) whose centres are within `radius` mm of the line from one place to another, and
 * those that the line runs through, so that the smallest brush draws too. With `axis`, only the slice across it.
 */
export function visitStroke(from, to, { radius, spacing, shape, axis = null }, visit) {
  const low = [], high = [];
  for (let a = 0; a < 3; a += 1) {
    const reach = radius / spacing[a];
    low[a] = clamp(Math.floor(Math.min(from[a], to[a]) - reach), 0, shape[a]);
    high[a] = clamp(Math.ceil(Math.max(from[a], to[a]) + reach), 0, shape[a]);
  }
  if (axis !== null) {
    low[axis] = clamp(Math.floor(from[axis]), 0, shape[axis] - 1);
    high[axis] = low[axis] + 1;
  }
  const line = to.map((end, a) => (end - from[a]) * spacing[a]);
  const squared = line.reduce((sum, one) => sum + one * one, 0);
  for (let z = low[2]; z < high[2]; z += 1) {
    for (let y = low[1]; y < high[1]; y += 1) {
      for (let x = low[0]; x < high[0]; x += 1) {
        const dx = (x + 0.5 - from[0]) * spacing[0], dy = (y + 0.5 - from[1]) * spacing[1], dz = (z + 0.5 - from[2]) * spacing[2];
        const along = squared ? clamp((dx * line[0] + dy * line[1] + dz * line[2]) / squared, 0, 1) : 0;
        const ex = dx - along * line[0], ey = dy - along * line[1], ez = dz - along * line[2];
        if (ex * ex + ey * ey + ez * ez <= radius * radius) visit(x, y, z);
      }
    }
  }
  visitLine(from, to, shape, visit);
}

function visitLine(from, to, shape, visit) {
  const steps = Math.ceil(2 * Math.max(...to.map((end, a) => Math.abs(end - from[a])))) || 1;
  for (let i = 0; i <= steps; i += 1) {
    const voxel = from.map((start, a) => Math.floor(start + ((to[a] - start) * i) / steps));
    if (voxel.every((index, a) => index >= 0 && index < shape[a])) visit(...voxel);
  }
}

/** A stroke while it is drawn: it changes the mask at once, and keeps what it has changed. */
export class Stroke {
  constructor(masks, number, settings) {
    Object.assign(this, { masks, number, settings, changed: [] });
  }

  /** Draw from one place to another. */
  draw(from, to) {
    const { masks, number, settings } = this;
    const value = settings.erase ? 0 : 1;
    visitStroke(from, to, settings, (x, y, z) => {
      const index = x + y * masks.strides[1] + z * masks.strides[2];
      if (masks.set(number, index, value)) this.changed.push(index);
    });
    masks.touch(number);
  }
}

/** Sizes of the brush in mm, from finest to widest, by which `[` and `]` step. */
const SIZES = [0.5, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60];
export const SMALLEST = SIZES[0], WIDEST = SIZES[SIZES.length - 1];

export function nextSize(diameter, direction) {
  const sizes = direction > 0 ? SIZES : [...SIZES].reverse();
  return sizes.find((size) => (direction > 0 ? size > diameter : size < diameter)) ?? diameter;
}

