import globals from "globals";
import svelte from "eslint-plugin-svelte";
import ts from "typescript-eslint";

const FEATURES = ["dashboard", "optimizer", "launcher"];

const tauri = {
  group: ["@tauri-apps/*"],
  message: "Only ipc/tauri.ts knows that the window exists; everything else asks the Backend port.",
};
const bindings = {
  group: ["**/bindings"],
  allowTypeImports: true,
  message: "Commands go through the Backend port; only ipc/tauri.ts calls the generated bindings.",
};
const restrict = (...patterns) => ({
  "@typescript-eslint/no-restricted-imports": ["error", { patterns }],
});

export default ts.config(
  { ignores: ["**/dist/**", "**/node_modules/**", "**/ipc/bindings.ts"] },
  ...ts.configs.strict,
  ...svelte.configs["flat/recommended"],
  {
    languageOptions: {
      globals: { ...globals.browser },
      parserOptions: { extraFileExtensions: [".svelte"] },
    },
    rules: {
      eqeqeq: "error",
      "no-console": "error",
      "no-implied-eval": "error",
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-non-null-assertion": "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "no-unused-vars": "off",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      ...restrict(tauri, bindings),
    },
  },
  {
    files: ["**/*.svelte", "**/*.svelte.ts"],
    languageOptions: { parserOptions: { parser: ts.parser } },
    rules: {
      "svelte/no-at-html-tags": "error",
      "svelte/require-each-key": "error",
      "svelte/button-has-type": "error",
      // State is replaced whole ($state.raw); the maps within are never watched.
      "svelte/prefer-svelte-reactivity": "off",
      "prefer-const": "off",
      "svelte/prefer-const": ["error", { excludedRunes: ["$props", "$state", "$bindable", "$derived"] }],
    },
  },
  { files: ["**/ipc/tauri.ts"], rules: { "@typescript-eslint/no-restricted-imports": "off" } },
  ...FEATURES.map((feature) => ({
    files: [`**/features/${feature}/**`],
    rules: restrict(tauri, bindings, {
      group: FEATURES.filter((other) => other !== feature).map((other) => `**/${other}/**`),
      message: "Features do not import features; share through kit, gpu, chart, state or format.",
    }),
  })),
);
