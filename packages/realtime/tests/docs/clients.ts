import { createClient } from "@flowcraft/realtime";
import { followQueries } from "@flowcraft/realtime/query";
import { QueryClient } from "@tanstack/react-query";

export const client = createClient();
export const queryClient = new QueryClient();
followQueries(client, queryClient);
