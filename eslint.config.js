import js from "@eslint/js";
import { recommended as realtime } from "@flowcraft/realtime/eslint";
import hooks from "eslint-plugin-react-hooks";
import { defineConfig } from "eslint/config";
import ts from "typescript-eslint";

export default defineConfig(
  { ignores: ["**/dist/**", "**/build/**", "**/node_modules/**", ".venv/**"] },
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  js.configs.recommended,
  { files: ["**/*.{ts,tsx}"], ...hooks.configs.flat.recommended },
  { files: ["**/*.{ts,tsx}"], rules: { "react-hooks/incompatible-library": "off" } }, // a note to the React Compiler, which is not used
  {
    files: ["**/*.{ts,tsx,mts}"],
    extends: [ts.configs.strictTypeChecked, ts.configs.stylisticTypeChecked],
    languageOptions: {
      parserOptions: {
        project: ["tsconfig.json", "packages/*/tsconfig.*.json", "examples/*/web/tsconfig*.json", "tests/e2e/tsconfig.json", "faults/node/tsconfig.json"],
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      "@typescript-eslint/consistent-type-definitions": "off",
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true }],
      "@typescript-eslint/switch-exhaustiveness-check": "error",
      "@typescript-eslint/ban-ts-comment": ["error", { "ts-expect-error": "allow-with-description" }],
    },
  },
  { files: ["examples/*/web/src/**/*.{ts,tsx}", "packages/realtime/src/**"], ignores: ["**/*.test.*", "**/testing/**"], extends: [realtime] },
  { files: ["**/*.{js,mjs}"], languageOptions: { globals: { console: "readonly", process: "readonly", URL: "readonly" } } },
);
