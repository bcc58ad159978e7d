/** The masks of a scan, one for each class, so that a voxel may be of several. */
import { IN_PLANE } from "./geometry.js";

export class Masks {
  constructor(shape, arrays) {
    this.shape = shape;
    this.strides = [1, shape[0], shape[0] * shape[1]];
    this.voxels = arrays;
    this.versions = arrays.map(() => 0);
    this.counts = arrays.map(count);
  }

  /** Take other voxels for a class. */
  replace(number, voxels) {
    this.voxels[number] = voxels;
    this.counts[number] = count(voxels);
    this.versions[number] += 1;
  }

  indexOf([x, y, z]) { return x + y * this.strides[1] + z * this.strides[2]; }

  /** Set one voxel to 0 or 1; says whether it was the other. Call `touch` when all are set. */
  set(number, index, value) {
    const voxels = this.voxels[number];
    if (voxels[index] === value) return false;
    voxels[index] = value;
    this.counts[number] += value ? 1 : -1;
    return true;
  }

  touch(number) { this.versions[number] += 1; }

  /** Turn all voxels of runs, [first, length, first, length ...], over: its own inverse. */
  flip(number, runs) {
    const voxels = this.voxels[number];
    let more = 0;
    for (let r = 0; r < runs.length; r += 2) {
      const end = runs[r] + runs[r + 1];
      for (let i = runs[r]; i < end; i += 1) {
        more += voxels[i] ? -1 : 1;
        voxels[i] ^= 1;
      }
    }
    this.counts[number] += more;
    this.touch(number);
  }

  /** One slice across an axis, the first of its two axes fastest. */
  slice(number, axis, index) { return sliceOf(this.voxels[number], this.shape, axis, index); }

  /** Which slices across an axis have a voxel of the class. */
  filledSlices(number, axis) {
    const filled = new Uint8Array(this.shape[axis]);
    const voxels = this.voxels[number];
    const size = this.strides[2];
    for (let i = 0; i < filled.length; i += 1) {
      filled[i] = axis === 2
        ? voxels.subarray(i * size, (i + 1) * size).indexOf(1) >= 0 ? 1 : 0
        : this.slice(number, axis, i).indexOf(1) >= 0 ? 1 : 0;
    }
    return filled;
  }
}

export function sliceOf(voxels, shape, axis, index) {
  const strides = [1, shape[0], shape[0] * shape[1]];
  if (axis === 2) return voxels.subarray(index * strides[2], (index + 1) * strides[2]);
  const [u, v] = IN_PLANE[axis];
  const slice = new Uint8Array(shape[u] * shape[v]);
  let place = 0;
  for (let j = 0; j < shape[v]; j += 1) {
    let from = index * strides[axis] + j * strides[v];
    for (let i = 0; i < shape[u]; i += 1, from += strides[u]) slice[place++] = voxels[from];
  }
  return slice;
}

function count(voxels) {
  let sum = 0;
  for (let i = 0; i < voxels.length; i += 1) sum += voxels[i];
  return sum;
}

/** Runs, [first, length ...], of the voxels by which two masks differ. */
export function differenceRuns(before, after) {
  const runs = [];
  for (let i = 0; i < before.length; i += 1) {
    if (before[i] === after[i]) continue;
    const first = i;
    while (i < before.length && before[i] !== after[i]) i += 1;
    runs.push(first, i - first);
  }
  return Uint32Array.from(runs);
}

/** Runs of voxels given one by one, each once, in any order. */
export function runsOf(indices) {
  const sorted = Uint32Array.from(indices).sort();
  const runs = [];
  for (let i = 0; i < sorted.length;) {
    let length = 1;
    while (sorted[i + length] === sorted[i] + length) length += 1;
    runs.push(sorted[i], length);
    i += length;
  }
  return Uint32Array.from(runs);
}

export function runLength(runs) {
  let sum = 0;
  for (let r = 1; r < runs.length; r += 2) sum += runs[r];
  return sum;
}
