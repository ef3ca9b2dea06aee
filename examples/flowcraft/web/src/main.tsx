import { createClient } from "@flowcraft/realtime";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app/app";
import { hearOfErrors } from "./app/outdated";
import { visitorToken } from "./features/presence/visitor";
import { schemaHash } from "./realtime.gen";
import "./styles.css";

// One client for the whole page, outside React: components come and go, the connection stays.
const client = createClient({ schema: schemaHash, token: visitorToken, onError: hearOfErrors });

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");
createRoot(root).render(
  <StrictMode>
    <App client={client} />
  </StrictMode>,
);
