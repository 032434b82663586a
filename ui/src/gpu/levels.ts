// How urgent a reading is, by the default thresholds. Display only: nothing here raises or remembers an alert.

export type Level = "normal" | "warning" | "critical" | "emergency";

export const LEVELS: readonly Level[] = ["normal", "warning", "critical", "emergency"];

export const LEVEL_WORD: Record<Level, string> = {
  normal: "Normal",
  warning: "Warning",
  critical: "Critical",
  emergency: "Emergency",
};

export interface Threshold {
  level: Exclude<Level, "normal">;
  at: number;
}

/** Share of a card's memory in use, percent. */
export const MEMORY_THRESHOLDS: readonly Threshold[] = [
  { level: "warning", at: 75 },
  { level: "critical", at: 90 },
  { level: "emergency", at: 95 },
];

/** Core temperature, °C. */
export const TEMPERATURE_THRESHOLDS: readonly Threshold[] = [
  { level: "warning", at: 70 },
  { level: "critical", at: 80 },
  { level: "emergency", at: 90 },
];

/** The gravest threshold that a value has reached; an absent value is not urgent, it is absent. */
export function levelOf(value: number | null, thresholds: readonly Threshold[]): Level {
  let level: Level = "normal";
  if (value !== null) {
    for (const threshold of thresholds) if (value >= threshold.at) level = threshold.level;
  }
  return level;
}

export const worst = (levels: readonly Level[]): Level =>
  levels.reduce<Level>((a, b) => (LEVELS.indexOf(b) > LEVELS.indexOf(a) ? b : a), "normal");
