// WebKitGTK reports the C locale as the language "C", which is no language tag: uPlot hands it to Intl when it is loaded
// and the page would stay empty. To be imported before everything else.
function isTag(language: string): boolean {
  try {
    return Intl.getCanonicalLocales(language).length === 1;
  } catch {
    return false;
  }
}

if (!isTag(navigator.language)) Object.defineProperty(navigator, "language", { value: "en-US" });
