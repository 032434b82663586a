// Which screen is shown. Kept in the address, so that a reload comes back to it.
export const SCREENS = ["dashboard", "optimizer", "launcher"] as const;
export type Screen = (typeof SCREENS)[number];

const isScreen = (word: string): word is Screen => (SCREENS as readonly string[]).includes(word);

export class Route {
  screen = $state<Screen>("dashboard");

  constructor() {
    const word = window.location.hash.slice(1);
    if (isScreen(word)) this.screen = word;
  }

  go(screen: Screen): void {
    this.screen = screen;
    window.history.replaceState(null, "", `#${screen}`);
  }
}
