/** What the page asks of its server. */

const ROOT = new URL("../", import.meta.url); // static/ lies right below the token
const GONE = "volseg does not answer; is it still running in its terminal?";

/** An answer that is no success; `status` 0 means that there was none. */
export class ServerError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function address(path) { return new URL(path, ROOT); }

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(address(path), options);
  } catch {
    throw new ServerError(0, GONE);
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new ServerError(answer.status, told.error ?? `the server answered ${answer.status}`);
}

const scanPath = (scan, rest) => `api/scans/${encodeURIComponent(scan)}${rest}`;
const asJson = (method, value) => ({ method, body: JSON.stringify(value), headers: { "Content-Type": "application/json" } });

export const listScans = async () => (await ask("api/scans")).json();
export const readFacts = async (scan) => (await ask(scanPath(scan, ""))).json();

/** The bytes of a volume: `image.nii`, or `mask/stomach.nii` and its like. */
export async function readFile(scan, name) {
  const path = name.split("/").map(encodeURIComponent).join("/");
  return (await ask(`files/${encodeURIComponent(scan)}/${path}`)).arrayBuffer();
}

export const enter = async (scan) => (await (await ask(scanPath(scan, "/writer"), asJson("POST", {}))).json()).writer;
export const renew = (scan, writer) => ask(scanPath(scan, "/writer"), asJson("PUT", { writer }));

/** Let other tabs write; sent even while the page closes. */
export function leave(scan, writer) {
  navigator.sendBeacon(address(scanPath(scan, "/writer/release")), JSON.stringify({ writer }));
}

/** A mask after an operation: `fill-holes`, `threshold` and so on. */
export async function edit(scan, operation, settings, voxels) {
  const path = `${scanPath(scan, `/edit/${operation}`)}?${new URLSearchParams(settings)}`;
  return new Uint8Array(await (await ask(path, { method: "POST", body: voxels })).arrayBuffer());
}

/** Write all masks to `corrected`, or aside to `unsaved`. The bytes are copied before this returns. */
export async function write(scan, place, told, masks) {
  const body = new Blob([JSON.stringify(told), "\n", ...masks]);
  return (await ask(scanPath(scan, `/${place}`), { method: "PUT", body })).json();
}

export const discard = (scan, writer, aside) => ask(scanPath(scan, "/unsaved"), asJson("DELETE", { writer, aside }));
export const pictureAddress = (scan, index, masks) => address(`pictures/${encodeURIComponent(scan)}/${index}.png?masks=${masks ? 1 : 0}`);
