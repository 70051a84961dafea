/** Thumbnails, metrics and labels of all heads, fetched by the layer and kept for a reading. */
import { untrack } from "svelte";
import type { Store } from "./store.svelte";
import type { Packet } from "./packet";
import type { Reading } from "./reading";

interface HeadsHead {
  layers: number[];
  metrics: string[];
  labels: [string, string, number][];
}

export interface Picture {
  shades: Uint8Array;
  rows: number;
  cols: number;
}

interface LayerData {
  pictures: Picture[];
  values: Float32Array[];
  labels: [string, string, number][];
}

export class HeadsData {
  version = $state(0);
  loading = $state(0);
  error = $state("");
  metrics: string[] = [];
  #layers = new Map<number, LayerData>();
  #asked = new Set<number>();
  readonly #id: string;
  readonly #kind: string;

  constructor(
    readonly store: Store,
    id: string,
    kind: string,
    readonly reading: Reading,
  ) {
    this.#id = id;
    this.#kind = kind;
  }

  /** Fetch what is missing around a layer: all at once where the text is short. */
  need(layer: number): void {
    untrack(() => this.#need(layer));
  }

  #need(layer: number): void {
    const info = this.reading.kinds[this.#kind];
    if (!info || this.#asked.has(layer)) return;
    const all = info.q_len <= 600 ? 200 : info.q_len <= 4096 ? 40 : 12;
    const many = Math.max(Math.floor(all / info.heads), 1);
    const at = info.layers.indexOf(layer);
    const wanted = info.layers.slice(at, at + many).filter((n) => !this.#asked.has(n));
    wanted.forEach((n) => this.#asked.add(n));
    const params = { kind: this.#kind, from: wanted[0]!, to: wanted[wanted.length - 1]! };
    this.loading += 1;
    this.store.source
      .ask<HeadsHead>(this.#id, "heads", params)
      .then((packet) => this.#take(packet))
      .catch((error: unknown) => {
        wanted.forEach((n) => this.#asked.delete(n));
        this.error = error instanceof Error ? error.message : String(error);
      })
      .finally(() => (this.loading -= 1));
  }

  needAll(): void {
    this.reading.kinds[this.#kind]?.layers.forEach((n) => this.need(n));
  }

  #take({ head, arrays, shapes }: Packet<HeadsHead>): void {
    const [, heads, rows, cols] = shapes.pictures as [number, number, number, number];
    const pictures = arrays.pictures as Uint8Array;
    const values = arrays.values as Float32Array;
    const width = head.metrics.length;
    this.metrics = head.metrics;
    head.layers.forEach((layer, n) => {
      const own = Array.from({ length: heads }, (_, h) => n * heads + h);
      this.#layers.set(layer, {
        pictures: own.map((i) => ({ shades: pictures.subarray(i * rows * cols, (i + 1) * rows * cols), rows, cols })),
        values: own.map((i) => values.subarray(i * width, (i + 1) * width)),
        labels: head.labels.length ? own.map((i) => head.labels[i]!) : [],
      });
    });
    this.version += 1;
  }

  picture(layer: number, head: number): Picture | undefined {
    void this.version;
    return this.#layers.get(layer)?.pictures[head];
  }

  label(layer: number, head: number): string {
    void this.version;
    return this.#layers.get(layer)?.labels[head]?.[0] ?? "";
  }

  evidence(layer: number, head: number): string {
    void this.version;
    const found = this.#layers.get(layer)?.labels[head];
    return found ? found[1] + (found[2] ? `, a sample of ${found[2]}` : "") : "";
  }

  value(layer: number, head: number, metric: string): number {
    void this.version;
    const at = this.metrics.indexOf(metric);
    return this.#layers.get(layer)?.values[head]?.[at] ?? NaN;
  }
}

const kept = new Map<string, HeadsData>();

/** The heads of what is shown; the same object while the reading is the same. */
export function headsOf(store: Store): HeadsData {
  const id = store.reading!.id;
  const kind = store.kind;
  const key = `${id} ${kind}`;
  let found = kept.get(key);
  if (!found || found.store !== store) {
    found = new HeadsData(store, id, kind, store.reading!);
    kept.set(key, found);
    while (kept.size > 8) kept.delete(kept.keys().next().value as string);
  }
  return found;
}
