// Numbers to words. A minus is −, thousands have commas, and a no-break space stands before every unit.

export const NBSP = "\u00a0";

/** A number with a fixed count of decimals, commas and a true minus. */
export function fixed(value: number, decimals: number): string {
  const text = Math.abs(value).toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  const zero = !/[1-9]/.test(text);
  return value < 0 && !zero ? `−${text}` : text;
}

/** A whole number with commas. */
export const whole = (value: number): string => fixed(value, 0);

/** `1 layer`, `2 layers`. */
export const count = (n: number, one: string, many = `${one}s`): string => `${whole(n)}${NBSP}${n === 1 ? one : many}`;

/** Tokens as an axis names them: 512, 2k, 128k, 1M. */
export function tokensShort(tokens: number): string {
  if (tokens >= 1 << 20 && tokens % (1 << 20) === 0) return `${tokens >> 20}M`;
  if (tokens >= 1024) {
    const k = tokens / 1024;
    return `${Number.isInteger(k) ? k : k.toFixed(1)}k`;
  }
  return whole(tokens);
}

/** A large count of parameters: 70.6 B, 494 M. */
export function parameters(n: number): string {
  if (n >= 1e12) return `${fixed(n / 1e12, 2)}${NBSP}T`;
  if (n >= 1e9) return `${fixed(n / 1e9, 1)}${NBSP}B`;
  return `${fixed(n / 1e6, 0)}${NBSP}M`;
}

/** Microseconds of planning in words. */
export function micros(us: number): string {
  if (us < 1000) return `${whole(us)}${NBSP}µs`;
  return us < 10_000 ? `${fixed(us / 1000, 1)}${NBSP}ms` : `${whole(us / 1000)}${NBSP}ms`;
}
