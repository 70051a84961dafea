/** The weights of the shown token: exact once they are here, a preview of the largest until then. */
import { weights } from "./packet";
import { Resource } from "./resource.svelte";
import type { LookHead, Store } from "./store.svelte";

interface HeadHead {
  first: number;
  k: number;
}

export class LookData {
  #exact: Resource<LookHead>;
  #rows: Resource<HeadHead>;
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
    this.#exact = new Resource<LookHead>(store, () => {
      const hovered = store.hover !== null;
      return { question: "look", params: this.#params, ...(hovered ? { wait: 40 } : {}) };
    });
    this.#rows = new Resource<HeadHead>(store, () => {
      if (store.place.scope !== "head") return null;
      const page = store.own.length * 32 <= 60_000 ? 0 : Math.floor(store.token / 512);
      return { question: "head", params: { layer: store.layer, head: store.head, page } };
    });
  }

  get #params() {
    const { scope, direction, hide } = this.#store.place;
    return {
      token: this.#store.shown,
      direction,
      ...(scope !== "all" ? { layer: this.#store.layer } : {}),
      ...(scope === "head" ? { head: this.#store.head } : {}),
      ...(hide ? { hide: 1 } : {}),
    };
  }

  /** The exact answer, if it is of what is shown now. */
  get exact() {
    const store = this.#store;
    const key = JSON.stringify([store.reading!.id, store.kind, "look", this.#params]);
    return this.#exact.key === key ? this.#exact.packet : null;
  }

  get error(): string {
    return this.#exact.error;
  }

  row = $derived.by(() => {
    const exact = this.exact;
    return exact ? weights(exact.arrays.row) : this.#preview() ?? this.#stale();
  });

  /** Largest weights first, in full precision: what is printed. */
  top = $derived.by(() => {
    const packet = this.exact;
    if (!packet) return [];
    const where = packet.arrays.where!;
    return Array.from(packet.arrays.top!, (weight, i) => ({ index: where[i]!, weight }));
  });

  get sentence(): string {
    return this.exact?.head.sentence ?? "";
  }

  get hidden(): number | null {
    return this.exact?.head.hidden ?? null;
  }

  get strongest() {
    return this.exact?.head.strongest ?? [];
  }

  get entropy(): number | null {
    return this.exact?.head.entropy ?? null;
  }

  /** While the exact row is under way: the head's largest weights, which are here already. */
  #preview(): Float32Array | null {
    const { place, others, shown } = this.#store;
    const rows = this.#rows.packet;
    if (!rows || place.scope !== "head" || place.hide) return null;
    const key = JSON.parse(this.#rows.key || "[]") as [string, string, string, { layer: number; head: number }];
    if (key[0] !== this.#store.reading!.id || key[1] !== this.#store.kind) return null;
    if (key[3].layer !== this.#store.layer || key[3].head !== this.#store.head) return null;
    const { first, k } = rows.head;
    const keys = rows.arrays.keys!;
    const raw = rows.arrays.weights!;
    const result = new Float32Array(others.length);
    const count = keys.length / k;
    if (place.direction === "at") {
      if (shown < first || shown >= first + count) return null;
      for (let n = 0; n < k; n++) {
        const at = (shown - first) * k + n;
        result[keys[at]!] = Math.max(raw[at]! / 65534, result[keys[at]!]!);
      }
    } else {
      for (let i = 0; i < keys.length; i++) {
        if (keys[i] === shown) result[first + Math.floor(i / k)] = Math.max(raw[i]! / 65534, result[first + Math.floor(i / k)]!);
      }
    }
    return result;
  }

  #stale(): Float32Array | null {
    return null;
  }
}
