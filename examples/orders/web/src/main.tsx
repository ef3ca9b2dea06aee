import { createClient } from "@flowcraft/realtime";
import { RealtimeProvider } from "@flowcraft/realtime/react";
import { useState } from "react";
import { createRoot } from "react-dom/client";
import { type Shop, useShop } from "./features/shop/hooks/use-shop";
import { type OrderUpdate, schemaHash } from "./realtime.gen";
import "./style.css";

const NEXT = { paid: ["packed", "cancelled"], packed: ["shipped"], shipped: [], cancelled: [] } as const;
const VERBS = { packed: "Pack", shipped: "Ship", cancelled: "Cancel" };
const euros = (cents: number) => (cents / 100).toLocaleString("en-IE", { style: "currency", currency: "EUR" });
const post = (path: string) => void fetch(`/api/orders${path}`, { method: "POST" });

function Page() {
  const { data: shop, fresh } = useShop();
  const sold = shop?.orders.reduce((sum, { price, status }) => sum + (status === "cancelled" ? 0 : price), 0) ?? 0;
  return (
    <>
      <header>
        <h1>Orders</h1>
        <output data-health={fresh ? "live" : "catching up"}>{fresh ? "live" : "catching up"}</output>
      </header>
      <ul id="accounts">
        {shop?.accounts.map(({ owner, balance }) => (
          <li key={owner} data-owner={owner}>{owner} <b>{euros(balance)}</b></li>
        ))}
      </ul>
      {shop && <Counter {...shop} />}
      <h2>Sold <b id="sold">{euros(sold)}</b></h2>
      <ol id="orders">{shop?.orders.map((order) => <Order key={order.order_id} {...order} />)}</ol>
    </>
  );
}

function Counter({ accounts, menu }: Shop) {
  const [buyer, setBuyer] = useState("Ada");
  const money = accounts.find(({ owner }) => owner === buyer)?.balance ?? 0;
  return (
    <form>
      <select aria-label="Buyer" value={buyer} onChange={(event) => setBuyer(event.target.value)}>
        {accounts.map(({ owner }) => owner !== "Shop" && <option key={owner}>{owner}</option>)}
      </select>
      {menu.map(({ item, price }) => (
        <button key={item} formAction={() => post(`?${new URLSearchParams({ buyer, item })}`)} disabled={price > money}>
          {item} {euros(price)}
        </button>
      ))}
    </form>
  );
}

const Order = ({ order_id, buyer, item, price, status }: OrderUpdate) => (
  <li data-order={order_id} data-status={status}>
    <span>{item}</span> <small>{`for ${buyer}, ${euros(price)}`}</small> <mark>{status}</mark>
    {NEXT[status].map((step) => (
      <button key={step} onClick={() => post(`/${order_id}/${step}`)}>{VERBS[step]}</button>
    ))}
  </li>
);

createRoot(document.body.appendChild(document.createElement("main"))).render(
  <RealtimeProvider client={createClient({ url: "/realtime/", schema: schemaHash })}>
    <Page />
  </RealtimeProvider>,
);
