import { createClient } from "@flowcraft/realtime";
import { RealtimeProvider } from "@flowcraft/realtime/react";
import { useRows } from "@flowcraft/realtime/rows";
import { useState } from "react";
import { createRoot } from "react-dom/client";
import { type Account, channel, type Order as OrderRow, schemaHash } from "./realtime.gen";
import "./style.css";

const MENU = ["Lamp", "Notebook", "Pencils", "Stool"] as const satisfies readonly OrderRow["item"][];
const NEXT = { paid: ["packed", "cancelled"], packed: ["shipped"], shipped: [], cancelled: [] } as const;
const VERBS = { packed: "Pack", shipped: "Ship", cancelled: "Cancel" };
const euros = (cents: number) => (cents / 100).toLocaleString("en-IE", { style: "currency", currency: "EUR" });
const post = (path: string) => void fetch(`/api/orders${path}`, { method: "POST" });

function Page() {
  const { rows: orders, fresh } = useRows(channel.orderRows, { sort: (one, other) => other.id - one.id });
  const { rows: accounts } = useRows(channel.accountRows);
  if (!orders || !accounts) return <output>loading</output>;
  const sold = orders.reduce((sum, { price, status }) => sum + (status === "cancelled" ? 0 : price), 0);
  return (
    <>
      <header>
        <h1>Orders</h1>
        <output data-health={fresh ? "live" : "catching up"}>{fresh ? "live" : "catching up"}</output>
      </header>
      <ul id="accounts">
        {accounts.map(({ owner, balance }) => <li key={owner} data-owner={owner}>{owner} <b>{euros(balance)}</b></li>)}
      </ul>
      <Counter accounts={accounts} />
      <h2>Sold <b id="sold">{euros(sold)}</b></h2>
      <ol id="orders">{orders.map((order) => <Order key={order.id} {...order} />)}</ol>
    </>
  );
}

function Counter({ accounts }: { readonly accounts: readonly Account[] }) {
  const [buyer, setBuyer] = useState("Ada");
  return (
    <form>
      <select aria-label="Buyer" value={buyer} onChange={(event) => setBuyer(event.target.value)}>
        {accounts.map(({ owner }) => owner !== "Shop" && <option key={owner}>{owner}</option>)}
      </select>
      {MENU.map((item) => <button key={item} formAction={() => post(`?${new URLSearchParams({ buyer, item })}`)}>{item}</button>)}
    </form>
  );
}

const Order = ({ id, buyer, item, price, status }: OrderRow) => (
  <li data-order={id} data-status={status}>
    <span>{item}</span> <small>{`for ${buyer}, ${euros(price)}`}</small> <mark>{status}</mark>
    {NEXT[status].map((step) => <button key={step} onClick={() => post(`/${id}/${step}`)}>{VERBS[step]}</button>)}
  </li>
);

createRoot(document.body.appendChild(document.createElement("main"))).render(
  <RealtimeProvider client={createClient({ url: "/realtime/", schema: schemaHash })}>
    <Page />
  </RealtimeProvider>,
);
