/** The planes of the grid, whose axes run to the patient's right, front and head. */

/** The two axes that the plane across each axis shows: sideways, and upwards. */
export const IN_PLANE = [[1, 2], [0, 2], [0, 1]];
export const PLANE_NAMES = ["Sagittal", "Coronal", "Axial"];
const SIDES = [["L", "R"], ["P", "A"], ["I", "S"]]; // at the low and the high end of each axis

/** The sides of the patient at the left, right, top and bottom of a pane; `step` is in voxels a pixel. */
export function sidesOf({ axis, step }) {
  const [across, up] = IN_PLANE[axis];
  const [left, right] = step[0] > 0 ? SIDES[across] : [...SIDES[across]].reverse();
  const [top, bottom] = step[1] > 0 ? SIDES[up] : [...SIDES[up]].reverse();
  return { left, right, top, bottom };
}

/** The part of a line between two pixels that lies in a box; null if none does. */
export function clipLine({ left, top, width, height }, from, to) {
  let [first, last] = [0, 1];
  for (const [side, low, size] of [[0, left, width], [1, top, height]]) {
    const way = to[side] - from[side];
    const ends = [low - from[side], low + size - from[side]];
    if (!way && (ends[0] > 0 || ends[1] < 0)) return null;
    const [enter, leave] = way ? ends.map((end) => end / way).sort((a, b) => a - b) : [0, 1];
    [first, last] = [Math.max(first, enter), Math.min(last, leave)];
  }
  return first > last ? null : [first, last].map((share) => from.map((start, side) => start + share * (to[side] - start)));
}

export function clamp(value, low, high) { return Math.min(high, Math.max(low, value)); }
