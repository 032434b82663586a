import { afterEach, describe, expect, it, vi } from "vitest";

import type { BackendError } from "./backend";
import { httpBackend, takeToken } from "./http";

afterEach(() => vi.unstubAllGlobals());

const respond = (status: number, body: string) => {
  const fetch = vi.fn<typeof globalThis.fetch>(() => Promise.resolve(new Response(body, { status })));
  vi.stubGlobal("fetch", fetch);
  return fetch;
};

describe("the token", () => {
  const location = (hash: string) => ({ hash, pathname: "/", search: "" }) as Location;

  it("leaves the address bar and is kept for a reload", () => {
    const storage = window.sessionStorage;
    const history = { replaceState: vi.fn() } as unknown as History;
    expect(takeToken(location("#token=secret"), history, storage)).toBe("secret");
    expect(history.replaceState).toHaveBeenCalledWith(null, "", "/");
    expect(takeToken(location("#optimizer"), history, storage)).toBe("secret");
  });
});

describe("a command over HTTP", () => {
  it("sends its arguments by the product's names, with the token", async () => {
    const fetch = respond(200, '{"session":3,"lines":[],"dropped":0}');
    await httpBackend("t", "http://h").sessionLog(3, 10, 500);
    const [url, init] = fetch.mock.calls[0] ?? [];
    expect(url).toBe("http://h/api/session_log");
    expect(init?.headers).toMatchObject({ authorization: "Bearer t" });
    expect(init?.body).toBe('{"session":3,"from_seq":10,"max":500}');
  });

  it("takes no content for an answer", async () => {
    respond(200, "null");
    await expect(httpBackend("t", "http://h").stop(1, true)).resolves.toBeNull();
  });

  it("throws the product's error as it is", async () => {
    respond(400, '{"code":"model_invalid","message":"Not a model.","hint":"Try another.","detail":"x"}');
    await expect(httpBackend("t", "http://h").openModel("/x")).rejects.toMatchObject({ error: { code: "model_invalid", hint: "Try another." } });
  });

  it("says what to do when it is refused, broken or out of reach", async () => {
    const message = (promise: Promise<unknown>) => promise.then(() => "", (e: BackendError) => e.error.message);
    respond(401, "");
    expect(await message(httpBackend("t", "http://h").overview())).toContain("access token");
    expect(await message(httpBackend(null, "http://h").overview())).toContain("access token");
    respond(502, "<html>");
    expect(await message(httpBackend("t", "http://h").overview())).toContain("does not answer");
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("refused")));
    expect(await message(httpBackend("t", "http://h").overview())).toContain("does not answer");
  });
});
