/** Sources without a server: a notebook's kernel, and the answers that an exported page holds. */
import { unpack, weights, type Packet } from "./packet";
import { Refused, type Asking, type Params, type Source, type Start } from "./source";
import type { Place } from "./hash";
import { tokenName } from "./reading";

export interface Model {
  get(name: string): unknown;
  send(message: object): void;
  on(event: string, listener: (message: never, buffers: DataView[]) => void): void;
}

/** A notebook: questions go to the kernel as messages, packets come back as buffers. */
export class WidgetSource implements Source {
  readonly live = false;
  #waiting = new Map<number, { done: (p: Packet) => void; fail: (e: Error) => void }>();
  #number = 0;

  constructor(readonly model: Model) {
    model.on("msg:custom", (message: { number: number; error?: string }, buffers) => {
      const asked = this.#waiting.get(message.number);
      this.#waiting.delete(message.number);
      const view = buffers?.[0];
      if (message.error || !view) asked?.fail(new Refused(message.error ?? "no answer", 400));
      else asked?.done(unpack(new Uint8Array(view.buffer, view.byteOffset, view.byteLength)));
    });
  }

  async start(): Promise<Start> {
    return { models: [], model: "", text: null, opened: true, characters: 0 };
  }

  send<Head>(what: string): Promise<Packet<Head>> {
    if (what === "read") return this.#ask<Head>("summary", {});
    return Promise.reject(new Refused("a notebook shows this reading alone: use Python to read another", 400));
  }

  ask<Head>(_reading: string, question: string, params: Params): Promise<Packet<Head>> {
    const given = Object.fromEntries(Object.entries(params).filter(([, v]) => v !== undefined));
    return this.#ask<Head>(question, given as Params);
  }

  #ask<Head>(question: string, params: Params): Promise<Packet<Head>> {
    const number = ++this.#number;
    return new Promise<Packet<Head>>((done, fail) => {
      this.#waiting.set(number, { done: done as (p: Packet) => void, fail });
      this.model.send({ number, question, params });
    });
  }
}

export interface Kept {
  answers: Record<string, string>;
  state: Partial<Place>;
  left_out: number;
}

interface SummaryHead {
  kind: string;
  kinds: Record<string, { layers: number[]; heads: number; q_len: number; kv_len: number; queries: string; keys: string }>;
  tokens: Record<string, string>;
}

/** An exported page: answers lie in it, deflated; rows are made of each head's largest weights. */
export class FileSource implements Source {
  readonly live = false;
  #summary: SummaryHead | null = null;

  constructor(readonly kept: Kept) {}

  async start(): Promise<Start> {
    return { models: [], model: "", text: null, opened: true, characters: 0 };
  }

  async send<Head>(what: string): Promise<Packet<Head>> {
    if (what !== "read") throw new Refused("this page holds answers and no model: open the text with eyeline", 400);
    const packet = await this.#packet<Head>("summary");
    this.#summary = packet.head as unknown as SummaryHead;
    (packet.head as { id: string }).id = "file";
    return packet;
  }

