/** The masks as files of this computer, for when they can't be saved where they belong. */
import { element } from "./panels.js";

const LOCAL = 0x04034b50, CENTRAL = 0x02014b50, END = 0x06054b50; // marks of the parts of a ZIP
const VERSION = 20, UTF8 = 0x0800, DAY_ONE = 0x21; // 1 January 1980: the page's clock is nobody's business

/** Offer all masks as one ZIP of NIfTI files, on the grid that is seen here (axes to the right, front and head). */
export async function downloadMasks({ facts, masks }, header) {
  const files = await Promise.all(facts.classes.map(async ({ name }, number) => [`${name}.nii.gz`, await gzip([header, masks.voxels[number]])]));
  const address = URL.createObjectURL(new Blob(zip(files), { type: "application/zip" }));
  element("a", { href: address, download: `${facts.name}_masks.zip` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

async function gzip(parts) {
  const stream = new Blob(parts).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The parts of a ZIP of files, [name, bytes], which are stored as they are. */
function zip(files) {
  const [parts, table] = [[], []];
  let place = 0;
  for (const [text, bytes] of files) {
    const name = new TextEncoder().encode(text);
    const told = [UTF8, 0, 0, DAY_ONE].map((value) => [value, 2]).concat([crc(bytes), bytes.length, bytes.length].map((value) => [value, 4]), [[name.length, 2], [0, 2]]);
    const local = numbers([[LOCAL, 4], [VERSION, 2], ...told]);
    parts.push(local, name, bytes);
    table.push(numbers([[CENTRAL, 4], [VERSION, 2], [VERSION, 2], ...told, [0, 2], [0, 2], [0, 2], [0, 4], [place, 4]]), name);
    place += local.length + name.length + bytes.length;
  }
  const size = table.reduce((sum, part) => sum + part.length, 0);
  const end = numbers([[END, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [size, 4], [place, 4], [0, 2]]);
  return [...parts, ...table, end];
}

/** Whole numbers, [value, bytes], the lowest byte first. */
function numbers(list) {
  return Uint8Array.from(list.flatMap(([value, size]) => Array.from({ length: size }, (_, i) => (value >>> (8 * i)) & 255)));
}

const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc(bytes) {
  let sum = 0xffffffff;
  for (let i = 0; i < bytes.length; i += 1) sum = TABLE[(sum ^ bytes[i]) & 255] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}
