/** The arithmetic of one query as the Steps lens uses it, and which numbers made which. */
import type { Numbers, Packet } from "./packet";

export interface StageHead {
  name: string;
  title: string;
  formula: string;
  example: string;
  per: "feature" | "key" | "key, feature";
  inputs: [string, string][];
  delta: number | null;
}

export interface StepsHead {
  layer: number;
  head: number;
  query: number;
  stages: StageHead[];
  notes: string[];
  max_delta: number;
  max_relative: number;
  ok: boolean;
  beyond: string[];
  slice: number;
  others: number;
  rest: number;
  half: number;
}

export interface Stage extends StageHead {
  values: Float32Array;
  /** Numbers in one vector; 1 for a number per key. */
  width: number;
}

/** A place in a stage: `key` counts among the keys that are shown. */
export interface Spot {
  stage: string;
  key: number | null;
  feature: number | null;
}

export interface Steps extends Omit<StepsHead, "stages"> {
  stages: Stage[];
  keys: Numbers;
}

export function toSteps({ head, arrays, shapes }: Packet<StepsHead>): Steps {
  const stages = head.stages.map((stage, i) => {
    const shape = shapes[`s${i}`]!;
    const width = stage.per === "key" ? 1 : shape[shape.length - 1]!;
    return { ...stage, values: arrays[`s${i}`] as Float32Array, width };
  });
  return { ...head, stages, keys: arrays.keys! };
}

/** Whether the number at `spot` went into the number at `hot`. */
export function lit(steps: Steps, hot: Spot | null, spot: Spot): boolean {
  if (!hot) return false;
  if (same(hot, spot)) return true;
  const stage = steps.stages.find((s) => s.name === hot.stage);
  return (stage?.inputs ?? []).some(
    ([name, which]) => name === spot.stage && matches(steps, which, hot, spot, stage!),
  );
}

/** Whether a stage has any number that is lit: strips are redrawn only then. */
export function touches(steps: Steps, hot: Spot | null, stage: string): boolean {
  if (!hot) return false;
  if (hot.stage === stage) return true;
  return (steps.stages.find((s) => s.name === hot.stage)?.inputs ?? []).some(([n]) => n === stage);
}

function matches(steps: Steps, which: string, hot: Spot, spot: Spot, stage: Stage): boolean {
  switch (which) {
    case "all":
      return true;
    case "same":
      return hot.key === spot.key && hot.feature === spot.feature;
    case "row":
      return hot.key === spot.key;
    case "column":
      return hot.feature === spot.feature;
    case "pair":
      return hot.key === spot.key && pair(steps, stage, hot.feature!).includes(spot.feature!);
    case "slice":
      return hot.feature! - steps.slice === spot.feature;
  }
  return false;
}

function pair(steps: Steps, stage: Stage, feature: number): number[] {
  const { half } = steps;
  void stage;
  if (half === 1) return [feature, feature ^ 1];
  if (feature >= 2 * half) return [feature];
  return [feature, feature < half ? feature + half : feature - half];
}

function same(a: Spot, b: Spot): boolean {
  return a.stage === b.stage && a.key === b.key && a.feature === b.feature;
}
