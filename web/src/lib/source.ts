/** Where answers come from: the server, the notebook's kernel, or the page itself. */
import { unpack, type Packet } from "./packet";

export type Progress = { stage: string; done: number; total: number | null };
export type Asking = {
  signal?: AbortSignal;
  progress?: (told: Progress) => void;
  item?: (packet: Packet<never>) => void;
};
export type Params = Record<string, string | number | undefined>;

export class Refused extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly retryAfter = 0,
  ) {
    super(message);
  }
}

export interface Source {
  /** Whether models can run here: an exported page has answers and no model. */
  readonly live: boolean;
  start(): Promise<Start>;
  /** Ask with a body: read a text, change something, generate. */
  send<Head>(what: string, body: object, asking?: Asking): Promise<Packet<Head>>;
  /** Ask a question of a reading. */
  ask<Head>(reading: string, question: string, params: Params, asking?: Asking): Promise<Packet<Head>>;
  /** What is shown, as a file; only a server can. */
  file?(reading: string, ending: string, query: string): Promise<Uint8Array<ArrayBuffer>>;
}

export interface Start {
  models: { name: string; title: string; what_for: string }[];
  model: string;
  text: string | null;
  opened: boolean;
  characters: number;
  reading?: string;
  classroom?: boolean;
}

/** The server that `eyeline open` started. */
export class HttpSource implements Source {
  readonly live = true;
  #kept = new Map<string, Promise<Packet>>();
  /** What made each reading: the server holds the latest, and reads others again. */
  #bodies = new Map<string, object>();

  async start(): Promise<Start> {
    const response = await fetch("/api/start");
    if (!response.ok) throw new Refused(await response.text(), response.status);
    return (await response.json()) as Start;
  }

  async send<Head>(what: string, body: object, asking: Asking = {}): Promise<Packet<Head>> {
    const { one, other } = body as { one?: string; other?: string };
    const packet = await this.#readAgain([one, other], async () => {
      const response = await fetch(`/api/${what}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
        signal: asking.signal ?? null,
      });
      return unpack<Head>(await frames(response, asking));
    });
    if (what === "read") this.#remember((packet.head as { id: string }).id, body);
    return packet;
  }

  /** The latest last; far more than a page shows at once, far less than a day of typing. */
  #remember(reading: string, body: object): void {
    this.#bodies.delete(reading);
    this.#bodies.set(reading, body);
    if (this.#bodies.size > 100) this.#bodies.delete(this.#bodies.keys().next().value as string);
  }

  file(reading: string, ending: string, given: string): Promise<Uint8Array<ArrayBuffer>> {
    const path = `/api/readings/${reading}/export/${ending}?${given}`;
    return this.#readAgain([reading], async () => frames(await fetch(path), {}));
  }

  /** Ask; where the server has let go of a reading, have it read again, and ask once more. */
  async #readAgain<Answer>(readings: (string | undefined)[], ask: () => Promise<Answer>): Promise<Answer> {
    try {
      return await ask();
    } catch (error) {
      const bodies = readings.map((name) => this.#bodies.get(name ?? "")).filter((body) => body !== undefined);
      if (!(error instanceof Refused) || error.status !== 404 || !bodies.length) throw error;
      for (const body of bodies) await this.send("read", body);
      return ask();
    }
  }

  ask<Head>(
    reading: string,
    question: string,
    params: Params,
    asking: Asking = {},
  ): Promise<Packet<Head>> {
    const path = `/api/readings/${reading}/${question}?${query(params)}`;
    const kept = this.#kept.get(path);
    if (kept) {
      this.#kept.delete(path);
      this.#kept.set(path, kept);
      return kept as Promise<Packet<Head>>;
    }
    const made = this.#readAgain([reading], async () =>
      unpack<Head>(await frames(await fetch(path, { signal: asking.signal ?? null }), asking)),
    );
    this.#kept.set(path, made as Promise<Packet>);
    made.catch(() => this.#kept.delete(path));
    while (this.#kept.size > 400) this.#kept.delete(this.#kept.keys().next().value as string);
    return made;
  }
}

export function query(params: Params): string {
  const given = Object.entries(params).filter(([, value]) => value !== undefined);
  return new URLSearchParams(given.map(([k, v]) => [k, String(v)])).toString();
}

/** Read frames until the last: `p` progress, `i` an item, `r` the result, `e` an error. */
async function frames(response: Response, asking: Asking): Promise<Uint8Array<ArrayBuffer>> {
  const retryAfter = Number(response.headers.get("retry-after") ?? 0);
  if (response.headers.get("content-type") !== "application/x-eyeline") {
    throw new Refused(await plainError(response), response.status, retryAfter);
  }
  const reader = response.body!.getReader();
  let held = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read();
    if (value) held = joined(held, value);
    for (;;) {
      const size = held.length < 5 ? Infinity : new DataView(held.buffer).getUint32(1, true);
      if (held.length < 5 + size) break;
      const kind = String.fromCharCode(held[0]!);
      const body = held.slice(5, 5 + size);
      held = held.slice(5 + size);
      if (kind === "r") return body;
      if (kind === "i") {
        asking.item?.(unpack<never>(body));
        continue;
      }
      const told = JSON.parse(new TextDecoder().decode(body));
      if (kind === "e") throw new Refused(told.error, response.status, retryAfter);
      asking.progress?.(told as Progress);
    }
    if (done) throw new Refused("the answer broke off: is eyeline still running?", 0);
  }
}

async function plainError(response: Response): Promise<string> {
  const text = await response.text();
  try {
    return (JSON.parse(text) as { error: string }).error;
  } catch {
    return text || `the server answered ${response.status}`;
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
