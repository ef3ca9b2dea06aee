"""The flows of the product. Flows are code; the table `flows` lists them for the pages."""

from __future__ import annotations

from examples.flowcraft.api.worker.simulated import Simulated
from examples.flowcraft.api.worker.step import Flow, Step
from examples.flowcraft.api.worker.steps import compare_checksums, evaluate, price_orders, validate_rows

CATALOGUE = (
    Flow(
        "nightly-invoices",
        "Nightly invoices",
        "Prices the day's orders, renders an invoice for each customer and mails it.",
        (
            Step(
                "Collect the orders", Simulated(does="read {done} of {total} orders", total=640, seconds=0.8)
            ),
            Step("Price the orders", price_orders),
            Step(
                "Render the invoices",
                Simulated(
                    does="rendered {done} of {total} invoices",
                    total=180,
                    seconds=2.8,
                    fails=0.15,
                    because="the renderer ran out of memory after {done} invoices",
                ),
            ),
            Step(
                "Post to the ledger",
                Simulated(does="posted {done} of {total} entries", total=180, seconds=0.6),
            ),
            Step(
                "Mail the customers",
                Simulated(
                    does="mailed {done} of {total} invoices",
                    total=180,
                    seconds=1.6,
                    fails=0.35,
                    because="the mail server answers 421, try again later",
                ),
            ),
        ),
    ),
    Flow(
        "customer-import",
        "Customer import",
        "Takes a partner's export, checks every row and merges it into the customer base.",
        (
            Step(
                "Download the export",
                Simulated(
                    does="{done} of {total} kB",
                    total=8400,
                    seconds=1.2,
                    fails=0.2,
                    because="timed out at {done} kB",
                ),
            ),
            Step("Validate the rows", validate_rows),
            Step(
                "Find duplicates", Simulated(does="compared {done} of {total} rows", total=2400, seconds=1.6)
            ),
            Step("Merge", Simulated(does="merged {done} of {total} customers", total=1900, seconds=1.4)),
        ),
    ),
    Flow(
        "image-pipeline",
        "Image pipeline",
        "Resizes new product pictures, removes their background and publishes them.",
        (
            Step(
                "Fetch the originals",
                Simulated(does="fetched {done} of {total} pictures", total=48, seconds=0.9),
            ),
            Step("Make thumbnails", Simulated(does="{done} of {total} thumbnails", total=144, seconds=1.8)),
            Step(
                "Remove the background",
                Simulated(
                    does="cut out {done} of {total} pictures",
                    total=48,
                    seconds=3.0,
                    fails=0.5,
                    because="picture {done} has no foreground that the model recognises",
                ),
            ),
            Step("Publish", Simulated(does="published {done} of {total} files", total=192, seconds=0.8)),
        ),
    ),
    Flow(
        "stock-sync",
        "Stock sync",
        "Compares the shop with the warehouse and corrects what differs.",
        (
            Step(
                "Read the warehouse",
                Simulated(does="read {done} of {total} articles", total=3100, seconds=0.7),
            ),
            Step(
                "Compare with the shop",
                Simulated(does="compared {done} of {total} articles", total=3100, seconds=0.9),
            ),
            Step(
                "Push corrections",
                Simulated(
                    does="corrected {done} of {total} articles",
                    total=70,
                    seconds=0.8,
                    fails=0.25,
                    because="article {done} was changed meanwhile",
                ),
            ),
        ),
    ),
    Flow(
        "churn-model",
        "Churn model",
        "Trains the model that predicts who is about to leave, and publishes it if it is no worse.",
        (
            Step("Build features", Simulated(does="{done} of {total} customers", total=12_000, seconds=1.4)),
            Step("Train", Simulated(does="epoch {done} of {total}", total=12, seconds=3.0)),
            Step("Evaluate", evaluate),
            Step("Publish", Simulated(does="uploaded {done} of {total} MB", total=40, seconds=0.5)),
        ),
    ),
    Flow(
        "backup-drill",
        "Backup drill",
        "Restores last night's backup and proves that it is complete.",
        (
            Step("Restore", Simulated(does="restored {done} of {total} MB", total=900, seconds=2.6)),
            Step("Compare checksums", compare_checksums),
            Step("Clean up", Simulated(does="removed {done} of {total} files", total=300, seconds=0.3)),
        ),
    ),
)
