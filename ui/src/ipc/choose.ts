// Which Backend this page talks to: the window's where there is one, else the server that sent the page.
import type { Backend } from "./backend";

export async function chooseBackend(): Promise<Backend> {
  if ("__TAURI_INTERNALS__" in window) {
    const { tauriBackend } = await import("./tauri");
    return tauriBackend();
  }
  const { httpBackend, reloadOnToken, takeToken } = await import("./http");
  reloadOnToken(window);
  return httpBackend(takeToken(window.location, window.history, window.sessionStorage));
}
