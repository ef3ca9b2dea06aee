import { onScopeDispose, type ShallowRef, shallowRef } from "vue";

type Readable<V> = {
  readonly get: () => V;
  readonly subscribe: (run: (value: V) => void) => () => void;
};

/** A store as a ref, for as long as the component lives. */
export const useStore = <V>(store: Readable<V>): Readonly<ShallowRef<V>> => {
  const value = shallowRef(store.get());
  onScopeDispose(store.subscribe((next) => (value.value = next)));
  return value;
};
