"""What a demo comes to: its result, what it adds to the audit's document, and what of it stays."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadgen.audit_report import AuditResult
from loadgen.ledger import Run
from marquee.screen import Screen


@dataclass
class Outcome:
    """As far as it has come. cpu_s: the workers', drive and catch-up."""

    run: Run | None = None
    result: AuditResult | None = None
    cpu_s: float = 0.0

    def tidy(self, directory: Path, screen: Screen, *, keep: bool) -> None:
        """Removes what a demo that went well leaves; keeps and says it otherwise."""
        if keep or self.result is None or not self.result.proven:
            screen.say(f"kept: {directory}" + (f", {self.run.path}" if self.run else ""))
            return
        shutil.rmtree(directory, ignore_errors=True)
        if self.run is not None:
            shutil.rmtree(self.run.path, ignore_errors=True)

    def document(self) -> dict[str, Any]:
        """The audit's JSON and what every demo adds to it. It has gone to its end."""
        assert self.result is not None
        assert self.run is not None
        return {
            **self.result.document(),
            "events_per_core_second": round(self.run.generated / self.cpu_s) if self.cpu_s else None,
            "worker_cpu_s": self.cpu_s,
            "intended_rate": self.run.options["rate"],
            "late_sends": self.run.late_sends,
            "max_lateness_ms": self.run.max_lateness_ms,
        }
