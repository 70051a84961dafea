/** Packets as `eyeline.view.packets` writes them: a JSON head and binary arrays. */

export type Numbers = Uint8Array | Uint16Array | Uint32Array | Int32Array | Float32Array;

export interface Packet<Head = Record<string, unknown>> {
  head: Head;
  arrays: Record<string, Numbers>;
  shapes: Record<string, number[]>;
}

const KINDS = {
  u1: Uint8Array,
  u2: Uint16Array,
  u4: Uint32Array,
  i4: Int32Array,
  f4: Float32Array,
} as const;

type Described = Record<string, [keyof typeof KINDS, number[], number]>;

const FULL = 65534;

/** Read a packet. `bytes` may start anywhere in its buffer: arrays are copied where they must be. */
export function unpack<Head>(bytes: Uint8Array): Packet<Head> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(0, true);
  const text = new TextDecoder().decode(bytes.subarray(4, 4 + length));
  const { arrays: described, ...head } = JSON.parse(text) as { arrays: Described };
  const start = Math.ceil((length + 4) / 8) * 8;
  const arrays: Record<string, Numbers> = {};
  const shapes: Record<string, number[]> = {};
  for (const [name, [kind, shape, offset]] of Object.entries(described)) {
    const make = KINDS[kind];
    const count = shape.reduce((a, b) => a * b, 1);
    const from = start + offset;
    const part = bytes.slice(from, from + count * make.BYTES_PER_ELEMENT);
    arrays[name] = new make(part.buffer, 0, count);
    shapes[name] = shape;
  }
  return { head: head as Head, arrays, shapes };
}

/** Weights from 0 to 1 out of 16-bit numbers; NaN where the model's was. */
export function weights(raw: Numbers | undefined): Float32Array {
  const result = new Float32Array(raw?.length ?? 0);
  raw?.forEach((value, i) => {
    result[i] = value > FULL ? NaN : value / FULL;
  });
  return result;
}

/** The weight that a shade stands for; shade 0 means that nothing may be seen there. */
export function shadeToWeight(shade: number): number {
  return shade === 0 ? 0 : ((shade - 1) / 254) ** 2;
}
