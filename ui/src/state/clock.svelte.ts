// The page's clock, for ages and countdowns. Ticks once a second, and not while nobody looks.
export class Clock {
  nowMs = $state(Date.now());

  run(): () => void {
    const timer = setInterval(() => {
      if (!document.hidden) this.nowMs = Date.now();
    }, 1000);
    return () => clearInterval(timer);
  }
}
