declare module "*.svelte" {
  import type { Client } from "@flowcraft/realtime";
  import type { Component } from "svelte";
  const component: Component<{ client: Client }>;
  export default component;
}

declare module "*.vue" {
  import type { Component } from "vue";
  const component: Component;
  export default component;
}
