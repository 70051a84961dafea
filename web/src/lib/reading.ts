/** A reading's summary as views use it. */
import type { Packet } from "./packet";

export interface KindInfo {
  layers: number[];
  heads: number;
  q_len: number;
  kv_len: number;
  queries: "source" | "target";
  keys: "source" | "target";
  rules: string[];
}

export interface SummaryHead {
  id: string;
  model: string;
  source: string;
  family: "encoder" | "masked" | "causal" | "seq2seq";
  text: string;
  kind: string;
  kinds: Record<string, KindInfo>;
  tokens: Record<string, string>;
  predictions: { kind: string; position: number | null; candidates: [string, number][] }[];
}

export interface Token {
  index: number;
  label: string;
  /** What stands before it: 0 nothing, 1 a space, 2 a new line. */
  gap: number;
  special: boolean;
}

export interface Reading extends Omit<SummaryHead, "tokens"> {
  sides: Record<string, Token[]>;
}

export function toReading({ head, arrays }: Packet<SummaryHead>): Reading {
  const { tokens, ...rest } = head;
  const sides: Record<string, Token[]> = {};
  for (const [side, joined] of Object.entries(tokens)) {
    const set = arrays[`${side}_set`]!;
    sides[side] = joined.split("\0").map((label, index) => ({
      index,
      label,
      gap: set[index]! & 3,
      special: (set[index]! & 4) > 0,
    }));
  }
  return { ...rest, sides };
}

export function queryTokens(reading: Reading, kind: string): Token[] {
  return reading.sides[reading.kinds[kind]!.queries]!;
}

export function keyTokens(reading: Reading, kind: string): Token[] {
  return reading.sides[reading.kinds[kind]!.keys]!;
}

/** A token to begin with: the pronoun if there is one, else the last real word. */
export function firstToken(tokens: Token[]): number {
  const pronouns = ["it", "they", "she", "he", "him", "her", "them", "who", "which"];
  const pronoun = tokens.findLast((t) => pronouns.includes(t.label.toLowerCase()));
  const word = tokens.findLast((t) => !t.special && /[\p{L}\p{N}]/u.test(t.label));
  return (pronoun ?? word ?? tokens[tokens.length - 1])?.index ?? 0;
}

/** How a reader names a token: the, and the:2 where that stands for another one; as in the terminal. */
export function tokenName(tokens: readonly { label: string }[], index: number): string {
  const label = tokens[index]?.label ?? "";
  let before = 0;
  for (let i = 0; i < index; i++) if (tokens[i]?.label === label) before += 1;
  return before ? `${label}:${before + 1}` : label;
}
