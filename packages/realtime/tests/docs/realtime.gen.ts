// Stands for what `flowcraft codegen typescript` writes.
export * from "../types/channels.js";
