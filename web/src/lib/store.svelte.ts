/** What the page shows and what it knows: one store, written to the address as it changes. */
import * as address from "./hash";
import type { Packet } from "./packet";
import { firstToken, queryTokens, keyTokens, toReading, type Reading, type SummaryHead, type Token } from "./reading";
import { Refused, type Params, type Progress, type Source, type Start } from "./source";

export interface LookHead {
  token: number;
  sentence: string;
  hidden: number | null;
  total: number | null;
  entropy: number | null;
  begin: { layer: number; head: number; key: number }[];
  strongest: { layer: number; head: number; key: number; weight: number }[];
}

export class Store {
  place = $state<address.Place>({ ...address.START });
  start = $state.raw<Start | null>(null);
  reading = $state.raw<Reading | null>(null);
  progress = $state<Progress | null>(null);
  busy = $state(false);
  error = $state<string | null>(null);
  notice = $state("");
  /** The token under the pointer; null where there is none. */
  hover = $state<number | null>(null);
  help = $state(false);
  dark = $state(false);
  #abort: AbortController | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly source: Source,
    /** Whether the state belongs into the page's address: not in a notebook. */
    readonly owner: boolean,
    /** Where it opens, unless the address says otherwise. */
    first: Partial<address.Place> = {},
  ) {
    Object.assign(this.place, first);
  }

  get kind(): string {
    const reading = this.reading;
    if (!reading) return "";
    return this.place.kind in reading.kinds ? this.place.kind : reading.kind;
  }

  get info() {
    return this.reading?.kinds[this.kind];
  }

  get layer(): number {
    const layers = this.info?.layers ?? [0];
    return layers.includes(this.place.layer) ? this.place.layer : layers[0]!;
  }

  get head(): number {
    const heads = this.info?.heads ?? 1;
    return this.place.head >= 0 && this.place.head < heads ? this.place.head : 0;
  }

  /** Tokens of the side that was picked from: those who look, or are looked at. */
  get own(): Token[] {
    if (!this.reading) return [];
    return this.place.direction === "at"
      ? queryTokens(this.reading, this.kind)
      : keyTokens(this.reading, this.kind);
  }

  /** Tokens of the other side. */
  get others(): Token[] {
    if (!this.reading) return [];
    return this.place.direction === "at"
      ? keyTokens(this.reading, this.kind)
      : queryTokens(this.reading, this.kind);
  }

  get token(): number {
    return Math.min(Math.max(this.place.token, 0), Math.max(this.own.length - 1, 0));
  }

  /** The token that is shown: the one under the pointer, else the pinned one. */
  get shown(): number {
    return this.hover ?? this.token;
  }

  get long(): boolean {
    return Math.max(this.own.length, this.others.length) > 400;
  }

  go(change: Partial<address.Place>): void {
    Object.assign(this.place, change);
  }

  async begin(): Promise<void> {
    if (this.owner && location.hash.length > 1) Object.assign(this.place, address.read(location.hash));
    try {
      this.start = await this.source.start();
    } catch (error) {
      this.fail(error);
      return;
    }
    await this.open();
  }

  /** Read what the address names, or what was opened, or an example. */
  async open(): Promise<void> {
    const { text, model, target } = this.place;
    const start = this.start!;
    const body = {
      model: model || start.model,
      target,
      ...(text ? { text } : start.opened ? { opened: true } : { text: EXAMPLE }),
    };
    await this.read(body);
  }

  async read(body: object): Promise<void> {
    this.#abort?.abort();
    clearTimeout(this.#retry);
    const abort = (this.#abort = new AbortController());
    this.busy = true;
    this.error = null;
    try {
      const packet = await this.source.send<SummaryHead>("read", body, {
        signal: abort.signal,
        progress: (told) => (this.progress = told),
      });
      await this.#show(toReading(packet), abort.signal);
    } catch (error) {
      if (abort.signal.aborted) return;
      if (error instanceof Refused && error.retryAfter) {
        this.notice = `${error.message} (trying again)`;
        this.#retry = setTimeout(() => void this.read(body), 1000 * error.retryAfter);
      } else {
        this.fail(error);
      }
    } finally {
      if (abort === this.#abort) {
        this.busy = false;
        this.progress = null;
      }
    }
  }

  cancel(): void {
    this.#abort?.abort();
    clearTimeout(this.#retry);
    this.busy = false;
    this.progress = null;
    this.notice = "Stopped.";
  }

  async #show(reading: Reading, signal: AbortSignal): Promise<void> {
    const before = this.reading;
    const kind = this.place.kind in reading.kinds ? this.place.kind : reading.kind;
    const tokens = queryTokens(reading, kind);
    const place: Partial<address.Place> = { model: reading.model, text: reading.text };
    const fresh = before !== null && before.text !== reading.text;
    if (this.place.token < 0 || this.place.token >= tokens.length || fresh) {
      place.token = firstToken(tokens);
      place.direction = "at";
    }
    const info = reading.kinds[kind]!;
    const known = info.layers.includes(this.place.layer) && this.place.head < info.heads && this.place.head >= 0;
    if (!known || (before !== null && before.model !== reading.model)) {
      const token = place.token ?? this.place.token;
      // of a long text one layer must do: all of them would take seconds
      const layers = info.layers;
      const where = info.q_len > 2048 ? { layer: layers[Math.floor(layers.length / 3)]! } : {};
      const packet = await this.source.ask<LookHead>(reading.id, "look", { kind, token, ...where }, { signal });
      // a neighbour is no news: begin with a head that looks further
      const words = keyTokens(reading, kind);
      const { begin } = packet.head;
      const far = begin.find((e) => e.key < token && words[e.key]!.label.length > 3) ?? begin[0];
      const best = far ?? packet.head.strongest[0];
      const chosen = before === null && info.layers.includes(this.place.layer);
      place.layer = chosen ? this.place.layer : (best?.layer ?? info.layers[0]!);
      place.head = chosen ? 0 : (best?.head ?? 0);
    }
    this.hover = null;
    if (!this.source.live) this.place.model = reading.model;
    Object.assign(this.place, place);
    this.reading = reading;
    const said = tokens.length === 1 ? "1 token" : `${tokens.length.toLocaleString("en")} tokens`;
    this.notice = `${reading.model} has read ${said}.`;
  }

  ask<Head>(question: string, params: Params, signal?: AbortSignal): Promise<Packet<Head>> {
    const asking = signal ? { signal } : {};
    return this.source.ask<Head>(this.reading!.id, question, { kind: this.kind, ...params }, asking);
  }

  fail(error: unknown): void {
    if (error instanceof DOMException && error.name === "AbortError") return;
    this.error = error instanceof TypeError && /fetch|network/i.test(error.message)
      ? "eyeline does not answer: is it still running in the terminal?"
      : error instanceof Error ? error.message : String(error);
  }
}

export const EXAMPLE = "The animal didn't cross the street because it was tired";
