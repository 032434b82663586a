// The colour theme. Dark unless the user chose otherwise or the system asks for more contrast.
export const THEMES = ["dark", "light", "contrast"] as const;
export type ThemeName = (typeof THEMES)[number];

const KEY = "theme";

export class Theme {
  name = $state<ThemeName>("dark");

  constructor() {
    const kept = localStorage.getItem(KEY);
    const found = THEMES.find((theme) => theme === kept);
    this.#show(found ?? (window.matchMedia("(prefers-contrast: more)").matches ? "contrast" : "dark"));
  }

  next(): void {
    const name = THEMES[(THEMES.indexOf(this.name) + 1) % THEMES.length] ?? "dark";
    localStorage.setItem(KEY, name);
    this.#show(name);
  }

  #show(name: ThemeName): void {
    this.name = name;
    document.documentElement.dataset["theme"] = name;
  }
}
