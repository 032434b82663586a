import { describe, expect, it } from "vitest";

import { busId, fileName, gpuName, machineName } from "./names";
import { fixed, micros, parameters, tokensShort } from "./number";
import { rateOf } from "./speed";
import { interval, span } from "./time";
import { fileSize, GIB, gib, memory, MIB, quantity, rate } from "./units";

describe("numbers", () => {
  it("have commas, a true minus, and no minus before zero", () => {
    expect(fixed(131072, 0)).toBe("131,072");
    expect(fixed(-0.04, 2)).toBe("−0.04");
    expect(fixed(-0.001, 2)).toBe("0.00");
  });
  it("name tokens as an axis does", () => {
    expect([256, 2048, 15872, 131072, 1 << 20].map(tokensShort)).toEqual(["256", "2k", "15.5k", "128k", "1M"]);
  });
  it("name parameters and planning times", () => {
    expect(parameters(70_553_706_496)).toBe("70.6\u00a0B");
    expect(parameters(494_000_000)).toBe("494\u00a0M");
    expect([740, 1840, 38_400].map(micros)).toEqual(["740\u00a0µs", "1.8\u00a0ms", "38\u00a0ms"]);
  });
});

describe("units", () => {
  it("change from MiB to GiB without reading 1,024 MiB", () => {
    expect(memory(512 * MIB)).toBe("512\u00a0MiB");
    expect(memory(GIB - 1)).toBe("1.00\u00a0GiB");
    expect(gib(24 * GIB)).toBe("24.00");
    expect(fileSize(39.6 * GIB)).toBe("39.6\u00a0GiB");
    expect([512 * MIB, 189_000, 256].map(fileSize)).toEqual(["512\u00a0MiB", "185\u00a0KiB", "256\u00a0bytes"]);
  });
  it("scale rates by 1000 and never show 1,000 of a smaller unit", () => {
    expect(rate(0)).toEqual({ text: "0", unit: "B/s" });
    expect(rate(24e6)).toEqual({ text: "24", unit: "MB/s" });
    expect(rate(999_900)).toEqual({ text: "1", unit: "MB/s" });
    expect(rate(4.2e8)).toEqual({ text: "420", unit: "MB/s" });
    expect(rate(1.42e9)).toEqual({ text: "1.42", unit: "GB/s" });
  });
  it("follow the metric", () => {
    expect(quantity("memory_used_bytes", 22.58 * GIB)).toEqual({ text: "22.58", unit: "GiB" });
    expect(quantity("temperature_c", 77.6)).toEqual({ text: "78", unit: "°C" });
    expect(quantity("performance_state", 2)).toEqual({ text: "2", unit: "" });
  });
});

describe("predicted rates", () => {
  const rate = (value: number, low: number, high: number) => {
    const shown = rateOf({ value, low, high });
    return [shown?.value, shown?.margin.replace("\u00a0", " ")];
  };
  it("have a decimal where it means something", () => {
    expect(rate(17.44, 16.2, 18.6)).toEqual(["17.4", "± 1.2"]);
    expect(rate(46.2, 37, 55)).toEqual(["46", "± 9"]);
    expect(rate(412.4, 352, 472)).toEqual(["412", "± 60"]);
  });
  it("have the margin of the farther end, and both ends in words", () => {
    expect(rate(20, 17, 21)).toEqual(["20.0", "± 3.0"]);
    expect(rateOf({ value: 20, low: 17, high: 21 })?.range).toBe("17.0 to 21.0\u00a0tok/s");
  });
  it("are none where nothing is predicted", () => {
    expect(rateOf({ value: null, low: null, high: null })).toBeNull();
  });
});

describe("times", () => {
  it("name a span by its two largest units", () => {
    expect([0, 12_400, 245_000, 11_520_000, 187_200_000].map(span)).toEqual([
      "0\u00a0s",
      "12\u00a0s",
      "4\u00a0m\u00a005\u00a0s",
      "3\u00a0h\u00a012\u00a0m",
      "2\u00a0d\u00a04\u00a0h",
    ]);
    expect(span(-5)).toBe("0\u00a0s");
    expect(interval(200)).toBe("0.2\u00a0s");
  });
});

describe("names", () => {
  it("drop what every card has in common", () => {
    expect(gpuName("NVIDIA GeForce RTX 3090")).toBe("RTX 3090");
    expect(gpuName("NVIDIA H200")).toBe("H200");
    expect(busId("00000000:01:00.0")).toBe("01:00.0");
    expect(busId("0001:01:00.0")).toBe("0001:01:00.0");
  });
  it("count equal cards", () => {
    const card = (n: number) => `NVIDIA GeForce RTX ${n}`;
    expect(machineName([card(3090), card(3090)])).toBe("2 × RTX 3090");
    expect(machineName([card(4090), card(3060), card(3060)])).toBe("RTX 4090 and 2 × RTX 3060");
    expect(machineName([])).toBe("");
  });
  it("know both kinds of path", () => {
    expect(fileName("/models/a.gguf")).toBe("a.gguf");
    expect(fileName("C:\\models\\a.gguf")).toBe("a.gguf");
  });
});
