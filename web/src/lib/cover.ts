/** Which tokens are drawn: the strongest that together hold so much of the mass. */

/** Indices of the strongest weights that hold `share` of all mass, strongest first, at most `most`. */
export function strongest(weights: Float32Array, share: number, most = 60): number[] {
  let total = 0;
  const order: number[] = [];
  for (let i = 0; i < weights.length; i++) {
    const w = weights[i]!;
    if (w > 0) {
      total += w;
      order.push(i);
    }
  }
  order.sort((a, b) => weights[b]! - weights[a]! || a - b);
  const result: number[] = [];
  let held = 0;
  for (const i of order) {
    if (result.length >= most || (held >= share * total - 1e-6 && result.length)) break;
    held += weights[i]!;
    result.push(i);
  }
  return result;
}
