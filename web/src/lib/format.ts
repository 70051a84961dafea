/** Numbers as they are printed. Every printed number is within half a unit of its last digit. */

/** A weight in per cent: 66, 6.7, 0.4. */
export function percent(weight: number): string {
  if (Number.isNaN(weight)) return "NaN";
  const hundred = 100 * weight;
  if (hundred > 0 && hundred < 0.05) return "<0.1";
  return hundred.toFixed(hundred >= 9.95 || hundred === 0 ? 0 : 1);
}

/** A weight with three decimals, or what it is where three say nothing. */
export function weight(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (value > 0 && value < 0.0005) return value.toExponential(0);
  return value.toFixed(3);
}

/** Any number in few characters. */
export function short(value: number, digits = 3): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 100000)) return minus(value.toExponential(1));
  const whole = Math.max(Math.floor(Math.log10(size || 1)) + 1, 1);
  return minus(value.toFixed(Math.max(digits - whole, size >= 100 ? 0 : 2)));
}

export function minus(text: string): string {
  return text.replace("-", "−");
}

export function count(value: number): string {
  return value.toLocaleString("en");
}
