import { useChannelState } from "@flowcraft/realtime/react";
import { type AccountUpdate, channel, type OrderUpdate } from "../../../realtime.gen";

export type Shop = {
  readonly orders: readonly OrderUpdate[];
  readonly accounts: readonly AccountUpdate[];
  readonly menu: readonly { readonly item: string; readonly price: number }[];
};

/** The whole shop, as the last commit left it: the state that was loaded, and each transaction since. */
export const useShop = () => useChannelState(channel.shopUpdate, { load, reduce });

const load = async () => (await (await fetch("/api/shop")).json()) as { data: Shop; cursor: string };

const reduce = (shop: Shop, row: OrderUpdate | AccountUpdate): Shop => {
  switch (row.type) {
    case "OrderUpdate":
      return { ...shop, orders: [row, ...shop.orders.filter((order) => order.order_id !== row.order_id)].sort(newestFirst) };
    case "AccountUpdate":
      return { ...shop, accounts: shop.accounts.map((account) => (account.owner === row.owner ? row : account)) };
  }
};

const newestFirst = (one: OrderUpdate, other: OrderUpdate) => other.order_id - one.order_id;
