import { useChannel } from "@flowcraft/realtime/react";
import { useState } from "react";

export function Status() {
  const [status, setStatus] = useState("unknown");
  useChannel("run_update", (run) => setStatus(run.status));
  return <p>{status}</p>;
}
