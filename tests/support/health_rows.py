"""Health checks as load balancers and people send them; rows of the table of requests."""

from __future__ import annotations

from tests.support.request_rows import EMPTY, OK, OPTIONS, UPGRADE, Row, head

HEALTH: dict[str, Row] = {
    "curl -I": Row(head("HEAD {at}/readyz HTTP/1.1", "User-Agent: curl/8.5.0", "Accept: */*"), EMPTY),
    "a probe of Kubernetes": Row(
        head(
            "GET {at}/readyz HTTP/1.1",
            "User-Agent: kube-probe/1.31",
            "Accept: */*",
            "Connection: close",
            host="Host: 10.1.2.3:8400",
        ),
        OK,
    ),
    "a check of an AWS load balancer": Row(
        head(
            "GET {at}/readyz HTTP/1.1",
            "Connection: close",
            "User-Agent: ELB-HealthChecker/2.0",
            "Accept-Encoding: gzip, compressed",
            host="Host: 10.1.2.3",
        ),
        OK,
    ),
    "a check of Google's load balancer": Row(
        head("GET {at}/readyz HTTP/1.1", "User-Agent: GoogleHC/1.0", "Connection: Keep-alive"), OK
    ),
    "a check of Caddy": Row(
        head(
            "GET {at}/readyz HTTP/1.1",
            "User-Agent: Go-http-client/1.1",
            "Accept-Encoding: gzip",
            host="Host: [::1]:8400",
        ),
        OK,
    ),
    "HAProxy's check of a WebSocket": Row(
        head("GET /realtime HTTP/1.0", "Connection: close", "Upgrade: websocket", host=None), UPGRADE
    ),
    "HAProxy's default check": Row(head("OPTIONS / HTTP/1.0", host=None), OPTIONS),
    "HAProxy's check of /readyz": Row(head("OPTIONS {at}/readyz HTTP/1.0", host=None), OPTIONS),
}
