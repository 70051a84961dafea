import { describe, expect, it, vi } from "vitest";
import { arc } from "../src/draw/arc";
import { strongest } from "../src/lib/cover";
import { percent, short, weight } from "../src/lib/format";
import { read, START, write } from "../src/lib/hash";
import { shadeToWeight, unpack, weights } from "../src/lib/packet";
import { firstToken, tokenName, type Token } from "../src/lib/reading";
import { HttpSource } from "../src/lib/source";
import { lit, type Steps } from "../src/lib/steps";

describe("numbers", () => {
  it("prints weights within half a unit of the last digit", () => {
    for (let i = 0; i < 2000; i++) {
      const w = Math.random() ** 3;
      const shown = weight(w);
      const digits = shown.includes("e") ? 0.5 * 10 ** Number(shown.split("e")[1]) : 0.0005;
      expect(Math.abs(Number(shown) - w)).toBeLessThanOrEqual(digits + 1e-12);
      if (!percent(w).startsWith("<")) {
        expect(Math.abs(Number(percent(w)) - 100 * w)).toBeLessThanOrEqual(w >= 0.0995 ? 0.5 + 1e-9 : 0.05 + 1e-9);
      }
    }
    expect([weight(NaN), percent(NaN), short(-Infinity), short(NaN)]).toEqual(["NaN", "NaN", "−∞", "NaN"]);
    expect([percent(0), percent(1), percent(0.66), percent(0.067)]).toEqual(["0", "100", "66", "6.7"]);
  });
});

describe("names of tokens", () => {
  it("count where a label stands for several", () => {
    const tokens = ["the", "cat", "the", "The", "the"].map((label) => ({ label }));
    expect(tokens.map((_, i) => tokenName(tokens, i))).toEqual(["the", "cat", "the:2", "The", "the:3"]);
    expect(tokenName(tokens, 9)).toBe("");
  });
});

describe("the address", () => {
  it("holds what differs from the start, and gives it back", () => {
    const place = { ...START, lens: "map" as const, text: "a & b = c # d", token: 3, hide: true, cover: 60 };
    expect(read(write(place))).toEqual(place);
    expect(write(START)).toBe("#");
  });
  it("takes no nonsense", () => {
    const place = read("#lens=evil&scope=x&direction=up&cover=1e9&token=abc&__proto__=1&nothing=2");
    expect(place).toEqual({ ...START, cover: 100 });
  });
});

describe("packets", () => {
  it("are read wherever they begin", () => {
    const head = new TextEncoder().encode('{"n":1,"arrays":{"w":["u2",[2],0],"s":["u1",[3],8]}}');
    const start = Math.ceil((4 + head.length) / 8) * 8;
    const packet = new Uint8Array(start + 16 + 3);
    const bytes = packet.subarray(3);
    new DataView(bytes.buffer, 3).setUint32(0, head.length, true);
    bytes.set(head, 4);
    bytes.set([0xfe, 0xff, 0xff, 0xff], start);
    bytes.set([0, 1, 255], start + 8);
    const found = unpack<{ n: number }>(bytes);
    expect(found.head.n).toBe(1);
    expect([...weights(found.arrays.w)]).toEqual([1, NaN]);
    expect([...found.arrays.s!].map(shadeToWeight)).toEqual([0, 0, 1]);
  });
});

describe("what is drawn", () => {
  it("is the fewest tokens that hold the mass", () => {
    const row = Float32Array.from([0.1, 0.5, 0.05, 0.3, 0.05]);
    expect(strongest(row, 0.8)).toEqual([1, 3]);
    expect(strongest(row, 1)).toHaveLength(5);
    expect(strongest(row, 1, 2)).toHaveLength(2);
    expect(strongest(new Float32Array(3), 0.9)).toEqual([]);
    expect(strongest(Float32Array.from([NaN, 1]), 0.9)).toEqual([1]);
  });
  it("begins and ends at its tokens", () => {
    expect(arc({ x: 0, y: 10 }, { x: 100, y: 10 }, 150)).toBe("M0.0 10.0C0.0 -36.0 100.0 -36.0 100.0 10.0");
  });
  it("starts at the pronoun, else at the last word", () => {
    const tokens = (text: string) =>
      text.split(" ").map((label, index): Token => ({ index, label, gap: 1, special: label.startsWith("[") }));
    expect(firstToken(tokens("[CLS] The animal because it was tired [SEP]"))).toBe(4);
    expect(firstToken(tokens("[CLS] the dog sat . [SEP]"))).toBe(3);
    expect(firstToken(tokens("[CLS] [SEP]"))).toBe(1);
  });
});

describe("what lights up", () => {
  const stage = (name: string, per: string, inputs: [string, string][]) =>
    ({ name, per, inputs, title: "", formula: "", example: "", delta: null, values: new Float32Array(0), width: 1 });
  const steps = {
    slice: 4, half: 2,
    stages: [
      stage("query", "feature", []), stage("query_rotary", "feature", [["query", "pair"]]),
      stage("scores", "key", [["query_rotary", "all"]]), stage("scaled", "key", [["scores", "same"]]),
      stage("concat", "feature", [["weighted_sum", "slice"]]),
    ],
  } as unknown as Steps;
  it("is exactly what went in", () => {
    const hot = { stage: "query_rotary", key: null, feature: 1 };
    const on = [0, 1, 2, 3, 4].filter((feature) => lit(steps, hot, { stage: "query", key: null, feature }));
    expect(on).toEqual([1, 3]);
    expect(lit(steps, { stage: "scaled", key: 2, feature: null }, { stage: "scores", key: 2, feature: null })).toBe(true);
    expect(lit(steps, { stage: "scaled", key: 2, feature: null }, { stage: "scores", key: 1, feature: null })).toBe(false);
    expect(lit(steps, { stage: "concat", key: null, feature: 5 }, { stage: "weighted_sum", key: null, feature: 1 })).toBe(true);
  });
});

describe("a reading that the server has let go of", () => {
  /** A server that holds one reading at a time, and refuses all else with 404. */
  function server() {
    let held = "";
    const asked: string[] = [];
    const packet = (head: object) => {
      const json = new TextEncoder().encode(JSON.stringify({ ...head, arrays: {} }));
      const frame = new Uint8Array(5 + 4 + json.length);
      frame[0] = "r".charCodeAt(0);
      new DataView(frame.buffer).setUint32(1, 4 + json.length, true);
      new DataView(frame.buffer).setUint32(5, json.length, true);
      frame.set(json, 9);
      return new Response(frame, { headers: { "content-type": "application/x-eyeline" } });
    };
    vi.stubGlobal("fetch", async (path: string, how?: { body?: string }) => {
      asked.push(path);
      if (path === "/api/read") {
        held = JSON.parse(how!.body!).text;
        return packet({ id: held });
      }
      if (!path.includes(`/${held}/`)) return new Response('{"error": "not held"}', { status: 404 });
      return packet({ of: held });
    });
    return asked;
  }
  it("is read again, once, and the question asked again", async () => {
    const asked = server();
    const source = new HttpSource();
    await source.send("read", { text: "one" });
    await source.send("read", { text: "two" });
    const answer = await source.ask<{ of: string }>("one", "look", { token: 1 });
    expect(answer.head.of).toBe("one");
    expect(asked.slice(2)).toEqual(["/api/readings/one/look?token=1", "/api/read", "/api/readings/one/look?token=1"]);
  });
  it("that the page never read is an error", async () => {
    server();
    await expect(new HttpSource().ask("unknown", "look", {})).rejects.toThrow("not held");
  });
});
