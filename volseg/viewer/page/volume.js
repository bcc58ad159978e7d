/** A volume as the server sends it: NIfTI without compression, axes turned to the closest RAS+. */

const ARRAYS = { 2: Uint8Array, 4: Int16Array, 8: Int32Array, 16: Float32Array, 64: Float64Array, 256: Int8Array, 512: Uint16Array };
const DIMENSIONS = 40, TYPE = 70, OFFSET = 108, SLOPE = 112, INTERCEPT = 116, AFFINE = 280; // bytes of the header
const OPAQUE = 0xff000000, GREY = 0x010101;

/** The voxels of a file, x fastest, with the factor and the offset that make intensities of them. */
export function readVolume(bytes, shape) {
  const header = new DataView(bytes);
  const found = [1, 2, 3].map((i) => header.getInt16(DIMENSIONS + 2 * i, true));
  if (found.join() !== shape.join()) throw new Error(`a volume of ${found.join(" x ")} voxels came, not of ${shape.join(" x ")}`);
  const Voxels = ARRAYS[header.getInt16(TYPE, true)];
  if (!Voxels) throw new Error(`a volume of an unknown type of numbers came (${header.getInt16(TYPE, true)})`);
  const offset = header.getFloat32(OFFSET, true);
  const voxels = new Voxels(bytes, offset, shape[0] * shape[1] * shape[2]);
  const slope = header.getFloat32(SLOPE, true) || 1;
  const affine = [0, 1, 2].map((row) => [0, 1, 2, 3].map((column) => header.getFloat32(AFFINE + 16 * row + 4 * column, true)));
  return { bytes, header: new Uint8Array(bytes, 0, offset), voxels, slope, intercept: header.getFloat32(INTERCEPT, true) || 0, affine };
}

/** Where a place of the grid (edges of voxels at whole numbers) is, in mm to the patient's right, front and head. */
export function position({ affine }, place) {
  return affine.map((row) => row[3] + place.reduce((sum, at, axis) => sum + row[axis] * (at - 0.5), 0));
}

const SIDES = ["LR", "PA", "IS"];

/** A position along one of the patient's axes, such as "A 40.1". */
export function positionText(mm, axis) { return `${SIDES[axis][mm < 0 ? 0 : 1]} ${Math.abs(mm).toFixed(1)}`; }

export function intensity({ voxels, slope, intercept }, index) { return voxels[index] * slope + intercept; }

/** Fill RGBA colours with the grey of each voxel, from black to white between two intensities. */
export function paintGrey(colours, { voxels, slope, intercept }, [low, high]) {
  const factor = (255 * slope) / Math.max(high - low, 1e-12);
  const offset = (255 * (intercept - low)) / Math.max(high - low, 1e-12) + 0.5;
  const grey = (value) => {
    const level = value * factor + offset;
    return OPAQUE | (GREY * (level <= 0 ? 0 : level >= 255 ? 255 : level | 0));
  };
  if (voxels.BYTES_PER_ELEMENT > 2) {
    for (let i = 0; i < colours.length; i += 1) colours[i] = grey(voxels[i]);
    return;
  }
  const table = new Uint32Array(65536);
  const first = voxels instanceof Uint16Array || voxels instanceof Uint8Array ? 0 : -32768;
  for (let i = 0; i < table.length; i += 1) table[i] = grey(i + first);
  for (let i = 0; i < colours.length; i += 1) colours[i] = table[voxels[i] - first];
}
