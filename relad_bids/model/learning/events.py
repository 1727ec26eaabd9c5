"""What TensorBoard shows of a training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Events:
    """Scalars and images by the number of steps done; nothing where no folder is given.

    Parameters
    ----------
    folder
        Made if it is not there.
    done
        Steps done already: what an earlier run wrote of later ones is not shown.
    """

    def __init__(self, folder: Path | None, *, done: int) -> None:
        self._writer: SummaryWriter | None = None
        if folder is not None:
            # Here and not above: not every training is looked at, and it takes its time.
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=done + 1)

    def __enter__(self) -> Events:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def images(self, step: int, pictures: Mapping[str, NDArray[Any]]) -> None:
        """Pictures (H, W) or (3, H, W); 0 is black and 1 white, what lies beyond is cut."""
        if self._writer is not None:
            for name, picture in pictures.items():
                axes = "HW" if picture.ndim == 2 else "CHW"
                self._writer.add_image(name, picture, step, dataformats=axes)

    def flush(self) -> None:
        """See to it that a kill from here on loses nothing that was written."""
        if self._writer is not None:
            self._writer.flush()
