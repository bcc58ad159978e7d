/** Outlines of a slice of a mask, through the middles of the edges between voxels in and out of it. */

// Sides of a voxel, clockwise as rows run downwards: where the neighbour beyond it lies, and where its middle is.
const BEYOND = [[0, -1], [1, 0], [0, 1], [-1, 0]];
const MIDDLE = [[0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5]];

/** Closed loops of points, [x, y, x, y ...] in voxels with edges at whole numbers. Voxels that touch at corners alone are apart. */
export function traceLoops(slice, width, height) {
  const isIn = (x, y) => x >= 0 && y >= 0 && x < width && y < height && slice[x + y * width] === 1;
  const seen = new Uint8Array(width * height); // whether a voxel's upper side is in a loop
  const loops = [];
  for (let start = slice.indexOf(1); start >= 0; start = slice.indexOf(1, start + 1)) {
    if (seen[start] || (start >= width && slice[start - width] === 1)) continue;
    loops.push(trace(start % width, Math.floor(start / width), { isIn, seen, width }));
  }
  return loops;
}

function trace(startX, startY, { isIn, seen, width }) {
  const points = [];
  let [x, y, side] = [startX, startY, 0];
  do {
    if (side === 0) seen[x + y * width] = 1;
    points.push(x + MIDDLE[side][0], y + MIDDLE[side][1]);
    const next = (side + 1) % 4;
    const [aheadX, aheadY] = [x + BEYOND[next][0], y + BEYOND[next][1]];
    if (!isIn(aheadX, aheadY)) {
      side = next; // around the corner of the same voxel
    } else if (!isIn(aheadX + BEYOND[side][0], aheadY + BEYOND[side][1])) {
      [x, y] = [aheadX, aheadY]; // straight on
    } else {
      [x, y, side] = [aheadX + BEYOND[side][0], aheadY + BEYOND[side][1], (side + 3) % 4]; // an inner corner
    }
  } while (x !== startX || y !== startY || side !== 0);
  return points;
}

/** The loops of a slice as a path, in voxels. */
export function tracePath(slice, width, height) {
  const path = new Path2D();
  const loops = traceLoops(slice, width, height);
  path.top = loops[0]; // its first two numbers are a place on the outline
  for (const points of loops) {
    path.moveTo(points[0], points[1]);
    for (let i = 2; i < points.length; i += 2) path.lineTo(points[i], points[i + 1]);
    path.closePath();
  }
  return path;
}