  async ask<Head>(_reading: string, question: string, params: Params, _asking?: Asking): Promise<Packet<Head>> {
    const { kind, layer, head } = params;
    switch (question) {
      case "heads":
        return (await this.#heads(params)) as Packet<Head>;
      case "head":
        return this.#packet<Head>(`head ${kind} ${layer} ${head} ${params.page ?? 0}`);
      case "overview":
        return this.#packet<Head>(`overview ${kind} ${layer} ${head}`);
      case "look":
      case "row":
        return (await this.#row(params)) as Packet<Head>;
    }
    throw new Refused("this page holds answers and no model: open the text with eyeline for more", 400);
  }

  async #packet<Head>(name: string): Promise<Packet<Head>> {
    const text = this.kept.answers[name];
    if (text === undefined) {
      throw new Refused("this part was too large for the file: open the text with eyeline to see it", 404);
    }
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return unpack<Head>(new Uint8Array(await new Response(stream).arrayBuffer()));
  }

  /** The layers that were asked for, joined. */
  async #heads(params: Params): Promise<Packet> {
    const { kind } = params;
    const layers = this.#summary!.kinds[String(kind)]!.layers.filter((n) => n >= Number(params.from) && n <= Number(params.to));
    const parts = await Promise.all(layers.map((n) => this.#packet<{ labels: unknown[]; metrics: string[] }>(`heads ${kind} ${n}`)));
    const pictures = joined(parts.map((p) => p.arrays.pictures as Uint8Array), Uint8Array);
    const values = joined(parts.map((p) => p.arrays.values as Float32Array), Float32Array);
    const shape = parts[0]!.shapes.pictures!;
    return {
      head: { layers, metrics: parts[0]!.head.metrics, labels: parts.flatMap((p) => p.head.labels) },
      arrays: { pictures, values },
      shapes: { pictures: [layers.length, ...shape.slice(1)], values: [values.length] },
    };
  }

  async #row(params: Params): Promise<Packet> {
    const info = this.#summary!.kinds[String(params.kind)]!;
    const by = params.direction === "by";
    const token = Number(params.token);
    const layers = params.layer === undefined ? info.layers : [Number(params.layer)];
    const heads = params.head === undefined ? Array.from({ length: info.heads }, (_, h) => h) : [Number(params.head)];
    const row = new Float32Array(by ? info.q_len : info.kv_len);
    const single: { layer: number; head: number; key: number; weight: number }[] = [];
    for (const layer of layers) {
      for (const head of heads) {
        const found = await this.#part(String(params.kind), layer, head, token, by, info.q_len);
        found.forEach(([at, w]) => {
          row[at]! += w / (layers.length * heads.length);
          if (at !== token) single.push({ layer, head, key: at, weight: w });
        });
      }
    }
    let hidden: number | null = null;
    if (params.hide && !by) {
      hidden = row[0]!;
      row.forEach((w, i) => (row[i] = i ? w / Math.max(1 - hidden!, 1e-9) : 0));
    }
    const order = [...row.keys()].sort((a, b) => row[b]! - row[a]!).slice(0, 64);
    single.sort((a, b) => b.weight - a.weight);
    const labels = (this.#summary!.tokens[by ? info.queries : info.keys] ?? "").split("\0");
    const own = (this.#summary!.tokens[by ? info.keys : info.queries] ?? "").split("\0")[token] ?? "";
    return {
      head: {
        token, hidden, total: row.reduce((a, b) => a + b, 0), strongest: layers.length * heads.length > 1 ? single.slice(0, 8) : [],
        begin: single.filter((e) => e.key > 0 && Math.abs(e.key - token) > 1).slice(0, 8),
        entropy: row.reduce((sum, w) => (w > 0 ? sum - w * Math.log(w) : sum), 0),
        sentence: sentence(own, row, order, labels, by, info.queries === info.keys ? token : -1),
      },
      arrays: { row: Uint16Array.from(row, (w) => Math.round(w * 65534)), top: Float32Array.from(order, (i) => row[i]!), where: Int32Array.from(order) },
      shapes: {},
    };
  }

  async #part(kind: string, layer: number, head: number, token: number, by: boolean, length: number): Promise<[number, number][]> {
    const paged = length * 32 > 60_000;
    const pages = by && paged ? Math.ceil(length / 512) : 1;
    const result: [number, number][] = [];
    for (let page = 0; page < pages; page++) {
      const at = by ? page : paged ? Math.floor(token / 512) : 0;
      const { head: about, arrays } = await this.#packet<{ first: number; k: number }>(`head ${kind} ${layer} ${head} ${at}`);
      const all = weights(arrays.weights);
      const keys = arrays.keys!;
      if (by) {
        for (let i = 0; i < keys.length; i++) if (keys[i] === token && all[i]! > 0) result.push([about.first + Math.floor(i / about.k), all[i]!]);
      } else {
        const start = (token - about.first) * about.k;
        for (let i = start; i < start + about.k; i++) if (all[i]! > 0) result.push([keys[i]!, all[i]!]);
      }
    }
    return result;
  }
}

function sentence(own: string, row: Float32Array, order: number[], labels: string[], by: boolean, itself: number): string {
  const tokens = labels.map((label) => ({ label }));
  const named = order.slice(0, 3).filter((i, n) => n === 0 || row[i]! >= 0.005);
  const said = named.map((i) => `${i === itself ? "itself" : tokenName(tokens, i)} ${(100 * row[i]!).toFixed(0)} %`).join(", ");
  if (!row[order[0]!]) return `${own} ${by ? "is looked at by no token" : "looks at nothing at all"}.`;
  if (by) return `${own} is looked at by ${said}.`;
  let held = 0;
  let count = 0;
  for (const i of order) {
    held += row[i]!;
    count += 1;
    if (held >= 0.9 - 1e-6) return `${own} looks at ${said}; ${count === 1 ? "1 token covers" : `${count} tokens cover`} 90 %.`;
  }
  return `${own} looks at ${said}; the ${count} tokens in this file hold ${(100 * held).toFixed(0)} %.`;
}

function joined<T extends Uint8Array | Float32Array>(parts: T[], make: new (n: number) => T): T {
  const all = new make(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part as never, at);
    at += part.length;
  }
  return all;
}
